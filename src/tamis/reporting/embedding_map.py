"""A map of the features as a scatter plot, for light and for dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.errors import InputError
from tamis.issues.summary import AuditSummary
from tamis.reporting.plots import DARK, LIGHT, Palette, svg_uri
from tamis.reporting.wording import Shown, counted, percent, shown
from tamis.types import FloatArray, IntArray

LIGHT_CLASSES = (
    *("#4c78b8", "#93bde6", "#2f8f8a", "#8fd0b5", "#5d9c3f"),
    *("#b3ad33", "#7d62b5", "#c3abde", "#c066a5", "#3f4a5a"),
)
DARK_CLASSES = (
    *("#5b8ad6", "#b4d6f5", "#2fa39b", "#a9e0c8", "#77b852"),
    *("#cfc95a", "#9379d8", "#d9c4f0", "#d97fbe", "#e6e8eb"),
)
"""Colours of classes, as in the style sheet; none is near that of flagged labels."""

_WIDTH = 760
_HEIGHTS = (300, 620)
_MARGIN = 14
_ROUNDS = 8
"""Classes are drawn in turns, so that the last one does not hide the others."""


@dataclass(frozen=True)
class MapSection:
    """The section as values for the template: drawings as data URIs, their size, and what is said of them."""

    light: str
    dark: str
    alt: str
    width: int
    height: int
    caption: str
    classes: tuple[Shown, ...]


class _Points(NamedTuple):
    """Where points lie on the drawing in pixels, (m, 2), and what each shows, (m,)."""

    places: FloatArray
    is_flagged: npt.NDArray[np.bool_]
    codes: IntArray  # of the colour; -1 = grey
    height: int


def map_section(table: pa.Table | None, issues: pa.Table, summary: AuditSummary) -> MapSection | None:
    """Return the section of a map, drawn; None without a map.

    Classes have colours where there are at most ten.

    Parameters
    ----------
    table : pyarrow.Table or None
        row, x and y of the samples on the map; metadata ``variance``: the share of the variance it shows.
    issues : pyarrow.Table
    summary : AuditSummary

    Raises
    ------
    InputError
        ``table`` lacks a column, or has rows that ``issues`` has not.
    """
    if table is None or not table.num_rows:
        return None
    rows = _rows(table, issues.num_rows)
    is_flagged = np.asarray(issues["is_label_issue"].combine_chunks(), dtype=bool)
    names = summary.class_names if len(summary.class_names) <= len(LIGHT_CLASSES) else ()
    places = {name: place for place, name in enumerate(names)}
    given = issues["given_label"].take(pa.array(rows)).to_pylist()
    codes = np.array([places.get(label, -1) for label in given], dtype=np.int64)
    coordinates = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float64)
    placed, height = _on_paper(coordinates)
    points = _Points(placed, is_flagged[rows], codes, height)
    n_flagged = int(points.is_flagged.sum())
    alt = (
        f"Map of {counted(len(rows), 'sample')} in two dimensions; {n_flagged:,} of them, drawn as crosses, "
        "carry a flagged label."
    )
    light, dark = _svg(points, LIGHT, LIGHT_CLASSES), _svg(points, DARK, DARK_CLASSES)
    caption = _caption(table, len(rows), issues.num_rows, n_flagged, int(is_flagged.sum()))
    legend = tuple(shown(name, 32) for name in names)
    return MapSection(svg_uri(light), svg_uri(dark), alt, _WIDTH, height, caption, legend)


def _rows(table: pa.Table, n: int) -> IntArray:
    missing = [name for name in ("row", "x", "y") if name not in table.column_names]
    if missing:
        raise InputError(f"embedding_map lacks the columns {missing}; pass that of the audit")
    rows: IntArray = table["row"].to_numpy()
    if not 0 <= rows.min() <= rows.max() < n:
        raise InputError(
            f"embedding_map holds rows {rows.min()} to {rows.max()} of {n}; pass that of the audit"
        )
    return rows


def _on_paper(coordinates: FloatArray) -> tuple[FloatArray, int]:
    """Return (m, 2) places in pixels, one unit on both axes, and the height of the drawing."""
    # A few far points would squeeze all others into a corner: they are drawn at the edge.
    low, high = np.quantile(coordinates, (0.005, 0.995), axis=0)
    room = 0.05 * float(np.max(high - low)) or 1.0
    low, high = low - room, high + room
    span = high - low
    height = int(np.clip(_WIDTH * span[1] / span[0], *_HEIGHTS))
    inside = np.array([_WIDTH, height]) - 2 * _MARGIN
    scale = float(np.min(inside / span))
    moved = (np.clip(coordinates, low, high) - (low + high) / 2) * scale
    return np.array([_WIDTH, height]) / 2 + moved * (1, -1), height  # downwards is positive on a page


def _svg(points: _Points, palette: Palette, classes: tuple[str, ...]) -> str:
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {points.height}" fill="none">']
    frame = f'width="{_WIDTH - 1}" height="{points.height - 1}" rx="6" stroke="{palette.rows}"'
    parts.append(f'<rect x="0.5" y="0.5" {frame} stroke-opacity="0.6"/>')
    plain = np.flatnonzero(~points.is_flagged)
    for turn in range(_ROUNDS):
        some = plain[turn::_ROUNDS]
        for code in np.unique(points.codes[some]):
            dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points.places[some[points.codes[some] == code]])
            colour = palette.rows if code < 0 else classes[code]
            parts.append(f'<path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round"/>')
    flagged = points.places[points.is_flagged]
    crosses = "".join(f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6" for x, y in flagged)
    parts.append(f'<path d="{crosses}" stroke="{palette.wrong}" stroke-width="1.6"/></svg>')
    return "\n".join(parts)


def _caption(table: pa.Table, n_shown: int, n: int, n_flagged: int, n_all_flagged: int) -> str:
    variance = (table.schema.metadata or {}).get(b"variance", b"").decode()
    share = f"; they hold {percent(float(variance))} of their variance" if variance else ""
    which = f"{n_shown:,} of {counted(n, 'sample')}: an even share"
    if n_shown == n:
        which = f"All {counted(n, 'sample')}"
    elif n_all_flagged:
        flagged = f"{n_flagged:,} of {counted(n_all_flagged, 'flagged label')}"
        which = f"{n_shown:,} of {counted(n, 'sample')}: {flagged}, and an even share of the others"
    return (
        f"{which}. Places are the first two principal components of the features of these samples{share}. "
        "Distances on a map mean little: what lies together here may be far apart in the features. The "
        "farthest samples are drawn at the edge."
    )
