"""Curves of a training: loss and accuracies by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tamis.reporting.plots import DARK, LIGHT, svg_uri
from tamis.runs import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History: TypeAlias = Sequence[Mapping[str, float | int | str | None]]
"""One record an epoch, as in ``metrics.jsonl``."""

_PARTS = (
    ("test", "test", "-"),
    ("validation", "validation (given labels)", "--"),
    ("training", "training (given labels)", ":"),
)
_MEASURES = {"accuracy": "accuracy", "precision_at_1": "P@1"}


def reached(record: Mapping[str, float | int | str | None], part: str) -> float | None:
    """Return the accuracy, or of embeddings the precision at 1, that an epoch has on a part of the data.

    Examples
    --------
    >>> reached({"epoch": 1, "test_precision_at_1": 0.5}, "test")
    0.5
    """
    for measure in _MEASURES:
        value = record.get(f"{part}_{measure}")
        if isinstance(value, int | float):
            return float(value)
    return None


@dataclass(frozen=True)
class TrainingSection:
    """What a report says about a training.

    Attributes
    ----------
    facts : tuple of (label, value)
    history : sequence of mapping
        One record an epoch.
    """

    facts: tuple[tuple[str, str], ...]
    history: History


@dataclass(frozen=True)
class Curves:
    """A section as values for the template: drawings as data URIs, for light and for dark pages."""

    facts: tuple[tuple[str, str], ...]
    light: str
    dark: str
    alt: str


def curves_of(section: TrainingSection) -> Curves:
    """Return the section of a training, drawn."""
    history = section.history
    if not history:
        return Curves(section.facts, "", "", "")
    light = _svg(history)
    dark = light
    for old, new in zip(LIGHT, DARK, strict=True):
        dark = dark.replace(old, new)
    last = history[-1]
    said = [f"{name} {value:.1%}" for part, name, _ in _PARTS if (value := reached(last, part)) is not None]
    reached_last = ", ".join(said) or "nothing measured"
    alt = f"Loss and {_measure(history)} over {len(history)} epochs; at the last: {reached_last}."
    return Curves(section.facts, svg_uri(light), svg_uri(dark), alt)


def write_curves(path: Path, history: History) -> None:
    """Draw loss and accuracies by epoch into a PNG file.

    Parameters
    ----------
    path : Path
    history : sequence of mapping
        Records with ``epoch``, ``loss`` and, where they were measured, ``<part>_accuracy`` or
        ``<part>_precision_at_1``.
    """
    with atomic_path(path) as temporary:
        _figure(history).savefig(temporary, dpi=120, facecolor="white", metadata={"Software": None})


def _svg(history: History) -> str:
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt makes the ids inside the drawing, and so the file, reproducible.
    with matplotlib.rc_context({"svg.hashsalt": "tamis", "svg.fonttype": "path", "font.size": 9}):
        figure = _figure(history)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _figure(history: History) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(7.6, 2.9))
    left = figure.add_axes((0.085, 0.16, 0.37, 0.76))
    right = figure.add_axes((0.575, 0.16, 0.405, 0.76))
    _line(left, [(record, record.get("loss")) for record in history], "loss", "-", LIGHT.ink)
    left.set_ylabel("loss", color=LIGHT.ink)
    for part, name, style in _PARTS:
        colour = LIGHT.wrong if part == "training" else LIGHT.ink
        _line(right, [(record, reached(record, part)) for record in history], name, style, colour)
    right.set_ylabel(_measure(history), color=LIGHT.ink)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    if right.get_lines():
        right.legend(frameon=False, labelcolor=LIGHT.ink, fontsize=8)
    for axes in (left, right):
        _style(axes)
    return figure


def _measure(history: History) -> str:
    """Return the name of what was measured."""
    keys = {key for record in history for key in record}
    found = (name for measure, name in _MEASURES.items() if any(key.endswith(f"_{measure}") for key in keys))
    return next(found, "accuracy")


def _line(
    axes: Axes,
    values: Sequence[tuple[Mapping[str, float | int | str | None], float | int | str | None]],
    name: str,
    style: str,
    colour: str,
) -> None:
    points = [
        (float(record["epoch"] or 0), float(value))
        for record, value in values
        if isinstance(value, int | float)
    ]
    if points:
        epochs, values = zip(*points, strict=True)
        # A single epoch is no line.
        axes.plot(epochs, values, style, label=name, color=colour, marker="o" if len(points) == 1 else "")


def _style(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch", color=LIGHT.ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=LIGHT.ink, length=0)
    axes.grid(axis="y", color=LIGHT.ink, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT.ink)
