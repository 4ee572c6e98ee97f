"""Class table, heat map and confusions: by hand, against a loop, with unknown values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamis.issues.summary import ClassSummary
from tamis.reporting.tables import MOST_CLASSES, class_rows, confusions, heat_map
from tamis.types import Estimate

MATRIX = np.array([[0.9, 0.1, 0.0], [0.02, 0.98, 0.0], [0.004, 0.4, 0.596]])


def summary_of(case, matrix=MATRIX, prior=None, **changes):
    names = (
        tuple("abcdefghijklmnopqrstuvwxyz"[: len(matrix)]) if len(matrix) <= 26 else tuple(range(len(matrix)))
    )
    return replace(case().summary, class_names=names, transition=matrix, class_prior=prior, **changes)


def test_heat_map_by_hand(case):
    heat = heat_map(summary_of(case))
    assert [[cell.text for cell in row.cells] for row in heat.rows] == [
        ["90", "10", ""],
        ["2", "98", ""],
        ["", "40", "60"],
    ]
    # Level = ceil(8 * sqrt(p / 0.4)), 0 on the diagonal and below half a percent.
    assert [[cell.level for cell in row.cells] for row in heat.rows] == [[0, 4, 0], [2, 0, 0], [0, 8, 0]]
    assert heat.rows[2].cells[1].title.replace("\u202f", " ") == "true c, given b: 40 %"
    assert heat.has_numbers


@pytest.mark.parametrize(
    ("n", "is_shown", "has_numbers"), [(1, False, False), (20, True, True), (40, True, False)]
)
def test_heat_map_sizes(case, n, is_shown, has_numbers):
    heat = heat_map(summary_of(case, np.eye(n)))
    assert (heat is not None) == is_shown
    if heat is not None:
        assert heat.has_numbers == has_numbers
    assert heat_map(summary_of(case, np.eye(41))) is None
    assert heat_map(replace(summary_of(case), transition=None)) is None


def test_heat_map_of_unknown_rows(case):
    matrix = MATRIX.copy()
    matrix[1] = np.nan
    cells = heat_map(summary_of(case, matrix)).rows[1].cells
    assert [cell.text for cell in cells] == ["\u2013"] * 3
    assert [cell.level for cell in cells] == [0, 0, 0]


def test_confusions_by_hand(case):
    found = confusions(summary_of(case, MATRIX, np.array([0.5, 0.4, 0.1]), n_assessed=1_000))
    assert [(each.true.text, each.given.text, each.n_rows) for each in found] == [
        ("a", "b", "50"),
        ("c", "b", "40"),
        ("b", "a", "8"),
        ("c", "a", "0"),
    ]
    assert [each.given.text for each in confusions(summary_of(case))] == ["b", "b", "a", "a"]
    assert confusions(summary_of(case))[0].true.text == "c"
    assert confusions(summary_of(case))[0].n_rows == ""


def test_confusions_against_a_loop(case):
    rng = np.random.default_rng(0)
    matrix, prior = rng.dirichlet(np.ones(60), 60), rng.dirichlet(np.ones(60))
    summary = summary_of(case, matrix, prior)
    pairs = [(prior[t] * matrix[t, g], t, g) for t in range(60) for g in range(60) if t != g]
    expected = [(str(t), str(g)) for _, t, g in sorted(pairs, reverse=True)[:25]]
    assert [(each.true.text, each.given.text) for each in confusions(summary)] == expected


def test_class_rows_by_hand(case):
    classes = (
        ClassSummary("few", 10, 10, 1, Estimate(1, 0, 2), "many"),
        ClassSummary("unknown", 5, 0, 0, None, None),
        ClassSummary("many", 2_000, 1_000, 90, Estimate(250, 200, 310), "few"),
    )
    rows = class_rows(replace(case().summary, classes=classes))
    assert [row.name.text for row in rows] == ["many", "few", "unknown"]
    many, few, unknown = rows
    assert (many.n_given, many.expected, many.interval, many.share) == ("2,000", "250", "200 to 310", 25.0)
    assert (few.expected, few.interval, few.confused_with.text) == ("1", "0 to 2", "many")
    assert (unknown.expected, unknown.interval, unknown.share) == ("\u2013", "\u2013", None)


def test_order_of_classes_does_not_matter(case):
    classes = tuple(ClassSummary(c, 10, 10, c, Estimate(c / 9, 0, c), None) for c in range(80))
    rows = class_rows(replace(case().summary, classes=classes))
    assert rows == class_rows(replace(case().summary, classes=classes[::-1]))
    assert len(rows) == MOST_CLASSES
    assert rows[0].name.text == "79"
