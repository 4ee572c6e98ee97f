"""The issues of an audit beside wrong labels: one pair of columns each, over all rows of the data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamis.auditing.material import Material
from tamis.auditing.rows import ONE_GROUP, SINGLE, TOO_SMALL, Rows
from tamis.detectors.ambiguous import ambiguous
from tamis.detectors.exact_duplicates import conflicting_duplicates, exact_duplicates, split_leaks
from tamis.detectors.issue_scores import GroupScores, IssueScores
from tamis.detectors.near_duplicates import near_duplicates
from tamis.detectors.outlier import outliers
from tamis.neighbors import Neighbors
from tamis.types import BoolArray, FloatArray, IntArray

_FEWEST_ROWS = 30  # below, distances to neighbours say nothing about what is usual
_SCALE_NEIGHBORS = 10


@dataclass(frozen=True)
class OtherIssues:
    """Scores and flags by issue name; a score is None where the issue was not looked for.

    Attributes
    ----------
    scores : mapping of name to (n,) float array or None
        0 = surely an issue, 1 = surely none; NaN where a row could not be looked at.
    is_issue : mapping of name to (n,) bool array
    duplicate_group : (n,) int64
        Rows of one group are exact or near duplicates; -1 = none.
    """

    scores: dict[str, FloatArray | None]
    is_issue: dict[str, BoolArray]
    duplicate_group: IntArray


def find_other_issues(
    material: Material, rows: Rows, neighbors: Neighbors | None, posterior: FloatArray | None
) -> OtherIssues:
    """Look for every issue type of the table except wrong labels."""
    n = len(material.dataset)
    scores: dict[str, FloatArray | None] = {}
    flags: dict[str, BoolArray] = {}

    def add(name: str, found: IssueScores | None) -> None:
        scores[name] = None if found is None else found.scores
        flags[name] = np.zeros(n, dtype=bool) if found is None else found.is_issue

    is_unreadable = np.zeros(n, dtype=bool)
    is_unreadable[list(material.unreadable)] = True
    add("unreadable", IssueScores(1.0 - is_unreadable, is_unreadable))
    near: GroupScores | None = None
    exact = exact_duplicates(material.digests) if material.shows_duplicates else None
    add("exact_duplicate", exact)
    add("near_duplicate", None)
    add("outlier", None)
    if exact is not None and neighbors is not None and _is_dense_enough(neighbors):
        near = near_duplicates(
            neighbors.indices, neighbors.similarities, exact_groups=exact.groups, tie_keys=material.digests
        )
        strange = outliers(neighbors.similarities)
        add("near_duplicate", IssueScores(_readable(near.scores, is_unreadable), near.is_issue))
        add("outlier", IssueScores(_readable(strange.scores, is_unreadable), strange.is_issue))
    found = near or exact
    groups = np.full(n, -1, dtype=np.int64) if found is None else found.groups
    looked = found is not None
    codes = material.dataset.label_codes
    add("conflicting_duplicate", conflicting_duplicates(groups, codes) if looked else None)
    splits = material.dataset.table.column("split").to_pylist()
    has_splits = looked and len({name for name in splits if name is not None}) > 1
    add("split_leak", split_leaks(groups, _codes(splits)) if has_splits else None)
    add("ambiguous", None if posterior is None else _ambiguous(n, rows, posterior))
    is_small = np.array([reason in (TOO_SMALL, ONE_GROUP, SINGLE) for reason in rows.reasons], dtype=bool)
    add("small_class", IssueScores(1.0 - is_small, is_small))
    return OtherIssues(scores, flags, groups)


def _is_dense_enough(neighbors: Neighbors) -> bool:
    n, k = neighbors.indices.shape
    return bool(n >= _FEWEST_ROWS and k >= _SCALE_NEIGHBORS)


def _readable(scores: FloatArray, is_unreadable: BoolArray) -> FloatArray:
    """Return the scores with NaN where there was nothing to look at."""
    return np.where(is_unreadable, np.nan, scores)


def _ambiguous(n: int, rows: Rows, posterior: FloatArray) -> IssueScores:
    found = ambiguous(posterior)
    scores, flags = np.full(n, np.nan), np.zeros(n, dtype=bool)
    scores[rows.rows], flags[rows.rows] = found.scores, found.is_issue
    return IssueScores(scores, flags)


def _codes(names: list[str | None]) -> IntArray:
    numbers = {name: code for code, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([-1 if name is None else numbers[name] for name in names], dtype=np.int64)
