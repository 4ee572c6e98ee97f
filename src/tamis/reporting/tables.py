"""Tables of the report about classes: counts, the transition heat map, the strongest confusions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tamis.issues.summary import AuditSummary, ClassSummary
from tamis.reporting.wording import UNKNOWN, Shown, count, counts, percent, shown
from tamis.types import Estimate, FloatArray

MOST_CLASSES = 50
_MOST_CONFUSIONS = 25
_MOST_BESIDE_HEAT_MAP = 12
_LEAST_LISTED = 0.0005
_LARGEST_HEAT_MAP = 40
_LARGEST_WITH_NUMBERS = 20
_HEAT_LEVELS = 8
_LEAST_SHOWN = 0.005  # rounds to one percent


@dataclass(frozen=True)
class ClassRow:
    """One class; ``share`` is the expected share of wrong labels times 100, None where unknown."""

    name: Shown
    n_given: str
    n_assessed: str
    n_flagged: str
    expected: str
    interval: str
    share: float | None
    share_text: str
    confused_with: Shown | None


@dataclass(frozen=True)
class HeatCell:
    """P(given | true) of one pair; ``level`` runs from 0 (empty) to 8 (the strongest confusion)."""

    level: int
    text: str
    title: str
    is_diagonal: bool


@dataclass(frozen=True)
class HeatRow:
    """All given labels of one true class."""

    name: Shown
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class HeatMap:
    """The transition matrix as a table, rows true classes, columns given labels."""

    names: tuple[Shown, ...]
    rows: tuple[HeatRow, ...]
    has_numbers: bool


@dataclass(frozen=True)
class Confusion:
    """A true class and the label that was given to it by mistake; ``n_rows`` is empty where unknown."""

    true: Shown
    given: Shown
    probability: str
    n_rows: str


def class_rows(summary: AuditSummary) -> tuple[ClassRow, ...]:
    """Return the classes with most wrong labels first, 50 at most."""
    worst = sorted(summary.classes, key=_badness, reverse=True)[:MOST_CLASSES]
    expected = [each.expected_wrong or Estimate(math.nan, math.nan, math.nan) for each in worst]
    words = counts([value for each in expected for value in each])
    return tuple(
        _class_row(each, *words[3 * i : 3 * i + 3], share=expected[i].estimate / max(1, each.n_assessed))
        for i, each in enumerate(worst)
    )


def _badness(each: ClassSummary) -> tuple[float, int, int]:
    expected = -1.0 if each.expected_wrong is None else each.expected_wrong.estimate
    return (-1.0 if math.isnan(expected) else expected, each.n_flagged, each.n_given)


def _class_row(each: ClassSummary, estimate: str, low: str, high: str, *, share: float) -> ClassRow:
    is_known = math.isfinite(share)
    return ClassRow(
        name=shown(each.name),
        n_given=count(each.n_given),
        n_assessed=count(each.n_assessed),
        n_flagged=count(each.n_flagged),
        expected=estimate,
        interval=f"{low} to {high}" if is_known else UNKNOWN,
        share=100.0 * min(1.0, max(0.0, share)) if is_known else None,
        share_text=percent(share),
        confused_with=None if each.confused_with is None else shown(each.confused_with),
    )


def heat_map(summary: AuditSummary) -> HeatMap | None:
    """Return the transition matrix as a heat map, None without a matrix or with more than 40 classes."""
    matrix = summary.transition
    if matrix is None or not 2 <= len(matrix) <= _LARGEST_HEAT_MAP:
        return None
    names = tuple(shown(name, 28) for name in summary.class_names)
    off = _off_diagonal(matrix)
    strongest = float(off.max()) if off.size else 0.0
    rows = tuple(
        HeatRow(
            names[true],
            tuple(
                _cell(
                    float(matrix[true, given]),
                    names[true],
                    names[given],
                    strongest,
                    is_diagonal=true == given,
                )
                for given in range(len(matrix))
            ),
        )
        for true in range(len(matrix))
    )
    return HeatMap(names, rows, len(matrix) <= _LARGEST_WITH_NUMBERS)


def _cell(p: float, true: Shown, given: Shown, strongest: float, *, is_diagonal: bool) -> HeatCell:
    title = f"true {true.text}, given {given.text}: {percent(p)}"
    if not math.isfinite(p):
        return HeatCell(0, UNKNOWN, title, is_diagonal)
    text = f"{100 * p:.0f}" if p >= _LEAST_SHOWN else ""
    if is_diagonal or p < _LEAST_SHOWN:
        return HeatCell(0, text, title, is_diagonal)
    # The square root keeps weak confusions visible beside one strong one.
    level = math.ceil(_HEAT_LEVELS * math.sqrt(min(1.0, p / strongest)))
    return HeatCell(level, text, title, is_diagonal=False)


def _off_diagonal(matrix: FloatArray) -> FloatArray:
    off: FloatArray = np.where(np.eye(len(matrix), dtype=bool), 0.0, np.nan_to_num(matrix, nan=0.0))
    return off


def confusions(summary: AuditSummary) -> tuple[Confusion, ...]:
    """Return the strongest confusions, by expected number of rows where the class prior is known."""
    matrix = summary.transition
    if matrix is None or len(matrix) < 2:
        return ()
    off = _off_diagonal(matrix)  # (K, K)
    prior = summary.class_prior
    rows = None if prior is None else off * np.nan_to_num(prior, nan=0.0)[:, None] * summary.n_assessed
    strength = (off if rows is None else rows).ravel()
    n_shown = _MOST_CONFUSIONS if len(matrix) > _LARGEST_HEAT_MAP else _MOST_BESIDE_HEAT_MAP
    order = [int(cell) for cell in np.argsort(-strength, kind="stable")[:n_shown]]
    order = [cell for cell in order if off.flat[cell] >= _LEAST_LISTED]
    n_rows = [""] * len(order) if rows is None else counts([float(rows.flat[cell]) for cell in order])
    names = summary.class_names
    return tuple(
        Confusion(
            true=shown(names[cell // len(matrix)]),
            given=shown(names[cell % len(matrix)]),
            probability=percent(float(off.flat[cell])),
            n_rows=words,
        )
        for cell, words in zip(order, n_rows, strict=True)
    )
