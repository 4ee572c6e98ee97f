"""Options that several verbs share, and where a run goes by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

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
