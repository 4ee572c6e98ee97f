"""Majority vote: what most annotators said."""

from __future__ import annotations

import numpy as np

from tamis.crowd.answers import Answers
from tamis.types import FloatArray, IntArray


def vote_counts(answers: Answers) -> FloatArray:
    """Return how often each task was given each label, (T, K) float64.

    Examples
    --------
    >>> vote_counts(Answers.from_matrix([[0, 1, 1], [0, None, 0]]))
    array([[1., 2.],
           [2., 0.]])
    """
    size = answers.n_tasks * answers.n_classes
    flat = answers.task.astype(np.int64) * answers.n_classes + answers.label
    counts: FloatArray = np.bincount(flat, minlength=size).astype(np.float64)
    return counts.reshape(answers.n_tasks, answers.n_classes)


def vote_shares(answers: Answers) -> FloatArray:
    """Return the share of each label among the answers about each task.

    Returns
    -------
    (T, K) float64
        Rows sum to 1. A task without answers gets the mean of the others: nothing is known about it beyond
        how common the classes are.

    Examples
    --------
    >>> vote_shares(Answers.from_matrix([[0, 1, 1, 1], [0, None, 0, None]]))
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    shares = vote_counts(answers)
    totals = shares.sum(axis=1)
    has_answers = totals > 0
    shares /= np.where(has_answers, totals, 1.0)[:, None]
    if not has_answers.all():
        shares[~has_answers] = shares[has_answers].mean(axis=0)
    return shares


def majority_labels(answers: Answers) -> IntArray:
    """Return the most frequent label of each task as a code, (T,) int; the first class wins a tie.

    Examples
    --------
    >>> majority_labels(Answers.from_matrix([[0, 1, 1], [1, 0, None]]))
    array([1, 0])
    """
    labels: IntArray = vote_shares(answers).argmax(axis=1)
    return labels
