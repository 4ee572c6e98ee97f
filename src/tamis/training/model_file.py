"""Where the model of a run folder lies, and why it may not lie there."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tamis.errors import InputError, RunError
from tamis.runs import read_json

ADVICE = "give the run folder of `tamis train`; a damaged one is mended by the same training again"


def model_file(place: Path, name: str) -> Path:
    """Return the file of a model: ``place`` itself, or that called ``name`` in a run folder.

    Raises
    ------
    InputError
        There is none; the message says why.
    """
    file = place / name if place.is_dir() else place
    if not file.exists():
        raise InputError(
            f"{file} does not exist: {_state(place)}; give the run folder of `tamis train` or a model"
        )
    return file


def _state(folder: Path) -> str:
    run = folder / "run.json"
    with contextlib.suppress(RunError):
        if run.exists() and read_json(run).get("command") != "train":
            return "that folder holds no training"
    has_begun = run.exists() or (folder / "checkpoints").exists()
    return "the run has not finished training" if has_begun else "no model there"
