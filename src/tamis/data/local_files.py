"""Open files that a manifest names, and nothing else.

Attacks considered: a manifest that names files outside its own folder (``../``, absolute paths, symbolic
links), network addresses, and things that are no files (pipes, devices). The path is checked as text, then
with all symbolic links resolved, then on the open descriptor.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from pathlib import Path

from tamis.data.decoding import MAX_IMAGE_BYTES
from tamis.errors import InputError

OUTSIDE = "path lies outside the data folder; nothing was opened"

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(data|file|https?|ftp):", re.IGNORECASE)


def path_problem(path: str | None, root: Path | None) -> str | None:
    """Return why a named file will not be opened, judged by its name alone; None if it may be.

    Parameters
    ----------
    path : str or None
        As written in the data.
    root : Path or None
        Resolved folder that files must lie in. None (tables made by the caller's own program): relative
        paths stay below the current folder, absolute paths are allowed.

    Examples
    --------
    >>> path_problem("../secret.png", None)
    'path lies outside the data folder; nothing was opened'
    """
    if not path:
        return "no image is named"
    if "\x00" in path:
        return "path holds a NUL character"
    if _ADDRESS.match(path):
        return "is a network address; only local files are read, download it first"
    if os.path.isabs(path):  # noqa: PTH117 - called for each of a million rows
        is_outside = root is not None and not _is_inside(posixpath.normpath(path), str(root))
        return OUTSIDE if is_outside else None
    return OUTSIDE if posixpath.normpath(path).split("/")[0] == ".." else None


def read_file(path: str | None, root: Path | None) -> bytes:
    """Return the bytes of a regular file of at most 64 MiB inside ``root``, a resolved folder.

    Raises
    ------
    InputError
        With a reason short enough for a table.
    """
    problem = path_problem(path, root)
    if problem is not None or path is None:
        raise InputError(problem)
    base = str(Path.cwd() if root is None else root)
    try:
        real = os.path.realpath(os.path.join(base, path))  # noqa: PTH118 - as above
        is_free = root is None and os.path.isabs(path)  # noqa: PTH117 - as above
        if not is_free and not _is_inside(real, base):
            raise InputError(OUTSIDE)
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise InputError("is not a regular file")
            if state.st_size > MAX_IMAGE_BYTES:
                raise InputError(
                    f"file has {state.st_size:,} bytes, more than the {MAX_IMAGE_BYTES:,} that are read"
                )
            return file.read(state.st_size)
    except FileNotFoundError as error:
        raise InputError("file does not exist") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"file cannot be opened ({getattr(error, 'strerror', None) or error})") from error


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
