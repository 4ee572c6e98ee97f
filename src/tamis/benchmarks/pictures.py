"""Pictures of curves over the epochs, one line a candidate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tamis.benchmarks.trial import DONE, Row
from tamis.runs import atomic_path, read_json
from tamis.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Sequence[tuple[str, str]]
"""Name of a curve and what its axis says, for the panels from left to right; the first sorts the legend."""

_STYLES = ("-", "--", ":")


def picture_path(out: Path, heading: str) -> Path:
    """Return where the picture of a table belongs."""
    return out / f"curves-{re.sub(r'[^A-Za-z0-9.]+', '_', heading)}.png"


def mean_curves(rows: Sequence[Row], out: Path, names: Sequence[str]) -> dict[str, FloatArray]:
    """Return the mean over finished trials of every curve, (epochs,).

    Parameters
    ----------
    rows : sequence of mapping
        ``trial`` names the file with the curves.
    out : Path
        Run folder.
    names : sequence of str
    """
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        if row["outcome"] != DONE:
            continue
        curves = cast(
            "dict[str, list[float]]", read_json(out / "trials" / f"{row['trial']}.json").get("curves", {})
        )
        for name in names:
            if name in curves:
                found.setdefault(name, []).append(curves[name])
    return {
        name: np.nanmean(np.array(lines, dtype=np.float64), axis=0)
        for name, lines in found.items()
        if len({len(line) for line in lines}) == 1
    }


def draw_picture(
    curves: Mapping[str, Mapping[str, FloatArray]], heading: str, path: Path, panels: Panels
) -> None:
    """Write a picture: every candidate's curves by name, as shares of 1, in panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    sides: list[Axes] = list(figure.subplots(1, len(panels)))
    # The best last value first, so that the legend reads like the table.
    order = sorted(curves, key=lambda title: -float(curves[title][panels[0][0]][-1]))
    for number, title in enumerate(order):
        colour, style = f"C{number % 10}", _STYLES[number // 10 % 3]
        for axes, (name, _) in zip(sides, panels, strict=True):
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
    for axes, (_, label) in zip(sides, panels, strict=True):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(f"{label}, %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(heading, fontsize=11)
    handles, labels = sides[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
