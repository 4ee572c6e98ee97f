"""What the command line says of a training that has come to its end."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.cli.screen import Json, Screen
    from tamis.training import TrainedModel


def next_command(trained: TrainedModel) -> str:
    """Return the command to run after a training."""
    if trained.spec.task == "retrieval":
        return f"tamis embed {shlex.quote(str(trained.path))} DATA --to embeddings.npy"
    return f"tamis predict {shlex.quote(str(trained.path))} DATA --to predictions.csv"


def print_trained(screen: Screen, trained: TrainedModel, n_worst: int) -> None:
    """Print how the training went, then the verdict on the labels."""
    from tamis.cli.findings import findings_json, print_findings

    screen.line(_headline(trained))
    found: dict[str, Json] = {}
    if trained.verdict is not None:
        print_findings(screen, trained.verdict, n_worst)
        found = findings_json(trained.verdict, "train", n_worst)
    screen.line(f"Model   {trained.path}/model.safetensors")
    screen.line(f"        {next_command(trained)}")
    last = dict((trained.history or [{}])[-1])
    screen.result(
        found
        | {
            "command": "train",
            "method": trained.spec.method,
            "backbone": trained.spec.backbone,
            "model": f"{trained.path}/model.safetensors",
            "last_epoch": last,
            "next_predict": next_command(trained),
        }
    )


def _headline(trained: TrainedModel) -> str:
    from tamis.reporting.curves import reached

    history = trained.history or []
    parts = [f"{trained.spec.method} on {trained.spec.backbone}, {len(history)} epochs"]
    last = history[-1] if history else {}
    what = "accuracy" if "training_accuracy" in last else "P@1"
    for name in ("validation", "test"):
        value = reached(last, name)
        if value is not None:
            parts.append(f"{name} {what} {value:.1%}")
    return ", ".join(parts) + "."
