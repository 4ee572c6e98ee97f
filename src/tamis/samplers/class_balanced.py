"""Orders in which every class comes equally often, however many samples it has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.counter_draws import repeated_words, sample_words
from tamis.types import IntArray


def class_balanced(
    labels: npt.ArrayLike,
    selected: npt.ArrayLike | None,
    seed: int,
    epoch: int,
    *,
    per_class: int | None = None,
    cycle: int = 0,
) -> npt.NDArray[np.int64]:
    """Return an order in which every class has as many draws as the largest one.

    The samples of a class are repeated whole as often as they fit, and a random part of them fills up.
    Classes without a sample are left out. Wrong labels of a small class are repeated with it.

    Parameters
    ----------
    labels : (N,) int
        Current labels; rows with -1 (unlabelled) are left out.
    selected : (N,) bool, optional
        Rows to draw from; None = all.
    seed, epoch : int, at least 0
    per_class : int, optional
        Draws of each class; by default as many as the largest has samples. Where a few classes hold nearly
        everything, fewer keep the order short.
    cycle : int, default=0
        Number of the pass within the epoch, see `cycled`.

    Returns
    -------
    (per_class times classes that occur,) int64
        Rows of ``labels``. Class codes have no part in the order.

    Raises
    ------
    InputError
        Labels or mask of another shape or type, or numbers out of range.

    References
    ----------
    .. [1] Feng, Tzimiropoulos, Patras. "CLIPCleaner: Cleaning Noisy Labels with CLIP", ACM Multimedia 2024,
       the sampler of its code.

    Examples
    --------
    >>> order = class_balanced([0, 0, 0, 1, 1], None, seed=0, epoch=0)
    >>> np.bincount(np.array([0, 0, 0, 1, 1])[order])
    array([3, 3])
    """
    if per_class is not None and per_class < 1:
        raise InputError(f"per_class is {per_class}; expected at least 1, or None for the largest class")
    rows, classes = labelled_rows(labels, selected)
    words = sample_words(rows, seed, epoch, "class_balanced", cycle=cycle)
    # Within a class the samples of the smallest words take the random part.
    rank, counts = ranks(classes, words)
    draws = counts.max(initial=0) if per_class is None else per_class
    repeats = (draws // counts)[classes] + (rank < (draws % counts)[classes])
    owner = np.repeat(np.arange(len(rows)), repeats)
    number = np.arange(len(owner)) - np.repeat(repeats.cumsum() - repeats, repeats)
    return rows[owner[repeated_words(words[owner], number).argsort(kind="stable")]]


def class_capped(
    labels: npt.ArrayLike,
    per_class: int,
    seed: int,
    epoch: int,
    *,
    selected: npt.ArrayLike | None = None,
    cycle: int = 0,
) -> npt.NDArray[np.int64]:
    """Return a random order of at most ``per_class`` samples of each class, none twice.

    An epoch of DivideMix on very large data (Clothing1M) draws from such a part.

    Parameters
    ----------
    labels : (N,) int
        Rows with -1 (unlabelled) are left out.
    per_class : int, at least 1
    seed, epoch, cycle : int
        As for `class_balanced`.
    selected : (N,) bool, optional
        Rows to draw from; None = all.

    Returns
    -------
    (n,) int64
        Rows of ``labels``.

    Raises
    ------
    InputError
        As for `class_balanced`, or ``per_class`` below 1.

    Examples
    --------
    >>> sorted(class_capped([0, 0, 0, 1], 1, seed=0, epoch=0).tolist())[-1]
    3
    """
    if per_class < 1:
        raise InputError(f"per_class is {per_class}; expected at least 1")
    rows, classes = labelled_rows(labels, selected)
    words = sample_words(rows, seed, epoch, "class_capped", cycle=cycle)
    taken = np.flatnonzero(ranks(classes, words)[0] < per_class)
    # Other words for the order: a small word is what brought a sample in.
    order = repeated_words(words[taken], np.zeros_like(taken)).argsort(kind="stable")
    return rows[taken[order]]


def labelled_rows(
    labels: npt.ArrayLike, selected: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows that are selected and have a label, and their classes renumbered without gaps.

    Raises
    ------
    InputError
        Labels or mask of another shape or type.
    """
    codes = np.asarray(labels)
    if codes.shape == (0,):
        codes = codes.astype(np.int64)  # an empty list has no whole numbers either
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or codes.min(initial=-1) < -1:
        raise InputError(
            f"labels has shape {codes.shape} and dtype {codes.dtype}; expected class codes, -1 = unlabelled,"
            " shape (n,)"
        )
    is_drawn = codes >= 0
    if selected is not None:
        mask = np.asarray(selected)
        if mask.shape != codes.shape or mask.dtype != np.bool_:
            raise InputError(
                f"selected has shape {mask.shape} and dtype {mask.dtype}; expected a mask, shape"
                f" {codes.shape}, bool"
            )
        is_drawn &= mask
    rows = np.flatnonzero(is_drawn)
    return rows, np.unique(codes[rows], return_inverse=True)[1]


def ranks(classes: IntArray, words: npt.NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
    """Return the rank of each word within its class, and the size of every class.

    Examples
    --------
    >>> ranks(np.array([1, 0, 1]), np.array([9, 5, 2], dtype=np.uint64))
    (array([1, 0, 0]), array([1, 2]))
    """
    counts = np.bincount(classes)
    order = np.lexsort((words, classes))
    rank = np.empty(len(classes), dtype=np.int64)
    rank[order] = np.arange(len(classes)) - np.repeat(counts.cumsum() - counts, counts)
    return rank, counts
