"""Curves of a benchmark of training methods: test accuracy and wrong labels fitted, epoch by epoch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tamis.benchmarks.training.config import TrainingConfig
from tamis.benchmarks.training.plan import tasks
from tamis.benchmarks.trial import DONE, Row
from tamis.runs import atomic_path, read_json
from tamis.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (("test", "test accuracy"), ("fitted", "wrong labels fitted"))
_STYLES = ("-", "--", ":")


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
    for task in tasks(config):
        noise = None if task.noise is None else task.noise.name
        own = [row for row in rows if row["data"] == task.data.name and row["noise"] == noise]
        curves = {
            method.title: _of_candidate([row for row in own if row["candidate"] == method.title], out)
            for method in config.candidates(task.data)
        }
        curves = {title: found for title, found in curves.items() if found}
        if curves:
            heading = task.data.name + (f", {noise}" if noise else "")
            path = out / f"curves-{re.sub(r'[^A-Za-z0-9.]+', '_', heading)}.png"
            _draw(curves, heading, path)
            written.append(path)
    return written


def _of_candidate(rows: Sequence[Row], out: Path) -> dict[str, FloatArray]:
    """Return the mean over seeds of every curve, (epochs,)."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        if row["outcome"] != DONE or row.get("is_oracle"):
            continue
        curves = cast(
            "dict[str, list[float]]", read_json(out / "trials" / f"{row['trial']}.json").get("curves", {})
        )
        for name, _ in _PANELS:
            if name in curves:
                found.setdefault(name, []).append(curves[name])
    return {
        name: np.nanmean(np.array(lines, dtype=np.float64), axis=0)
        for name, lines in found.items()
        if len({len(line) for line in lines}) == 1
    }


def _draw(curves: dict[str, dict[str, FloatArray]], heading: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(1, 2))
    # The best last value first, so that the legend reads like the table.
    order = sorted(curves, key=lambda title: -float(curves[title]["test"][-1]))
    for number, title in enumerate(order):
        colour, style = f"C{number % 10}", _STYLES[number // 10 % 3]
        for axes, (name, _) in zip(panels, _PANELS, strict=True):
            if name in curves[title]:
                line = curves[title][name]
                axes.plot(
                    np.arange(1, len(line) + 1),
                    100 * line,
                    label=title,
                    color=colour,
                    linestyle=style,
                    linewidth=1.3,
                )
    for axes, (_, label) in zip(panels, _PANELS, strict=True):
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{label}, %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(heading, fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
