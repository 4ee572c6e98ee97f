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

_ACCURACIES = (
    ("test_accuracy", "test", "-"),
    ("validation_accuracy", "validation (given labels)", "--"),
    ("training_accuracy", "training (given labels)", ":"),
)


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
    said = [f"{name} {last[key]:.1%}" for key, name, _ in _ACCURACIES if isinstance(last.get(key), float)]
    alt = f"Loss and accuracy over {len(history)} epochs; at the last: {', '.join(said) or 'no accuracy'}."
    return Curves(section.facts, svg_uri(light), svg_uri(dark), alt)


def write_curves(path: Path, history: History) -> None:
    """Draw loss and accuracies by epoch into a PNG file.

    Parameters
    ----------
    path : Path
    history : sequence of mapping
        Records with ``epoch``, ``loss`` and, where they were measured, ``<part>_accuracy``.
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
    _line(left, history, "loss", "loss", "-", LIGHT.ink)
    left.set_ylabel("loss", color=LIGHT.ink)
    for key, name, style in _ACCURACIES:
        colour = LIGHT.wrong if key == "training_accuracy" else LIGHT.ink
        _line(right, history, key, name, style, colour)
    right.set_ylabel("accuracy", color=LIGHT.ink)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    if right.get_lines():
        right.legend(frameon=False, labelcolor=LIGHT.ink, fontsize=8)
    for axes in (left, right):
        _style(axes)
    return figure


def _line(axes: Axes, history: History, key: str, name: str, style: str, colour: str) -> None:
    points = [
        (float(record["epoch"] or 0), float(value))
        for record in history
        if isinstance(value := record.get(key), int | float)
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
