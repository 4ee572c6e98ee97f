"""Plots of the report, drawn without any global state of the plotting library."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tamis.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 20


class ScoreBin(NamedTuple):
    """Label scores from ``low`` to ``high``: how many rows, and how many wrong labels among them."""

    low: float
    high: float
    n_rows: int
    expected_wrong: float


class Palette(NamedTuple):
    """Colours of a plot; the same as in the style sheet."""

    ink: str
    rows: str
    wrong: str


LIGHT = Palette(ink="#565d66", rows="#c9cfd6", wrong="#b4411f")
DARK = Palette(ink="#a4adb8", rows="#47505b", wrong="#f08a66")


def score_bins(scores: FloatArray) -> list[ScoreBin]:
    """Return the histogram of label scores in 20 equal bins.

    Parameters
    ----------
    scores : (n,) array in [0, 1]
        Label scores of the assessed rows. As a score is the probability that the label is right,
        a bin expects ``sum(1 - score)`` wrong labels.

    Examples
    --------
    >>> score_bins(np.array([0.02, 0.04, 0.96]))[0]
    ScoreBin(low=0.0, high=0.05, n_rows=2, expected_wrong=1.94)
    """
    values = np.asarray(scores, dtype=np.float64)
    edges = np.arange(N_BINS + 1) / N_BINS  # division keeps 0.3 and its like exact
    rows, _ = np.histogram(values, edges)
    wrong, _ = np.histogram(values, edges, weights=1.0 - values)
    return [
        ScoreBin(float(low), float(high), int(n), float(w))
        for low, high, n, w in zip(edges[:-1], edges[1:], rows, wrong, strict=True)
    ]


def histogram_uris(bins: Sequence[ScoreBin], threshold: float, *, calibrated: bool) -> tuple[str, str]:
    """Return the histogram of label scores as two SVG data URIs, for light and for dark pages.

    Parameters
    ----------
    bins : sequence of ScoreBin
    threshold : float
        Flag threshold in [0, 1], drawn as a vertical line.
    calibrated : bool
        Draw the expected number of wrong labels over each bar.

    Returns
    -------
    light, dark : str
        ``data:image/svg+xml;base64,...``; the same bytes for the same input.
    """
    light = _histogram_svg(bins, threshold, LIGHT, calibrated=calibrated)
    dark = light
    for old, new in zip(LIGHT, DARK, strict=True):
        dark = dark.replace(old, new)
    return svg_uri(light), svg_uri(dark)


def svg_uri(svg: str) -> str:
    """Return a drawing as a data URI."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _histogram_svg(bins: Sequence[ScoreBin], threshold: float, palette: Palette, *, calibrated: bool) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    # A fixed salt makes the ids inside the drawing, and so the file, reproducible.
    with matplotlib.rc_context({"svg.hashsalt": "tamis", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=(7.6, 2.9))
        axes = figure.add_axes((0.085, 0.16, 0.9, 0.74))
        _draw_bars(axes, bins, palette, calibrated=calibrated)
        _draw_threshold(axes, threshold, palette)
        _style(axes, bins, palette)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _draw_bars(axes: Axes, bins: Sequence[ScoreBin], palette: Palette, *, calibrated: bool) -> None:
    middles = [(each.low + each.high) / 2 for each in bins]
    width = 0.88 / len(bins)
    axes.bar(middles, [each.n_rows for each in bins], width, color=palette.rows)
    if calibrated:
        wrong = [each.expected_wrong for each in bins]
        axes.bar(middles, wrong, 0.5 * width, color=palette.wrong)


def _draw_threshold(axes: Axes, threshold: float, palette: Palette) -> None:
    axes.axvline(threshold, color=palette.ink, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(
        f"flagged below {threshold:.2f}",
        (threshold, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        color=palette.ink,
        ha="left" if threshold < 0.1 else "right" if threshold > 0.9 else "center",
    )


def _style(axes: Axes, bins: Sequence[ScoreBin], palette: Palette) -> None:
    counts = [each.n_rows for each in bins if each.n_rows]
    is_log = bool(counts) and max(counts) > 20 * min(counts)
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks(np.linspace(0.0, 1.0, 11))
    axes.set_xlabel("label score: probability that the given label is right", color=palette.ink)
    axes.set_ylabel("labels (log scale)" if is_log else "labels", color=palette.ink)
    axes.tick_params(colors=palette.ink, length=0)
    axes.grid(axis="y", color=palette.ink, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(palette.ink)
