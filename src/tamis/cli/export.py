"""``tamis export``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.cli.options import JsonOption

EXAMPLES = """\b
Examples:
  tamis export runs/audit-photos --to csv
  tamis export runs/audit-photos --to clean.parquet --mode filtered
  tamis export runs/audit-photos --to hf --out photos-corrected --threshold 0.2
"""


def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished audit.")],
    to: Annotated[
        str, typer.Option("--to", help="csv, parquet, jsonl, hf, or a file name ending so.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.", show_default="RUN/<mode>.<format>")
    ] = None,
    mode: Annotated[
        Literal["corrected", "filtered", "annotated"],
        typer.Option(
            "--mode",
            help="corrected: flagged labels become the suggestion. filtered: flagged rows are left out. "
            "annotated: everything stays, the verdict stands beside it.",
        ),
    ] = "corrected",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Flag label scores below this.", show_default="the audit's flags"),
    ] = None,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe", help="CSV: an apostrophe before cells that would run as formulas."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a copy of an audited data set with better labels.

    Keeps the columns of the source where it can be read again. Never modifies the source, never overwrites
    without --force, and writes the whole file or nothing.
    """
    from tamis.cli.screen import Screen
    from tamis.exporting import export_labels

    screen = Screen(as_json=as_json)
    result = export_labels(
        folder,
        to=to,
        out=out,
        mode=mode,
        threshold=threshold,
        spreadsheet_safe=spreadsheet_safe,
        force=force,
    )
    screen.line(
        f"{result.n_rows:,} rows, {result.mode}: {result.n_changed:,} labels changed, "
        f"{result.n_removed:,} rows left out."
    )
    screen.line(
        f"Kept as they are: {result.n_unlabelled:,} unlabelled, {result.n_not_assessed:,} not assessed."
    )
    for note in result.notes:
        screen.line(f"  - {note}")
    screen.line(f"Written {result.path}")
    facts = dataclasses.asdict(result) | {"path": str(result.path), "notes": list(result.notes)}
    screen.result({"command": "export", "status": "finished"} | facts)
