"""Files that a command is asked to write."""

from __future__ import annotations

from pathlib import Path

from tamis.errors import InputError


def check_target(path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises
    ------
    InputError
        Its suffix is unknown, it exists and ``force`` is not set, or its folder takes no files.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"--to '{path}' has the suffix {path.suffix!r}; legal are {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"--to {path} is a folder; give a file")
    if path.exists() and not force:
        raise InputError(f"--to {path} exists; give another name, or --force to replace it")
    from tamis.auditing.run_folder import try_writing

    try:
        try_writing(path.parent)
    except OSError as error:
        raise InputError(f"--to {path} cannot be written ({error}); give another file") from error
