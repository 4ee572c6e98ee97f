"""An audit read back as probabilities: what its issue table says about every assessed row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.auditing.result import Audit
from tamis.auditing.rows import Rows
from tamis.data import Dataset
from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

_LEAST = 1e-6


@dataclass(frozen=True)
class FirstOpinion:
    """The verdict of an audit.

    Attributes
    ----------
    rows : Rows
        The assessed rows, in data-set order; classes are those that occur among them.
    places : (n,) int64
        The audit's rank of every row, 0 where it has none: ranks ties, independently of row order.
    score, low, high : (m,) float64
        P(given label is right), and its two ends.
    class_array : pyarrow.Array
        All classes, as the labels were given.
    alternatives, alternative_probs : (m, a) arrays
        The classes that were found most probable, as positions in ``rows.classes`` (-1 = none), and their
        probabilities.
    """

    rows: Rows
    places: IntArray
    score: FloatArray
    low: FloatArray
    high: FloatArray
    class_array: pa.Array
    alternatives: IntArray
    alternative_probs: FloatArray

    def posterior(self, chosen: IntArray) -> FloatArray:
        """Return P(true class), (b, C) float64, of some assessed rows.

        The table names the most probable classes; the others share the rest evenly.
        """
        codes, score = self.rows.codes[chosen], self.score[chosen]
        known, probs = self.alternatives[chosen], self.alternative_probs[chosen]
        n, n_classes = len(codes), len(self.rows.classes)
        found = np.full((n, n_classes + 1), np.nan)
        np.put_along_axis(found, np.where(known < 0, n_classes, known), probs, axis=1)
        found = found[:, :n_classes]
        found[np.arange(n), codes] = score
        is_open = np.isnan(found)
        rest = np.clip(1 - np.nansum(found, axis=1), 0, 1) / np.maximum(is_open.sum(axis=1), 1)
        found = np.maximum(np.where(is_open, rest[:, None], found), _LEAST)
        shares: FloatArray = found / found.sum(axis=1, keepdims=True)
        return shares


def read_first_opinion(dataset: Dataset, evidence: Audit) -> FirstOpinion:
    """Return what an audit says of a data set's labels.

    Raises
    ------
    InputError
        The audit is of other rows or other labels.
    """
    issues = evidence.issues
    codes = dataset.label_codes
    names = dataset.class_names
    class_array = pa.array(list(names), type=issues.schema.field("given_label").type)
    if issues.num_rows != len(dataset):
        raise InputError(
            f"the audit is of {issues.num_rows:,} rows, the data have {len(dataset):,}; pass an audit of "
            "these data"
        )
    given = _codes_of(issues.column("given_label"), class_array)
    differs = np.flatnonzero(given != codes)
    if len(differs):
        row = int(differs[0])
        raise InputError(
            f"the audit is of other labels: row {row} has {issues.column('given_label')[row].as_py()!r} "
            f"there and {names[codes[row]] if codes[row] >= 0 else None!r} in the data; pass an audit of "
            "these data"
        )
    score = _floats(issues, "label_score")
    assessed = np.flatnonzero(issues.column("is_assessed").to_numpy() & ~np.isnan(score))
    classes, own = np.unique(codes[assessed], return_inverse=True)
    alternatives, probs = _alternatives(issues, assessed, class_array, classes)
    score = score[assessed]
    low, high = (
        _floats(issues, name)[assessed] if name in issues.column_names else score
        for name in ("label_score_low", "label_score_high")
    )
    nobody = np.full(len(dataset), -1, dtype=np.int64)
    reasons = np.array(issues.column("reason").to_pylist(), dtype=object)
    ranks = issues.column("rank").fill_null(0).to_numpy().astype(np.int64)
    rows = Rows(assessed, own.astype(np.int64), classes.astype(np.int64), nobody, nobody, reasons)
    return FirstOpinion(rows, ranks, score, low, high, class_array, alternatives, probs)


def _floats(issues: pa.Table, name: str) -> FloatArray:
    values: FloatArray = issues.column(name).to_numpy().astype(np.float64)
    return values


def _codes_of(labels: pa.ChunkedArray, class_array: pa.Array) -> IntArray:
    found: IntArray = pc.fill_null(pc.index_in(labels, value_set=class_array), -1).to_numpy().astype(np.int64)
    # A null label is found nowhere; a label of no class must not pass for one.
    found[(found < 0) & labels.is_valid().to_numpy()] = -2
    return found


def _alternatives(
    issues: pa.Table, assessed: IntArray, class_array: pa.Array, classes: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return (m, a) positions in ``classes`` (-1 = none) and their probabilities."""
    labels = issues.column("alternative_labels").combine_chunks().take(pa.array(assessed))
    probs = issues.column("alternative_probs").combine_chunks().take(pa.array(assessed))
    lengths = pc.list_value_length(labels).fill_null(0).to_numpy().astype(np.int64)
    width = int(lengths.max(initial=0))
    place = np.full(len(class_array) + 2, -1, dtype=np.int64)
    place[classes] = np.arange(len(classes))
    codes = _codes_of(pa.chunked_array([labels.flatten()]), class_array)
    found = np.full((len(assessed), width), -1, dtype=np.int64)
    values = np.zeros((len(assessed), width))
    is_there = np.arange(width) < lengths[:, None]
    found[is_there] = place[codes]
    values[is_there] = probs.flatten().fill_null(0.0).to_numpy()
    return found, values
