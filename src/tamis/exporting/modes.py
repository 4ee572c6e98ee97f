"""The three copies an export can make of the labels: corrected, filtered, annotated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.errors import InputError
from tamis.types import BoolArray, IntArray

Mode: TypeAlias = Literal["corrected", "filtered", "annotated"]
MODES: tuple[Mode, ...] = ("corrected", "filtered", "annotated")

_NOTED = ("suggested_label", "label_score", "is_label_issue", "is_assessed", "reason", "rank")


@dataclass(frozen=True)
class Copy:
    """Labels after one mode was applied.

    Attributes
    ----------
    table : pyarrow.Table
        ``id`` and ``label`` first, then the columns of the mode.
    rows : (m,) int64
        The rows of the data set that were kept, ascending.
    n_changed, n_removed, n_unlabelled, n_not_assessed : int
        Labels replaced, rows left out, rows kept without a label, labelled rows kept without a verdict.
    """

    table: pa.Table
    rows: IntArray
    n_changed: int
    n_removed: int
    n_unlabelled: int
    n_not_assessed: int


def apply_mode(issues: pa.Table, mode: Mode, threshold: float | None) -> Copy:
    """Return the labels of an issue table after ``mode``.

    Parameters
    ----------
    issues : pyarrow.Table
        See ``docs/issue-table.md``.
    mode : {"corrected", "filtered", "annotated"}
        Flagged labels replaced by the suggestion; flagged rows left out; every row and label kept, with
        the verdict beside it.
    threshold : float or None
        Flag the assessed rows whose ``label_score`` is below it, in [0, 1]; None takes the audit's flags.

    Returns
    -------
    Copy
    """
    given, suggested = issues.column("given_label"), issues.column("suggested_label")
    is_flagged = _flagged(issues, threshold)
    differs = pc.fill_null(pc.not_equal(given, suggested), False).to_numpy()
    is_changed = is_flagged & differs if mode == "corrected" else np.zeros(len(issues), dtype=np.bool_)
    is_kept = ~is_flagged if mode == "filtered" else np.ones(len(issues), dtype=np.bool_)

    label = pc.if_else(pa.array(is_changed), suggested.combine_chunks(), given.combine_chunks())
    columns = {"id": issues.column("id"), "label": label}
    if mode == "annotated":
        columns |= {name: issues.column(name) for name in _annotations(issues)}
        columns["is_label_issue"] = pa.array(is_flagged)
    else:
        columns |= {"given_label": given, "label_score": issues.column("label_score")}
        columns["was_changed"] = pa.array(is_changed)
    is_unlabelled = given.is_null().to_numpy()
    is_assessed = issues.column("is_assessed").to_numpy()
    return Copy(
        table=pa.table(columns).filter(pa.array(is_kept)),
        rows=np.flatnonzero(is_kept),
        n_changed=int(is_changed.sum()),
        n_removed=int((~is_kept).sum()),
        n_unlabelled=int((is_unlabelled & is_kept).sum()),
        n_not_assessed=int((~is_assessed & ~is_unlabelled & is_kept).sum()),
    )


def _flagged(issues: pa.Table, threshold: float | None) -> BoolArray:
    is_assessed = issues.column("is_assessed").to_numpy()
    if threshold is None:
        return np.asarray(issues.column("is_label_issue").to_numpy() & is_assessed)
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must be a label score from 0 to 1; got {threshold!r}")
    score = pc.fill_null(issues.column("label_score"), np.inf).to_numpy()
    return np.asarray(is_assessed & (score < threshold))


def _annotations(issues: pa.Table) -> list[str]:
    others = [
        name
        for name in issues.column_names
        if name.startswith("is_") and name.endswith("_issue") and name != "is_label_issue"
    ]
    return [name for name in _NOTED if name in issues.column_names] + others
