"""Arrays in the IDX format of MNIST and its kind, gzipped or plain."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError

SUFFIXES = ("-ubyte", "-ubyte.gz")
"""Endings of the file names."""

_UNSIGNED_BYTE = 8
_MOST_BYTES = 2**31


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of bytes in a file.

    Raises
    ------
    InputError
        If the file does not exist, is no IDX file of bytes, or is cut off.
    """
    with _opened(path) as file:
        try:
            shape = _shape(file, path)
            size = math.prod(shape)
            content = file.read(size) if size <= _MOST_BYTES else b""
        except (OSError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}); fetch it again") from error
    if len(content) != size:
        raise InputError(f"{path} declares an array of shape {shape} but is cut off or too large")
    return np.frombuffer(content, np.uint8).reshape(shape)


def check_idx(path: Path) -> None:
    """Raise `InputError` where `read_idx` would find no header."""
    with _opened(path) as file:
        try:
            _shape(file, path)
        except (OSError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}); fetch it again") from error


def _opened(path: Path) -> IO[bytes]:
    try:
        return cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb"))
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); correct the path") from error


def _shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTE or not 1 <= head[3] <= 4:
        raise InputError(f"{path} is no IDX file of bytes; expected one such as train-images-idx3-ubyte.gz")
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise InputError(f"{path} is cut off in its header; fetch it again")
    return struct.unpack(f">{head[3]}I", sizes)
