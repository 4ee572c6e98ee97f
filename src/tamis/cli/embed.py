"""``tamis embed``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import (
    ForceOption,
    IdOption,
    ImageOption,
    JsonOption,
    ModelArgument,
    ModelDeviceOption,
    TextOption,
    WeightsOption,
)
from tamis.cli.targets import check_target

EXAMPLES = """\b
Examples:
  tamis embed runs/train-photos-elr new-photos/ --to embeddings.npy
  tamis embed runs/train-reviews-gce reviews.csv --to embeddings.parquet
"""


def run(
    model: ModelArgument,
    source: Annotated[str, typer.Argument(help="What to embed: as for training, labels are not needed.")],
    to: Annotated[
        Path, typer.Option("--to", help="File to write: .npy, .npz (ids and embeddings) or .parquet.")
    ] = Path("embeddings.npy"),
    weights: WeightsOption = "last",
    image: ImageOption = None,
    text: TextOption = None,
    id_: IdOption = None,
    force: ForceOption = False,
    device: ModelDeviceOption = "auto",
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
    if trained.spec.task == "retrieval":
        follow += " --task retrieval"
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
