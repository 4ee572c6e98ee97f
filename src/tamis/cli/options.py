"""Options that several verbs share, and where a run goes by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line of stdout; words go to stderr.")
]
SourceArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="Folder of images (class/file), .csv .tsv .jsonl .parquet manifest, .npz arrays, or a saved "
        "Hugging Face data set.",
        show_default=False,
    ),
]
LabelOption: TypeAlias = Annotated[
    str | None, typer.Option("--label", help="Column of the labels.", show_default="found by name")
]
ImageOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--image", help="Column of image paths or bytes.", show_default="found by name"),
]
TextOption: TypeAlias = Annotated[
    str | None, typer.Option("--text", help="Column of texts.", show_default="found by name")
]
IdOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--id", help="Column of ids.", show_default="found by name, else row numbers"),
]
SplitOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--split", help="Column of splits (train, test, ...).", show_default="found by name"),
]
FeaturesOption: TypeAlias = Annotated[
    Path | None, typer.Option("--features", help=".npy file of features, shape (n, d); needs --labels.")
]
LabelsOption: TypeAlias = Annotated[
    Path | None, typer.Option("--labels", help=".npy file of labels, shape (n,).")
]
LimitPrintOption: TypeAlias = Annotated[
    int, typer.Option("--limit-print", help="How many labels to print.", min=0)
]
ForceOption: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
ModelDeviceOption: TypeAlias = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")
]
ModelArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Run folder of a training, or its model.")
]
WeightsOption: TypeAlias = Annotated[
    Literal["last", "best"],
    typer.Option("--weights", help="Of the last epoch, or of the best on the validation part."),
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
