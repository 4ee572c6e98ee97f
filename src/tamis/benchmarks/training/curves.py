"""Curves of a benchmark of training methods: test accuracy and wrong labels fitted, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tamis.benchmarks.pictures import draw_picture, mean_curves, picture_path
from tamis.benchmarks.training.config import TrainingConfig
from tamis.benchmarks.training.plan import tasks
from tamis.benchmarks.trial import Row

_PANELS = (("test", "test accuracy"), ("fitted", "wrong labels fitted"))


def draw_curves(config: TrainingConfig, rows: Sequence[Row], out: Path) -> list[Path]:
    """Write one picture a data set and noise, ``curves-<name>.png``; return the paths.

    Parameters
    ----------
    config : TrainingConfig
    rows : sequence of mapping
        Of the table; ``trial`` names the file with the curves.
    out : Path
        Run folder.
    """
    written = []
    shown = [row for row in rows if not row.get("is_oracle")]
    for task in tasks(config):
        noise = None if task.noise is None else task.noise.name
        own = [row for row in shown if row["data"] == task.data.name and row["noise"] == noise]
        curves = {
            method.title: mean_curves(
                [row for row in own if row["candidate"] == method.title], out, [name for name, _ in _PANELS]
            )
            for method in config.candidates(task.data)
        }
        curves = {title: found for title, found in curves.items() if found}
        if curves:
            heading = task.data.name + (f", {noise}" if noise else "")
            path = picture_path(out, heading)
            draw_picture(curves, heading, path, _PANELS)
            written.append(path)
    return written
