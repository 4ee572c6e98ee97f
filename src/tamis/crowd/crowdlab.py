"""CROWDLAB: annotators and a classifier, weighted by how far each can be trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.consensus import (
    Consensus,
    agreement_with,
    best_or,
    majority_consensus,
    mean_answer_quality,
    require_answers,
    shares_of_labels,
    worker_agreement,
)
from tamis.crowd.majority import vote_counts
from tamis.crowd.tempering import softmax_rows
from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

LEAST = 1e-6
"""Least weight, and least error of the constant prediction."""

_COARSE = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0, 8.0)
_N_FINE = 4
_TINY = 1e-30
_SUM_TOLERANCE = 1e-3


class _Weights(NamedTuple):
    """Trust: of the model, of each worker (A,), and the chance that an answer is the consensus."""

    model: float
    workers: FloatArray
    consensus: float


def crowdlab(
    answers: Answers, pred_probs: FloatArray, *, calibrate: bool = False, compat: bool = False
) -> Consensus:
    """Combine the answers about each task with a classifier's probabilities.

    Weights follow from agreement: of annotators with each other, of the classifier with their consensus, each
    against always answering the most frequent class. Consensus and weights are found from the majority vote,
    then once more from that consensus.

    Parameters
    ----------
    answers : Answers
        Every task and every worker has an answer.
    pred_probs : (T, K) float
        Out of sample; rows in the order of ``answers.tasks``, columns in that of ``answers.classes``.
    calibrate : bool
        First divide the log-probabilities by the one temperature that fits the answers best.
    compat : bool, keyword-only
        Repeat two quirks of cleanlab 2.9: calibration counts votes as `vote_agreement` says, and an annotator
        who shares no task has no quality (NaN) instead of the mean quality of the own answers.

    Returns
    -------
    Consensus

    Raises
    ------
    InputError
        A task or worker without answers, or probabilities of another shape, not finite, or not summing to 1.

    Notes
    -----
    The last tie is decided by the lowest class instead of by chance. Where every task has one answer, nobody
    can be compared: all annotators then weigh as much as the model, and an answer is taken to be right as
    often as the model agrees with it.

    References
    ----------
    .. [1] H. W. Goh, U. Tkachenko, J. Mueller. "CROWDLAB: Supervised learning to infer consensus labels and
       quality scores for data with multiple annotators", arXiv 2210.06812, 2022.

    Examples
    --------
    >>> answers = Answers.from_matrix([[0, 0, 1], [1, 1, 1], [0, 1, None], [0, None, 0]])
    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]])
    >>> found = crowdlab(answers, probs)
    >>> found.labels, found.quality.round(2)
    (array([0, 1, 1, 0]), array([0.82, 0.8 , 0.63, 0.8 ]))
    """
    require_answers(answers)
    probs = _checked(pred_probs, answers)
    temperature = 1.0
    if calibrate and answers.n_classes > 1:
        temperature = best_temperature(answers, probs, compat=compat)
        probs = temper(probs, temperature)
    majority = majority_consensus(answers, probs)
    n_given = np.bincount(answers.task, minlength=answers.n_tasks)
    notes: tuple[str, ...] = ()
    if n_given.max() > 1:
        first = _posterior(answers, probs, _trust(answers, probs, majority))
        labels = best_or(majority, first)
        weights = _trust(answers, probs, labels)
    else:
        notes = ("Every task has a single answer: annotators cannot be compared and weigh the same.",)
        weights = _equal_trust(answers, probs, majority)
        labels = best_or(majority, _posterior(answers, probs, weights))
    posteriors = _posterior(answers, probs, weights)
    found = _consensus(answers, labels, posteriors, weights, compat=compat)
    return replace(found, temperature=temperature, notes=notes)


def _trust(answers: Answers, probs: FloatArray, labels: IntArray) -> _Weights:
    """Return the weights that follow from a consensus (steps 2 to 4)."""
    counts = vote_counts(answers)
    n_given = counts.sum(axis=1)
    shared = n_given > 1
    right = float(agreement_with(answers, labels)[shared].mean())
    frequent = np.bincount(labels[shared], minlength=answers.n_classes).max()
    constant_error = max(1 - frequent / shared.sum(), LEAST)
    n_others = n_given[answers.task] - 1
    n_agreeing = counts[answers.task, answers.label] - 1
    overlap = np.bincount(answers.worker, weights=n_others, minlength=answers.n_workers)
    agreed = np.bincount(answers.worker, weights=n_agreeing, minlength=answers.n_workers)
    is_alone = overlap == 0
    agreement = agreed / np.where(is_alone, 1.0, overlap)
    # Who never meets another annotator counts as the mean of those who do.
    agreement[is_alone] = agreement[~is_alone].mean()
    workers = np.maximum(1 - (1 - agreement) / constant_error, LEAST)
    model_error = float((probs.argmax(axis=1) != labels)[shared].mean())
    model = max(1 - model_error / constant_error, LEAST) * float(np.sqrt(n_given.mean()))
    return _Weights(model, workers, right)


def _equal_trust(answers: Answers, probs: FloatArray, labels: IntArray) -> _Weights:
    agrees = float((probs.argmax(axis=1) == labels).mean())
    return _Weights(1.0, np.ones(answers.n_workers), max(agrees, 1 / answers.n_classes))


def _posterior(answers: Answers, probs: FloatArray, weights: _Weights) -> FloatArray:
    """Return the weighted mean of the model and of what each answer says (step 5)."""
    n_classes = answers.n_classes
    weight = weights.workers[answers.worker]
    other = (1 - weights.consensus) / max(n_classes - 1, 1)
    flat = answers.task.astype(np.int64) * n_classes + answers.label
    given = np.bincount(flat, weights=weight, minlength=probs.size).reshape(probs.shape)
    total = given.sum(axis=1, keepdims=True)
    mixed = weights.model * probs + weights.consensus * given + other * (total - given)
    if n_classes == 1:
        return np.ones_like(probs)
    posterior: FloatArray = mixed / (weights.model + total)
    return posterior


def _consensus(
    answers: Answers, labels: IntArray, posteriors: FloatArray, weights: _Weights, *, compat: bool
) -> Consensus:
    """Return qualities of the consensus, of every answer and of every annotator (steps 6 and 7)."""
    n_given = np.bincount(answers.task, minlength=answers.n_tasks)
    own, mean_quality = mean_answer_quality(answers, posteriors)
    agreed = worker_agreement(answers, labels, n_given > 1)
    if not compat:
        agreed = np.where(np.isnan(agreed), mean_quality, agreed)
    of_workers = weights.workers.sum() * n_given.mean() / answers.n_workers
    share = weights.model / (weights.model + of_workers)
    return Consensus(
        labels,
        posteriors[np.arange(len(labels)), labels],
        agreement_with(answers, labels),
        posteriors,
        own,
        share * mean_quality + (1 - share) * agreed,
        weights.workers,
        weights.model,
    )


def best_temperature(answers: Answers, probs: FloatArray, *, compat: bool = False) -> float:
    """Return the temperature whose probabilities fit the vote shares best: a coarse grid, then a finer one.

    Parameters
    ----------
    answers : Answers
        Every task has an answer.
    probs : (T, K) float64
    compat : bool, keyword-only
        See `crowdlab`.

    Examples
    --------
    >>> answers = Answers.from_matrix([[0, 0], [0, 1], [1, 1], [1, 0]])
    >>> best_temperature(answers, np.array([[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.01, 0.99]]))
    4.0
    """
    shares = shares_of_labels(answers, compat=compat)
    coarse = [_cross_entropy(shares, probs, each) for each in _COARSE]
    best = int(np.argmin(coarse))
    fine: list[float] = []
    if best > 0:
        fine += np.linspace(_COARSE[best - 1], _COARSE[best], _N_FINE, endpoint=False).tolist()
    if best < len(_COARSE) - 1:
        fine += np.linspace(_COARSE[best], _COARSE[best + 1], _N_FINE + 1).tolist()
    return float(fine[int(np.argmin([_cross_entropy(shares, probs, each) for each in fine]))])


def temper(probs: FloatArray, temperature: float) -> FloatArray:
    """Return ``softmax(log(probs) / temperature)`` row by row.

    Examples
    --------
    >>> temper(np.array([[0.2, 0.8]]), 0.5).round(3)
    array([[0.059, 0.941]])
    """
    return softmax_rows(np.log(np.maximum(probs, _TINY)) / temperature)


def _cross_entropy(shares: FloatArray, probs: FloatArray, temperature: float) -> float:
    # What the model rules out stays ruled out at every temperature.
    tempered = np.where(probs > 0, temper(probs, temperature), 0.0)
    tempered /= tempered.sum(axis=1, keepdims=True)
    return float(-(shares * np.log(np.maximum(tempered, _TINY))).sum(axis=1).mean())


def _checked(pred_probs: FloatArray, answers: Answers) -> FloatArray:
    probs = np.asarray(pred_probs, dtype=np.float64)
    if probs.shape != (answers.n_tasks, answers.n_classes):
        raise InputError(
            f"pred_probs has shape {probs.shape}; expected ({answers.n_tasks}, {answers.n_classes}): one row "
            "a task in the order of answers.tasks, one column a class in the order of answers.classes"
        )
    sums = probs.sum(axis=1)
    is_odd = ~(np.abs(sums - 1) <= _SUM_TOLERANCE) | (probs < -LEAST).any(axis=1)
    if is_odd.any():
        row = int(np.argmax(is_odd))
        raise InputError(
            f"pred_probs row {row} sums to {sums[row]:.4g} with least entry {probs[row].min():.4g}; expected "
            "probabilities that sum to 1 within 1e-3; pass softmax of logits"
        )
    return probs
