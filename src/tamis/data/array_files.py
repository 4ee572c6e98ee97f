"""``.npy`` and ``.npz`` files, opened without trust.

Attacks considered: pickled objects (running code when loaded), archives that declare arrays far larger than
their file, damaged headers. Nothing is unpickled; every size a header declares is compared with the file
before memory is taken; plain members are memory-mapped.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError

MAX_EXPANSION = 100
"""A compressed member may expand to 1 GiB, or to this many times its compressed size."""

_FREE_EXPANSION_BYTES = 2**30
_ZIP_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[np.generic]
    size: int

    @property
    def content_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def load_array(path: str | Path) -> npt.NDArray[np.generic]:
    """Return the array of a ``.npy`` file, memory-mapped and read-only.

    Raises
    ------
    InputError
        If the file does not exist, is no NumPy file, holds Python objects, or is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = _read_header(file, str(path))
        actual = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); pass a .npy file") from error
    if header.size + header.content_bytes > actual:
        raise InputError(
            f"{path} declares an array of shape {header.shape} ({header.content_bytes:,} bytes) but has"
            f" {actual:,} bytes; the file is cut off, save it again"
        )
    return _map(path, header, header.size)


class ArrayArchive(Mapping[str, npt.NDArray[np.generic]]):
    """The arrays of a ``.npz`` file by name, each loaded when it is asked for.

    Members saved without compression (``numpy.savez``) are memory-mapped where their place in the file allows
    it.

    Raises
    ------
    InputError
        If the file is no archive of arrays, or one of them holds Python objects or declares a wrong size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, tuple[zipfile.ZipInfo, _Header]] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    self._add(archive, info)
        except (
            zipfile.BadZipFile,
            OSError,
            NotImplementedError,
            RuntimeError,
            zlib.error,
            EOFError,
        ) as error:
            raise InputError(
                f"{path} is not a readable .npz file ({str(error)[:120]}); save it with numpy.savez"
            ) from error

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the arrays."""
        return iter(self._members)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array without loading it."""
        return self._members[name][1].shape

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        """Load or map an array."""
        info, header = self._members[name]
        try:
            if info.compress_type == zipfile.ZIP_STORED:
                start = self._content_start(info) + header.size
                if start % header.dtype.alignment == 0 and header.content_bytes:
                    return _map(self._path, header, start)
            with zipfile.ZipFile(self._path) as archive, archive.open(info) as member:
                member.read(header.size)
                content = member.read(header.content_bytes)
                # Reading to the end checks the checksum.
                member.read()
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error, MemoryError) as error:
            raise InputError(
                f"{self._path}, array {name!r} is damaged ({str(error)[:120]}); save it again"
            ) from error
        if len(content) != header.content_bytes:
            raise InputError(f"{self._path}, array {name!r} is cut off; save it again")
        array = np.frombuffer(content, dtype=header.dtype)
        return array.reshape(header.shape, order="F" if header.is_fortran else "C")

    def _add(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        name = info.filename.removesuffix(".npy")
        where = f"{self._path}, array {name!r}"
        if name in self._members:
            raise InputError(f"{where} occurs twice; save the file again")
        with archive.open(info) as member:
            # Enough for the longest legal header; the content itself is not touched.
            header = _read_header(io.BytesIO(member.read(2**16)), where)
        if header.size + header.content_bytes != info.file_size:
            raise InputError(
                f"{where} declares shape {header.shape} ({header.content_bytes:,} bytes) but its member has"
                f" {info.file_size:,} bytes; save the file again"
            )
        if info.file_size > max(_FREE_EXPANSION_BYTES, MAX_EXPANSION * info.compress_size):
            raise InputError(
                f"{where} would expand from {info.compress_size:,} to {info.file_size:,} bytes; if that"
                " is meant, save it uncompressed with numpy.savez or as .npy"
            )
        self._members[name] = (info, header)

    def _content_start(self, info: zipfile.ZipInfo) -> int:
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            fields = _ZIP_LOCAL_HEADER.unpack(file.read(_ZIP_LOCAL_HEADER.size))
        name_length, extra_length = int(fields[9]), int(fields[10])
        return info.header_offset + _ZIP_LOCAL_HEADER.size + name_length + extra_length


def _read_header(file: IO[bytes], where: str) -> _Header:
    magic = file.read(6)
    file.seek(0)
    if magic != b"\x93NUMPY":
        raise InputError(
            f"{where} is not a NumPy array (first bytes {magic.hex(' ') or 'none'}); nothing was loaded"
            " from it. Save the array with numpy.save"
        )
    try:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, is_fortran, dtype = reader(file)
    except (ValueError, KeyError, SyntaxError, TypeError, EOFError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{where} has a damaged header ({str(error)[:120]}); save the array again"
        ) from error
    if dtype.hasobject:
        raise InputError(
            f"{where} holds Python objects (a pickle), which may run code when loaded and is never"
            " loaded; save numbers, or text with array.astype(str)"
        )
    if dtype.names is not None or dtype.kind not in "biufUS":
        raise InputError(f"{where} has the type {dtype}; legal are numbers, booleans and text")
    if any(length < 0 for length in shape):
        raise InputError(f"{where} declares the shape {shape}; save the array again")
    return _Header(tuple(shape), is_fortran, dtype, file.tell())


def _map(path: Path, header: _Header, offset: int) -> npt.NDArray[np.generic]:
    if header.content_bytes == 0:
        return np.empty(header.shape, dtype=header.dtype)
    mapped: npt.NDArray[np.generic] = np.memmap(
        path,
        dtype=header.dtype,
        mode="r",
        offset=offset,
        shape=header.shape,
        order="F" if header.is_fortran else "C",
    )
    return mapped
