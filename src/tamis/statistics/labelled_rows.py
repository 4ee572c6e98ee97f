"""Predicted probabilities with given labels, read block by block: no copy of the matrix is ever made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np

from tamis.errors import InputError
from tamis.statistics.probability_values import (
    NEGATIVE_TOLERANCE,
    SUM_TOLERANCE,
    ArrayLike,
    label_codes,
    numpy_array,
    value_problems,
)
from tamis.types import BoolArray, FloatArray, IntArray

SLACK = 1e-6
"""A given label counts as the most likely one from this much below the largest probability on."""

BLOCK_ELEMENTS = 2**18
"""Probabilities looked at together."""

_COUNTED_ROWS = 2**16


class LabelledRows:
    """An (n, K) matrix of probabilities and (n,) label codes; values are checked by `survey`.

    The numbers stay as they are: nothing is renormalised or converted, so that results on float32 are those
    of float32 arithmetic.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float
        Memory-mapped arrays and tensors on the CPU are read where they are.
    block_elements : int, default=2**18
        How many probabilities a block holds, about.

    Raises
    ------
    InputError
        Not a table of real numbers, no rows or columns, or labels that do not belong to it.
    """

    def __init__(
        self, labels: ArrayLike, pred_probs: ArrayLike, *, block_elements: int = BLOCK_ELEMENTS
    ) -> None:
        self.probs = _matrix(pred_probs)
        self.n_samples, self.n_classes = self.probs.shape
        self.block_elements = block_elements
        codes = label_codes(labels, n_samples=self.n_samples, n_classes=self.n_classes)
        # One or two bytes a row; the code K is left free for "no class".
        self.codes = codes.astype(np.min_scalar_type(self.n_classes), copy=False)
        self.label_counts = code_counts(self.codes, self.n_classes)

    def blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, C-contiguous probabilities) from the first row to the last."""
        step = max(1, self.block_elements // self.n_classes)
        for start in range(0, self.n_samples, step):
            part = slice(start, min(start + step, self.n_samples))
            yield part, np.ascontiguousarray(self.probs[part])

    def take(self, rows: IntArray) -> FloatArray:
        """Return the (len(rows), K) probabilities of some rows."""
        # take() would first copy a matrix of another layout as a whole.
        return self.probs.take(rows, axis=0) if self.probs.flags.c_contiguous else self.probs[rows]

    def column(self, rows: IntArray, j: int) -> FloatArray:
        """Return the probability of class ``j`` in some rows."""
        column: FloatArray = self.probs[rows, j]
        return column


class Survey(NamedTuple):
    """What the first pass keeps of every row.

    Attributes
    ----------
    given : (n,) float array
        Probability of the given label, in the precision of the input.
    predicted : (n,) int array
        Most likely class, the first of equal ones.
    is_supported : (n,) bool array
        Whether the given label is the most likely class once 1e-6 is added to it.
    """

    given: FloatArray
    predicted: IntArray
    is_supported: BoolArray


def survey(rows: LabelledRows) -> Survey:
    """Read every row once: check the values, keep three numbers.

    Raises
    ------
    InputError
        NaN or infinite entries, entries outside [0, 1], rows that do not sum to one within 1e-3.

    Examples
    --------
    >>> survey(LabelledRows([0, 0], [[0.75, 0.25], [0.25, 0.75]])).is_supported
    array([ True, False])
    """
    n = rows.n_samples
    kept = Survey(np.empty(n, rows.probs.dtype), np.empty(n, rows.codes.dtype), np.empty(n, np.bool_))
    for part, block in rows.blocks():
        if not _is_legal(block):
            raise InputError("; ".join(value_problems(block for _, block in rows.blocks())))
        codes = rows.codes[part]
        predicted = block.argmax(axis=1)
        given, top = entries(block, codes), entries(block, predicted)
        raised = given + SLACK
        # Equal after the raise: argmax takes the first of the two.
        kept.is_supported[part] = (raised > top) | ((raised == top) & (codes <= predicted))
        kept.given[part], kept.predicted[part] = given, predicted
    return kept


def entries(block: FloatArray, columns: IntArray) -> FloatArray:
    """Return one entry of every row of a C-contiguous block.

    Examples
    --------
    >>> entries(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([1, 0]))
    array([0.25, 0.5 ])
    """
    offsets = np.arange(0, block.size, block.shape[1])
    offsets += columns
    return block.reshape(-1).take(offsets)


def code_counts(codes: IntArray, n_classes: int) -> IntArray:
    """Count every code below K; bincount() would first widen all of them to eight bytes.

    Examples
    --------
    >>> code_counts(np.array([2, 0, 2], dtype=np.uint8), 3)
    array([1, 0, 2])
    """
    counts = np.zeros(n_classes, dtype=np.int64)
    for start in range(0, len(codes), _COUNTED_ROWS):
        counts += np.bincount(codes[start : start + _COUNTED_ROWS], minlength=n_classes)[:n_classes]
    return counts


def rows_by_class(codes: IntArray, n_classes: int) -> Iterator[tuple[int, IntArray]]:
    """Yield every class that occurs with its rows, in order; codes from K on belong to none.

    Examples
    --------
    >>> [(k, rows.tolist()) for k, rows in rows_by_class(np.array([2, 0, 2]), 3)]
    [(0, [1]), (2, [0, 2])]
    """
    counts = code_counts(codes, n_classes)
    if codes.dtype == np.uint8:
        # A look at every byte for each class costs less than an order of all rows, and keeps less.
        for k in np.flatnonzero(counts).tolist():
            yield k, np.flatnonzero(codes == k)
        return
    order = np.argsort(codes, kind="stable")
    ends = counts.cumsum()
    for k in np.flatnonzero(counts).tolist():
        yield k, order[ends[k] - counts[k] : ends[k]]


def _matrix(pred_probs: ArrayLike) -> FloatArray:
    try:
        array = numpy_array(pred_probs)
    except ValueError as error:
        raise InputError(f"pred_probs is not a table of numbers ({error}); give one row a sample") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"pred_probs has dtype {array.dtype}; expected real numbers in [0, 1]")
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"pred_probs has shape {array.shape}; expected (samples, classes), at least one of each"
        )
    is_plain = array.dtype in (np.float16, np.float32, np.float64)
    return cast(FloatArray, array) if is_plain else array.astype(np.float64)


def _is_legal(block: FloatArray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        # Not in float16, whose sums of many classes are too coarse.
        sums = block.sum(axis=1, dtype=np.result_type(block.dtype, np.float32))
        sums -= 1.0
        # NaN fails every comparison, so it is not legal either.
        return bool(
            np.abs(sums, out=sums).max() <= SUM_TOLERANCE
            and block.min() >= -NEGATIVE_TOLERANCE
            and block.max() <= 1.0 + SUM_TOLERANCE
        )
