"""Batches of a few classes with M samples of each, for losses that compare samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.samplers.class_balanced import labelled_rows
from tamis.statistics.counter_draws import repeated_words, sample_words
from tamis.types import IntArray


def m_per_class(
    labels: npt.ArrayLike,
    m: int,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    n_batches: int | None = None,
) -> npt.NDArray[np.int64]:
    """Return an order whose every batch holds ``batch_size / m`` different classes, m samples of each.

    Classes come in rounds: no class has a second turn before the others had their first, but for the few
    that do not fill a batch, which a round leaves out at random. The turns of a class go through its samples
    likewise, m at a time. A class with fewer than m samples repeats them; set its labels to -1 to leave it
    out.

    Parameters
    ----------
    labels : (N,) int
        Rows with -1 (unlabelled) are left out.
    m : int, at least 1
    batch_size : int
        A multiple of ``m``, of at most as many classes as there are.
    seed, epoch : int, at least 0
    n_batches : int, optional
        By default as many as go into the labelled samples, at least 1.

    Returns
    -------
    (n_batches * batch_size,) int64
        Rows of ``labels``; every m of them in a row have one class. Class codes have no part in the order.

    Raises
    ------
    InputError
        ``batch_size`` is no multiple of ``m``, there are too few classes, or numbers out of range.

    References
    ----------
    .. [1] Hermans, Beyer, Leibe. "In Defense of the Triplet Loss for Person Re-Identification", 2017.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    >>> batch = m_per_class(labels, 2, 4, seed=0, epoch=0)[:4]
    >>> np.unique(labels[batch], return_counts=True)[1]
    array([2, 2])
    """
    if m < 1 or batch_size < m or batch_size % m:
        raise InputError(
            f"batch_size is {batch_size}, m {m}; expected a positive multiple of m of at least 1"
        )
    rows, classes = labelled_rows(labels, None)
    counts = np.bincount(classes)
    per_batch = batch_size // m
    if len(counts) < per_batch:
        raise InputError(
            f"a batch of {batch_size} takes {per_batch} classes of {m} samples, labels has {len(counts)};"
            " take a smaller batch_size or a larger m"
        )
    n_batches = max(1, len(rows) // batch_size) if n_batches is None else n_batches
    if n_batches < 0:
        raise InputError(f"n_batches is {n_batches}; expected at least 0")
    words = sample_words(rows, seed, epoch, "m_per_class")
    turns = _turns(words[np.unique(classes, return_index=True)[1]], per_batch, n_batches)  # (T,)
    return rows[_members(classes, counts, words, turns, m)]


def _turns(class_words: npt.NDArray[np.uint64], per_batch: int, n_batches: int) -> IntArray:
    """Return the class of every turn, (n_batches * per_batch,): shuffled rounds of whole batches."""
    n_classes = len(class_words)
    batches_a_round = n_classes // per_batch
    n_rounds = -(-n_batches // batches_a_round)
    # (rounds, classes); the rounds of a class are a stream of its own, odd numbers are left to its samples.
    words = repeated_words(class_words[None, :], 2 * np.arange(n_rounds)[:, None])
    order: IntArray = words.argsort(axis=1, kind="stable")[:, : batches_a_round * per_batch]
    return order.reshape(-1)[: n_batches * per_batch]


def _members(
    classes: IntArray, counts: IntArray, words: npt.NDArray[np.uint64], turns: IntArray, m: int
) -> IntArray:
    """Return m positions of each turn's class, (T * m,); a class is shuffled anew when its turns run out."""
    n_turns = np.bincount(turns, minlength=len(counts))
    turns_a_pass = np.maximum(1, counts // m)
    n_passes = -(-n_turns // turns_a_pass)
    # Every sample once for each pass of its class: (class, pass, random word) sorts them.
    repeats = n_passes[classes]
    owner = np.repeat(np.arange(len(classes)), repeats)
    number = np.arange(len(owner)) - np.repeat(repeats.cumsum() - repeats, repeats)
    order = owner[np.lexsort((repeated_words(words[owner], 2 * number + 1), number, classes[owner]))]
    starts = (n_passes * counts).cumsum() - n_passes * counts
    # Which turn of its class each turn is.
    by_class = turns.argsort(kind="stable")
    turn = np.empty(len(turns), dtype=np.int64)
    turn[by_class] = np.arange(len(turns)) - np.repeat(n_turns.cumsum() - n_turns, n_turns)
    passed, within = np.divmod(turn, turns_a_pass[turns])
    offset = (within[:, None] * m + np.arange(m)) % counts[turns][:, None]  # (T, m)
    positions: IntArray = order[(starts[turns] + passed * counts[turns])[:, None] + offset]
    return positions.reshape(-1)
