"""How far posteriors of crowd answers overstate their certainty, told by answers left out."""

from __future__ import annotations

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.em import FLOOR, expected_counts
from tamis.crowd.fit import CrowdFit
from tamis.types import FloatArray, IntArray

_TEMPERATURES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
_SMOOTHING = 0.5
# Held-out answers are weighed in blocks of this many numbers.
_BLOCK = 4_000_000


def held_out_temperature(answers: Answers, found: CrowdFit) -> float:
    """Return the temperature under which the other answers about a task foretell each answer best.

    Annotators are taken to err independently of each other; where they err on the same hard tasks, the
    posteriors are too sure. Each answer is foretold by the tempered posterior of the others and by what its
    worker says about other tasks. The most likely of a grid of temperatures from 1 to 20 wins.

    Parameters
    ----------
    answers : Answers
    found : CrowdFit
        Fitted to these answers.

    Returns
    -------
    float
        1 where no task has two answers. Errors that annotators share word for word are not seen: two who copy
        each other foretell each other well.

    Examples
    --------
    >>> from tamis.crowd.dawid_skene import dawid_skene
    >>> answers = Answers.from_matrix([[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]])
    >>> held_out_temperature(answers, dawid_skene(answers))
    1.0
    """
    n_given = np.bincount(answers.task, minlength=answers.n_tasks)
    chosen = np.flatnonzero(n_given[answers.task] > 1)
    if not len(chosen):
        return 1.0
    said, log_errors = found.said, np.log(found.errors)
    pair = _pairs(answers, found)
    scores: FloatArray = said.counts @ log_errors + np.log(np.maximum(found.prior, FLOOR))
    expected = expected_counts(said, found.posteriors)
    totals: FloatArray = said.by_worker() @ expected  # (A, K)
    gains = np.zeros(len(_TEMPERATURES))
    step = max(1, _BLOCK // answers.n_classes)
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        task, own = answers.task[rows], found.posteriors[answers.task[rows]]
        others = scores[task] - log_errors[pair[rows]]
        # What the worker says about other tasks, a little smoothed.
        said_it = np.maximum(expected[pair[rows]] - own, 0.0) + _SMOOTHING / answers.n_classes
        said_any = np.maximum(totals[answers.worker[rows]] - own, 0.0) + _SMOOTHING
        chance = said_it / said_any
        for place, temperature in enumerate(_TEMPERATURES):
            foretold = (softmax_rows(others / temperature) * chance).sum(axis=1)
            gains[place] += np.log(foretold).sum()
    return _TEMPERATURES[int(gains.round(9).argmax())]


def tempered_posteriors(posteriors: FloatArray, temperature: float) -> FloatArray:
    """Return posteriors to the power of ``1 / temperature``, rows summing to 1; the order of classes stays.

    Examples
    --------
    >>> tempered_posteriors(np.array([[0.9, 0.1]]), 2.0).round(2)
    array([[0.75, 0.25]])
    """
    if temperature == 1.0:
        return posteriors
    return softmax_rows(np.log(np.maximum(posteriors, np.finfo(np.float64).tiny)) / temperature)


def _pairs(answers: Answers, found: CrowdFit) -> IntArray:
    """Return the column of each answer in the sparse matrix of the fit."""
    said = found.said
    keys = said.worker.astype(np.int64) * answers.n_classes + said.label
    order = np.argsort(keys)
    wanted = answers.worker.astype(np.int64) * answers.n_classes + answers.label
    columns: IntArray = order[np.searchsorted(keys, wanted, sorter=order)]
    return columns


def softmax_rows(scores: FloatArray) -> FloatArray:
    """Return the softmax of each row, in float64.

    Examples
    --------
    >>> softmax_rows(np.log(np.array([[1.0, 3.0], [2.0, 2.0]]))).round(2)
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    powers: FloatArray = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers @ np.ones((powers.shape[1], 1))
    return powers
