"""Consensus of annotators: votes with decided ties, and how far annotators agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.majority import vote_counts
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Consensus:
    """What annotators, and a model where there is one, agree on.

    Attributes
    ----------
    labels : (T,) int64
        Consensus class of each task.
    quality : (T,) float64 in [0, 1]
        How likely the consensus is right; lower = worse.
    agreement : (T,) float64 in [0, 1]
        Share of the answers that equal the consensus.
    posteriors : (T, K) float64
        Rows sum to 1.
    answer_quality : (n,) float64 in [0, 1]
        How likely each single answer is right, in the order of the answers.
    worker_quality : (A,) float64
        Overall quality of each annotator.
    worker_weight : (A,) float64 or None
        Weight of each annotator in the posterior; None where the method has none.
    model_weight : float or None
        Weight of the model in the posterior.
    temperature : float
        By which the model's probabilities were divided (1 = as given).
    notes : tuple of str
    """

    labels: IntArray
    quality: FloatArray
    agreement: FloatArray
    posteriors: FloatArray
    answer_quality: FloatArray
    worker_quality: FloatArray
    worker_weight: FloatArray | None = None
    model_weight: float | None = None
    temperature: float = 1.0
    notes: tuple[str, ...] = ()


def require_answers(answers: Answers) -> None:
    """Raise `InputError` if a task or a worker has no answer."""
    for role, listed, codes in (
        ("task", answers.tasks, answers.task),
        ("worker", answers.workers, answers.worker),
    ):
        is_missing = np.bincount(codes, minlength=len(listed)) == 0
        if is_missing.any():
            at = int(np.argmax(is_missing))
            raise InputError(
                f"{role} {listed.tolist()[at]!r} has no answer ({int(is_missing.sum())} such); leave it out, "
                "or use Dawid-Skene, which allows it"
            )


def majority_consensus(answers: Answers, pred_probs: FloatArray | None = None) -> IntArray:
    """Return the most frequent label of each task, ties decided without chance.

    A tie goes to the class that the model finds more likely, then to the class that is used less over all
    tasks, then to the class whose annotators agree more with the consensus of the tasks without a tie, then
    to the first class.

    Parameters
    ----------
    answers : Answers
        Every task has an answer.
    pred_probs : (T, K) float, optional
        Of a model, rows in the order of ``answers.tasks``.

    Returns
    -------
    (T,) int64

    Examples
    --------
    >>> answers = Answers.from_matrix([[0, 1], [1, 1]])
    >>> majority_consensus(answers), majority_consensus(answers, np.array([[0.2, 0.8], [0.5, 0.5]]))
    (array([0, 1]), array([1, 1]))
    """
    counts = vote_counts(answers)
    tied = counts == counts.max(axis=1, keepdims=True)  # (T, K) classes that are still possible
    labels: IntArray = tied.argmax(axis=1)
    is_open = tied.sum(axis=1) > 1
    has_majority = ~is_open
    if pred_probs is not None:
        tied = _keep_largest(tied, pred_probs)
    tied = _keep_largest(tied, np.broadcast_to(-counts.sum(axis=0), counts.shape))
    if (tied.sum(axis=1) > 1).any():
        tied = _keep_largest(tied, _supporters(answers, labels, has_majority, tied))
    decided: IntArray = np.where(is_open, tied.argmax(axis=1), labels)
    return decided


def agreement_with(answers: Answers, labels: IntArray) -> FloatArray:
    """Return the (T,) share of answers that equal (T,) labels."""
    counts = vote_counts(answers)
    shares: FloatArray = counts[np.arange(len(labels)), labels] / counts.sum(axis=1)
    return shares


def worker_agreement(answers: Answers, labels: IntArray, chosen: BoolArray) -> FloatArray:
    """Return the (A,) share of each worker's answers about the chosen tasks that equal labels; NaN = none."""
    is_counted = chosen[answers.task]
    agrees = (answers.label == labels[answers.task]) & is_counted
    n_agreed = np.bincount(answers.worker, weights=agrees, minlength=answers.n_workers)
    n_counted = np.bincount(answers.worker, weights=is_counted, minlength=answers.n_workers)
    with np.errstate(invalid="ignore"):
        shares: FloatArray = n_agreed / n_counted
    return shares


def vote_agreement(
    answers: Answers, pred_probs: FloatArray | None = None, *, compat: bool = False
) -> Consensus:
    """Return the consensus of the annotators alone: posteriors are vote shares, quality is agreement.

    Parameters
    ----------
    answers : Answers
    pred_probs : (T, K) float, optional
        Decides ties of the majority only.
    compat : bool, keyword-only
        As cleanlab 2.9 counts votes: the counts of the labels that occur in a task are put into the first
        columns, whatever the labels are, where not all classes occur.

    Returns
    -------
    Consensus
        Annotator quality is the share of answers that equal the consensus, over tasks with several answers;
        over all tasks for annotators without such (NaN with ``compat``).

    Raises
    ------
    InputError
        A task or a worker has no answer.

    Examples
    --------
    >>> found = vote_agreement(Answers.from_matrix([[0, 0, 1], [1, 1, None]]))
    >>> found.labels, found.quality.round(2)
    (array([0, 1]), array([0.67, 1.  ]))
    """
    require_answers(answers)
    majority = majority_consensus(answers, pred_probs)
    shares = shares_of_labels(answers, compat=compat)
    labels = best_or(majority, shares)
    agreement = agreement_with(answers, labels)
    is_shared = np.bincount(answers.task, minlength=answers.n_tasks) > 1
    quality = worker_agreement(answers, labels, is_shared)
    if not compat:
        everywhere = worker_agreement(answers, labels, np.ones_like(is_shared))
        quality = np.where(np.isnan(quality), everywhere, quality)
    own = shares[answers.task, answers.label]
    return Consensus(labels, agreement, agreement, shares, own, quality)


def shares_of_labels(answers: Answers, *, compat: bool) -> FloatArray:
    """Return (T, K) vote shares; with ``compat`` counts of missing classes are moved to the last columns."""
    counts = vote_counts(answers)
    if compat:
        # A stable sort of "is zero" keeps the counts of the classes that occur, in order, to the left.
        counts = np.take_along_axis(counts, np.argsort(counts == 0, axis=1, kind="stable"), axis=1)
    shares: FloatArray = counts / counts.sum(axis=1, keepdims=True)
    return shares


def best_or(fallback: IntArray, posteriors: FloatArray) -> IntArray:
    """Return the most likely class of each row, the fallback's where several are exactly as likely."""
    is_best = posteriors == posteriors.max(axis=1, keepdims=True)
    labels: IntArray = np.where(is_best.sum(axis=1) > 1, fallback, is_best.argmax(axis=1))
    return labels


def _keep_largest(possible: BoolArray, values: FloatArray) -> BoolArray:
    weighted = np.where(possible, values, -np.inf)
    kept: BoolArray = possible & (weighted == weighted.max(axis=1, keepdims=True))
    return kept


def _supporters(answers: Answers, labels: IntArray, has_majority: BoolArray, tied: BoolArray) -> FloatArray:
    """Return (T, K) mean agreement of those who gave each tied label with the consensus elsewhere."""
    agreement = worker_agreement(answers, labels, has_majority)
    known = agreement[~np.isnan(agreement)]
    # Nobody has such a task: all are alike.
    agreement = np.where(np.isnan(agreement), known.mean() if len(known) else 0.0, agreement)
    flat = answers.task.astype(np.int64) * answers.n_classes + answers.label
    sums = np.bincount(flat, weights=agreement[answers.worker], minlength=tied.size).reshape(tied.shape)
    # Rounded: sums of the same numbers in another order must tie.
    means: FloatArray = (sums / np.maximum(vote_counts(answers), 1.0)).round(12)
    return means


def mean_answer_quality(answers: Answers, posteriors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (n,) posteriors of the answers given and their (A,) means by worker."""
    own: FloatArray = posteriors[answers.task, answers.label]
    return own, _worker_means(answers, own)


def _worker_means(answers: Answers, values: FloatArray) -> FloatArray:
    """Return the (A,) mean over each worker's answers of (n,) values; NaN for a worker without answers."""
    counts = np.bincount(answers.worker, minlength=answers.n_workers)
    sums = np.bincount(answers.worker, weights=values, minlength=answers.n_workers)
    with np.errstate(invalid="ignore"):
        means: FloatArray = sums / counts
    return means
