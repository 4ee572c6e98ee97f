"""The pruning rules on rows of probabilities: which rows of a class to remove, given how many.

Confident learning, section 3.2. Only rows whose given label is not the most likely one can be removed, so by
noise rate only those are read again, class by class; all rows of a class are looked at where the rule
reaches beyond them.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from tamis.errors import TamisWarning
from tamis.statistics.labelled_rows import SLACK, LabelledRows, Survey, rows_by_class
from tamis.types import BoolArray, FloatArray, IntArray

_TAKEN_ELEMENTS = 2**19
_COLUMN_ELEMENTS = 2**16
_SORTED_TOGETHER = 512


class Pruning(NamedTuple):
    """Everything a rule needs.

    Attributes
    ----------
    rows : LabelledRows
    seen : Survey
    counts : (K, K) int64 array
        Rows to remove, rows given, columns true; what stays on the diagonal.
    min_examples_per_class : int
        Classes with at most so many rows are left alone.
    compat : bool
        Among equally suspicious rows at the end of a rule's count take those that numpy's unstable sort
        happens to put first, as the reference implementation does; else see `least`.
    """

    rows: LabelledRows
    seen: Survey
    counts: IntArray
    min_examples_per_class: int
    compat: bool

    def is_pruned(self, k: int) -> bool:
        """Say whether class ``k`` is large enough; one row alone never is."""
        return int(self.rows.label_counts[k]) > max(self.min_examples_per_class, 1)


def by_noise_rate(pruning: Pruning) -> BoolArray:
    """Flag, for given class k and every other class j, the ``counts[k, j]`` rows with the largest q_j - q_k.

    Returns
    -------
    (n,) bool array
        Without rows whose given label is the most likely one.
    """
    nobody = pruning.rows.codes.dtype.type(pruning.rows.n_classes)
    # Codes of the suspects; a row that is no suspect, or turns out to stay, has the code K of no class.
    codes = np.where(pruning.seen.is_supported, nobody, pruning.rows.codes)
    for k, suspects in rows_by_class(codes, pruning.rows.n_classes):
        if pruning.is_pruned(k):
            codes[suspects[~_suspects_to_remove(pruning, k, suspects)]] = nobody
        else:
            codes[suspects] = nobody
    mask: BoolArray = codes < nobody
    return mask


def by_class(pruning: Pruning) -> BoolArray:
    """Flag, for every class k, as many rows with the smallest q_k as the counts remove.

    Returns
    -------
    (n,) bool array
        Without rows whose given label is the most likely one.
    """
    mask = np.zeros(pruning.rows.n_samples, dtype=np.bool_)
    for k, members in rows_by_class(pruning.rows.codes, pruning.rows.n_classes):
        n_issues = len(members) - int(pruning.counts[k, k])
        if pruning.is_pruned(k) and n_issues >= 1:
            mask[members] = least(pruning, pruning.seen.given[members], members, n_issues)
    return mask & ~pruning.seen.is_supported


def warn_of_small_classes(label_counts: IntArray, at_most: int, *, stacklevel: int = 3) -> None:
    """Warn of the classes that the pruning rules leave alone."""
    small = np.flatnonzero((label_counts > 0) & (label_counts <= at_most)).tolist()
    if small:
        shown = ", ".join(map(str, small[:10])) + (", ..." if len(small) > 10 else "")
        warnings.warn(
            f"{len(small)} classes have at most {at_most} rows and are left alone: {shown}",
            TamisWarning,
            stacklevel=stacklevel,
        )


def least(pruning: Pruning, values: FloatArray, members: IntArray, count: int) -> BoolArray:
    """Flag the ``count`` smallest of the values that belong to the rows ``members``.

    Among equal values at the end of the count: the smaller probability of the given label, then the larger
    most likely probability, then the earlier row.
    """
    n = len(values)
    if count >= n:
        return np.ones(n, dtype=np.bool_)
    last = np.partition(values, count - 1)[count - 1]
    mask: BoolArray = values <= last
    if int(mask.sum()) == count:
        return mask
    if pruning.compat:
        mask[:] = False
        mask[np.argsort(values)[:count]] = True
        return mask
    tied = np.flatnonzero(values == last)
    rows = members[tied]
    top = pruning.rows.probs[rows, pruning.seen.predicted[rows]]
    order = np.lexsort((-top, pruning.seen.given[rows]))
    mask[tied[order[count - int((values < last).sum()) :]]] = False
    return mask


def _suspects_to_remove(pruning: Pruning, k: int, suspects: IntArray) -> BoolArray:
    """Return which suspects of class ``k`` are removed in favour of any other class."""
    numbers = pruning.counts[k].copy()
    numbers[k] = 0
    others = np.flatnonzero(numbers > 0)
    flagged = np.zeros(len(suspects), dtype=np.bool_)
    beyond = []
    step = max(1, _COLUMN_ELEMENTS // len(suspects))
    is_taken = len(suspects) * pruning.rows.n_classes <= _TAKEN_ELEMENTS and 4 * len(others) >= len(numbers)
    taken = pruning.rows.take(suspects).T if is_taken else None
    for start in range(0, len(others), step):
        columns = others[start : start + step]
        # A row for each class, (columns, suspects); less support = more suspicious.
        probs = pruning.rows.probs[suspects, columns[:, None]] if taken is None else taken[columns]
        support = pruning.seen.given[suspects] - probs
        cuts, is_within = _cuts(support, numbers[columns])
        flagged |= (support <= cuts[:, None]).any(axis=0)
        beyond += columns[~is_within].tolist()
    if beyond and not flagged.all():
        flagged |= _beyond_suspects(pruning, k, suspects, beyond)
    return flagged


def _cuts(support: FloatArray, numbers: IntArray) -> tuple[FloatArray, BoolArray]:
    """Return up to which support each class removes suspects, and whether that is all it removes.

    It is all where the last removed suspect is clearly less supported than rows that are no suspects can be,
    and is not equal to the next one. Elsewhere only the clearly less supported are removed here.
    """
    n = support.shape[1]
    kind = support.dtype.type
    # Rows that are no suspects have at least -1e-6, up to rounding.
    bound = -kind(max(2.0 * SLACK, 4.0 * float(np.finfo(support.dtype).eps)))
    last, following = _neighbours_of_cut(support, np.minimum(numbers, n))
    is_within = (numbers <= n) & (last < bound) & ((numbers == n) | (following > last))
    clear = np.where(numbers > n, bound, np.minimum(last, bound))
    return np.where(is_within, last, np.nextafter(clear, kind(-np.inf))), is_within


def _neighbours_of_cut(values: FloatArray, numbers: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return, for each row, the value at place ``number`` from below, and the one after it (or the same)."""
    n = values.shape[1]
    places = np.arange(len(numbers))
    if n <= _SORTED_TOGETHER:
        ordered = np.sort(values, axis=1)
        return ordered[places, numbers - 1], ordered[places, np.minimum(numbers, n - 1)]
    last, following = np.empty_like(values[:, 0]), np.empty_like(values[:, 0])
    for place, number in enumerate(numbers.tolist()):
        after = min(number, n - 1)
        parted = np.partition(values[place], after)
        following[place] = parted[after]
        last[place] = parted[:number].max()
    return last, following


def _beyond_suspects(pruning: Pruning, k: int, suspects: IntArray, others: list[int]) -> BoolArray:
    """Return which suspects are removed in favour of some classes, by looking at all rows of class ``k``."""
    members = np.flatnonzero(pruning.rows.codes == k)
    given = pruning.seen.given[members]
    flagged = np.zeros(len(members), dtype=np.bool_)
    for j in others:
        margin = pruning.rows.column(members, j)
        margin -= given
        support = np.negative(margin, out=margin)
        flagged |= least(pruning, support, members, int(pruning.counts[k, j]))
        if flagged.all():
            break
    found: BoolArray = flagged[np.searchsorted(members, suspects)]
    return found
