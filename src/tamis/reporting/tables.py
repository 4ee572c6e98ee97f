"""Tables of the report about classes: counts, the transition heat map, the strongest confusions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tamis.issues.summary import AuditSummary, ClassSummary
from tamis.reporting.wording import UNKNOWN, Shown, count, count_interval, percent, shown
from tamis.types import FloatArray

MOST_CLASSES = 50
_MOST_CONFUSIONS = 20
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
    ordered = sorted(summary.classes, key=_badness, reverse=True)
    return tuple(_class_row(each) for each in ordered[:MOST_CLASSES])


def _badness(each: ClassSummary) -> tuple[float, int, int]:
    expected = -1.0 if each.expected_wrong is None else each.expected_wrong.estimate
    return (-1.0 if math.isnan(expected) else expected, each.n_flagged, each.n_given)


def _class_row(each: ClassSummary) -> ClassRow:
    wrong = each.expected_wrong
    share = None if wrong is None or not each.n_assessed else wrong.estimate / each.n_assessed
    return ClassRow(
        name=shown(each.name),
        n_given=count(each.n_given),
        n_assessed=count(each.n_assessed),
        n_flagged=count(each.n_flagged),
        expected=UNKNOWN if wrong is None else count(wrong.estimate),
        interval="" if wrong is None else count_interval(wrong),
        share=None if share is None else 100.0 * min(1.0, max(0.0, share)),
        share_text=UNKNOWN if share is None else percent(share),
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
    order = np.argsort(-strength, kind="stable")[:_MOST_CONFUSIONS]
    names = summary.class_names
    return tuple(
        Confusion(
            true=shown(names[int(cell) // len(matrix)]),
            given=shown(names[int(cell) % len(matrix)]),
            probability=percent(float(off.flat[cell])),
            n_rows="" if rows is None else count(float(rows.flat[cell])),
        )
        for cell in order
        if off.flat[cell] >= 0.0005
    )
