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
    try:
        stem = Path(name.rstrip("/\\") or "data").resolve().stem
    except (OSError, ValueError):
        # No path at all; reading it says so.
        stem = "data"
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[:100].strip("-.")
    return Path("runs") / f"audit-{short or 'data'}"
