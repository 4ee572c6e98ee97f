"""Run folders: atomic writes, the description of a run, stages that survive a kill."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.errors import RunError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it onto ``path``.

    On any exception the temporary file is removed and ``path`` keeps what it held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept last so that writers that look at it (np.save) behave.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    # Not every platform lets a folder be opened; the rename itself is atomic either way.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object; a damaged file raises `RunError` with the way out."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); run the command again to rebuild it") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} does not hold a JSON object; run the command again to rebuild it")
    return value


def versions() -> dict[str, str]:
    """Versions of everything that can change a number."""
    packages = ("tamis", "torch", "numpy", "scikit-learn", "pyarrow", "pillow")
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


class StageStore:
    """Arrays of finished stages, kept in a folder so that a killed command continues.

    Stages are named; a store belongs to one key (a hash of the input and the settings), and stages of
    another key are never returned.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = None if folder is None else folder / key

    def load(self, name: str) -> npt.NDArray[Any] | None:
        """Return the memory-mapped array of stage ``name``, or None if it has not finished."""
        if self._folder is None:
            return None
        path = self._folder / f"{name}.npy"
        if not path.exists():
            return None
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def clear(self) -> None:
        """Remove every stage, of this key and of others; a no-op without a folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder.parent, ignore_errors=True)

    def save(self, name: str, array: npt.NDArray[Any]) -> None:
        """Keep the array of stage ``name``; a no-op without a folder."""
        if self._folder is None:
            return
        with atomic_path(self._folder / f"{name}.npy") as temporary:
            np.save(temporary, array, allow_pickle=False)
