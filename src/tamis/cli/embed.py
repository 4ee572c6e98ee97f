"""``tamis embed``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.cli.options import JsonOption
from tamis.cli.targets import check_target

EXAMPLES = """\b
Examples:
  tamis embed runs/train-photos-elr new-photos/ --to embeddings.npy
  tamis embed runs/train-reviews-gce reviews.csv --to embeddings.parquet
"""


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder of a training, or its model.")],
    source: Annotated[str, typer.Argument(help="What to embed: as for training, labels are not needed.")],
    to: Annotated[
        Path, typer.Option("--to", help="File to write: .npy, .npz (ids and embeddings) or .parquet.")
    ] = Path("embeddings.npy"),
    weights: Annotated[
        Literal["last", "best"],
        typer.Option("--weights", help="Of the last epoch, or of the best on the validation part."),
    ] = "last",
    image: Annotated[
        str | None,
        typer.Option("--image", help="Column of image paths or bytes.", show_default="found by name"),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Column of texts.", show_default="found by name")
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", help="Column of ids.", show_default="found by name, else row numbers"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write what the last layer of a trained model sees of every sample.

    Rows that cannot be read are NaN.
    """
    from tamis.cli.screen import Screen
    from tamis.data import read_unlabelled
    from tamis.training import TrainedModel, write_embeddings

    screen = Screen(as_json=as_json)
    check_target(to, (".npy", ".npz", ".parquet"), force=force)
    trained = TrainedModel.load(model, weights=weights, device=device)
    dataset = read_unlabelled(source, image=image, text=text, id=id_)
    written = write_embeddings(trained, dataset, to)
    screen.line(f"{written.n_rows:,} rows of {written.width:,}, {written.n_unreadable:,} not readable.")
    screen.line(f"Written {to}")
    follow = f"tamis audit --features {shlex.quote(str(to))} --labels LABELS.npy"
    if to.suffix.lower() == ".npy":
        screen.line(f"Next    {follow}")
    screen.result(
        {
            "command": "embed",
            "status": "finished",
            "path": str(to),
            "n_rows": written.n_rows,
            "width": written.width,
            "n_unreadable": written.n_unreadable,
            "next": follow,
        }
    )
