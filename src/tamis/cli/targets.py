"""Files that a command is asked to write."""

from __future__ import annotations

from pathlib import Path

from tamis.errors import InputError


def check_target(path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises
    ------
    InputError
        Its suffix is unknown, or it exists and ``force`` is not set.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"--to {path.name!r} has the suffix {path.suffix!r}; legal are {', '.join(suffixes)}"
        )
    if path.is_dir():
        raise InputError(f"--to {path} is a folder; give a file")
    if path.exists() and not force:
        raise InputError(f"--to {path} exists; give another name, or --force to replace it")
