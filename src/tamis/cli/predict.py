"""``tamis predict``."""

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
  tamis predict runs/train-photos-elr new-photos/ --to predictions.csv
  tamis predict runs/train-X-bare new.npy --to predictions.parquet --probabilities
"""


def run(
    model: ModelArgument,
    source: Annotated[
        str, typer.Argument(help="What to predict for: as for training, labels are not needed.")
    ],
    to: Annotated[Path, typer.Option("--to", help="File to write: .csv, .parquet or .jsonl.")] = Path(
        "predictions.csv"
    ),
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also a column for every class.")
    ] = False,
    weights: WeightsOption = "last",
    image: ImageOption = None,
    text: TextOption = None,
    id_: IdOption = None,
    force: ForceOption = False,
    device: ModelDeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict the classes of new samples with a trained model.

    Writes id, predicted label and its probability for every row. A row that cannot be read has none, and a
    column says why.
    """
    from tamis.cli.screen import Screen
    from tamis.data import read_unlabelled
    from tamis.exporting.writers import SUFFIXES, write_file
    from tamis.training import TrainedModel, predictions

    screen = Screen(as_json=as_json)
    check_target(to, tuple(SUFFIXES), force=force)
    trained = TrainedModel.load(model, weights=weights, device=device)
    dataset = read_unlabelled(source, image=image, text=text, id=id_)
    table = predictions(trained, dataset, probabilities=probabilities)
    write_file(table, to, SUFFIXES[to.suffix.lower()])
    n_unreadable = table.column("predicted_label").null_count
    screen.line(f"{table.num_rows - n_unreadable:,} rows predicted, {n_unreadable:,} not readable.")
    screen.line(f"Written {to}")
    follow = f"tamis embed {shlex.quote(str(model))} {shlex.quote(source)} --to embeddings.npy"
    screen.line(f"Next    {follow}")
    screen.result(
        {
            "command": "predict",
            "status": "finished",
            "path": str(to),
            "n_rows": table.num_rows,
            "n_unreadable": n_unreadable,
            "next": follow,
        }
    )
