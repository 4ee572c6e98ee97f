"""Tables of an audit of identities: verdicts on members, identities that may be one, and that may be two."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tamis.auditing.material import Material
from tamis.auditing.rows import Rows
from tamis.auditing.table import FLAG_THRESHOLD, class_array, named_labels, scattered, tie_places
from tamis.statistics.class_likeness import ClassHalves, ClassPairs
from tamis.statistics.misfits import Misfits
from tamis.types import FloatArray, IntArray

_MOST_LIKENESS_OF_HALVES = 0.5


def identity_columns(
    material: Material, rows: Rows, misfits: Misfits, ends: tuple[FloatArray, FloatArray]
) -> dict[str, pa.Array]:
    """Return the columns of the issue table that say whether each member belongs.

    Parameters
    ----------
    material : Material
    rows : Rows
    misfits : Misfits
        Of ``rows.rows``, in their order.
    ends : pair of (m,) arrays
        Lower and upper end of the label score.
    """
    n, classes = len(material.dataset), class_array(material)
    score = misfits.fit.probabilities.numpy()
    other, further = misfits.other.numpy(), misfits.further.numpy()
    is_wrong = (score < FLAG_THRESHOLD) & (other >= 0)
    suggested = np.full(n, -1, dtype=np.int64)
    suggested[rows.rows] = rows.classes[np.where(is_wrong, other, rows.codes)]
    flagged = np.zeros(n, dtype=bool)
    flagged[rows.rows] = is_wrong
    rank = np.full(n, -1, dtype=np.int64)
    # By the odds: probabilities of 0 and 1 would be ties.
    order = np.lexsort((tie_places(material)[rows.rows], misfits.fit.log_odds.numpy()))
    rank[rows.rows[order]] = np.arange(1, len(order) + 1)
    best = np.stack(
        [np.where(is_wrong, other, rows.codes), np.where(is_wrong, rows.codes, other), further], 1
    )
    probs = np.where(best == rows.codes[:, None], score[:, None], np.nan)
    return {
        "label_score": scattered(n, rows, score),
        "label_score_low": scattered(n, rows, ends[0]),
        "label_score_high": scattered(n, rows, ends[1]),
        "suggested_label": named_labels(classes, suggested),
        "is_label_issue": pa.array(flagged),
        "rank": pa.array(rank, mask=rank < 0),
    } | _alternatives(n, classes, rows, best, probs)


def _alternatives(
    n: int, classes: pa.Array, rows: Rows, best: IntArray, probs: FloatArray
) -> dict[str, pa.Array]:
    """Return the lists of alternatives; only the given label has a probability."""
    place = np.full(n, -1, dtype=np.int64)
    place[rows.rows] = np.arange(len(rows.rows))
    order = place[place >= 0]
    kept = best[order] >= 0
    lengths = np.zeros(n, dtype=np.int64)
    lengths[place >= 0] = kept.sum(axis=1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    names = classes.take(pa.array(rows.classes[best[order][kept]]))
    values = probs[order][kept]
    mask = pa.array(place < 0)
    shares = pa.array(values, mask=np.isnan(values), type=pa.float64())
    return {
        "alternative_labels": pa.ListArray.from_arrays(offsets, names, mask=mask),
        "alternative_probs": pa.ListArray.from_arrays(offsets, shares, mask=mask),
    }


def merge_table(classes: pa.Array, rows: Rows, pairs: ClassPairs | None, likely: float) -> pa.Table:
    """Return pairs of identities that may be one: the likest first.

    Parameters
    ----------
    classes : pyarrow.Array
        All class names, in code order.
    rows : Rows
    pairs : ClassPairs or None
        Of canonical classes.
    likely : float
        Likeness from which a pair is probably one identity.

    Returns
    -------
    pyarrow.Table
        Columns first, second, n_first, n_second, likeness, is_likely.
    """
    none = np.zeros(0, dtype=np.int64)
    counts = np.bincount(rows.codes, minlength=len(rows.classes))
    one, two = (none, none) if pairs is None else (pairs.first.numpy(), pairs.second.numpy())
    likeness = np.zeros(0) if pairs is None else pairs.likeness.numpy()
    return pa.table(
        {
            "first": named_labels(classes, rows.classes[one]),
            "second": named_labels(classes, rows.classes[two]),
            "n_first": pa.array(counts[one]),
            "n_second": pa.array(counts[two]),
            "likeness": pa.array(likeness, pa.float64()),
            "is_likely": pa.array(likeness >= likely),
        }
    )


def split_table(
    material: Material,
    classes: pa.Array,
    rows: Rows,
    halves: ClassHalves | None,
    least_coherence: float,
    likely: float,
) -> pa.Table:
    """Return identities that may be two, the least alike halves first.

    Parameters
    ----------
    material : Material
    classes : pyarrow.Array
    rows : Rows
    halves : ClassHalves or None
        Of canonical classes and of ``rows.rows``.
    least_coherence : float
        Root of the mean cosine that both halves must have within.
    likely : float
        Likeness up to which an identity is probably two.

    Returns
    -------
    pyarrow.Table
        Columns identity, n_first, n_second, likeness, is_likely, second (ids of the smaller half).
    """
    nothing = np.zeros(0, dtype=np.int64)
    if halves is None:
        chosen, likeness, side = nothing, np.zeros(0), np.zeros(0, dtype=bool)
    else:
        likeness, side = halves.likeness.numpy(), halves.side.numpy()
        is_listed = (likeness <= _MOST_LIKENESS_OF_HALVES) & (halves.coherence.numpy() >= least_coherence)
        chosen = np.flatnonzero(is_listed)
        chosen = chosen[np.argsort(likeness[chosen], kind="stable")]
    counts = np.bincount(rows.codes, minlength=len(rows.classes))
    second = np.bincount(rows.codes[side], minlength=len(rows.classes))
    # Ids of the smaller halves, identity by identity in the order of the table.
    place = np.full(len(rows.classes), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    members = np.flatnonzero(side & (place[rows.codes] >= 0)) if halves is not None else nothing
    members = members[np.lexsort((tie_places(material)[rows.rows[members]], place[rows.codes[members]]))]
    ids = material.dataset.table.column("id").combine_chunks().take(pa.array(rows.rows[members]))
    offsets = pa.array(np.concatenate([[0], np.cumsum(second[chosen])]).astype(np.int32))
    return pa.table(
        {
            "identity": named_labels(classes, rows.classes[chosen]),
            "n_first": pa.array(counts[chosen] - second[chosen]),
            "n_second": pa.array(second[chosen]),
            "likeness": pa.array(likeness[chosen], pa.float64()),
            "is_likely": pa.array(likeness[chosen] <= likely),
            "second": pa.ListArray.from_arrays(offsets, ids),
        }
    )
