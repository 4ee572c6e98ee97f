"""Options that several verbs share, and the arguments they stand for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line of stdout; words go to stderr.")
]
SeedOption: TypeAlias = Annotated[int, typer.Option("--seed", help="Seed of every random choice.")]


def default_run(name: str) -> Path:
    """Return the run folder for something called ``name``, a path or a description.

    Examples
    --------
    >>> default_run("photos/birds 2024.csv").as_posix()
    'runs/audit-birds-2024'
    """
    stem = Path(name.rstrip("/\\") or "data").resolve().stem
    return Path("runs") / f"audit-{re.sub(r'[^A-Za-z0-9._-]+', '-', stem).strip('-.') or 'data'}"


def load_array(path: Path, option: str) -> npt.NDArray[np.generic]:
    """Return the array of a ``.npy`` file, memory-mapped. Pickled objects are refused, never loaded.

    Raises
    ------
    InputError
        If the file is missing or is not a plain NumPy array.
    """
    import numpy as np

    from tamis.errors import InputError

    if not path.is_file():
        raise InputError(f"{option} {str(path)!r} is not a file; give a .npy file written by numpy.save")
    try:
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{option} {str(path)!r} is not a plain NumPy array ({error}); "
            "write it with numpy.save from an array of numbers or text"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{option} {str(path)!r} is an archive; give the .npz file as SOURCE instead")
    return array
