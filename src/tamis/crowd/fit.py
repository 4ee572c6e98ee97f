"""From answers to what a model of them finds: posteriors of the tasks, errors of the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.em import Beliefs, Gold, Model, begin, iterate
from tamis.crowd.ids import code_among
from tamis.crowd.majority import vote_shares
from tamis.crowd.said import Said, dense_errors, said_of
from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

MakeModel: TypeAlias = Callable[[Said], Model]
GoldLabels: TypeAlias = Mapping[object, object] | Mapping[str, str] | Mapping[int, int]
"""Task id -> class id, of the tasks whose true class is known."""


@dataclass(frozen=True, eq=False)
class CrowdFit:
    """The result of a model of crowd answers.

    Attributes
    ----------
    posteriors : (T, K) float64
        P(true class | answers); a task without answers has the prior.
    prior : (K,) float64
    said : Said
        The (worker, label) pairs that occur.
    errors : (P, K) float64
        P(label | worker, true class) of each pair.
    worker_quality : (A,) float64
        Expected share of right answers of each worker, in [0, 1]; NaN for a worker without answers.
    history : tuple of float
        The bound after each iteration, divided by the number of answers.
    converged : bool
        False where the iterations ran out.
    """

    posteriors: FloatArray
    prior: FloatArray
    said: Said
    errors: FloatArray
    worker_quality: FloatArray
    history: tuple[float, ...]
    converged: bool

    @property
    def labels(self) -> IntArray:
        """(T,) codes of the most likely classes; the first wins a tie."""
        labels: IntArray = self.posteriors.argmax(axis=1)
        return labels

    @property
    def n_iter(self) -> int:
        """Number of iterations done."""
        return len(self.history)

    def error_tensor(self) -> FloatArray:
        """Return (A, K, K) errors: worker, label, true class; 0 for labels that a worker never gave."""
        return dense_errors(self.said, self.errors)


def fit_crowd(
    answers: Answers,
    make_model: MakeModel,
    *,
    gold: GoldLabels | None,
    n_iter: int,
    tol: float,
    compat: bool,
) -> CrowdFit:
    """Fit a model of the workers by expectation maximisation, starting at the vote shares."""
    check_iterations(n_iter, tol)
    said = said_of(answers)
    known = gold_codes(answers, gold)
    shares = vote_shares(answers)
    has_answers = np.diff(said.counts.indptr) > 0
    asked, asked_gold = said, known
    if not has_answers.all():
        asked = replace(said, counts=said.counts[has_answers])
        asked_gold = _among(has_answers, known)
        shares = shares[has_answers]
    model = make_model(asked)
    beliefs = begin(asked, shares, model, asked_gold)
    beliefs = iterate(asked, beliefs, model, gold=asked_gold, n_iter=n_iter, tol=tol, compat=compat)
    posteriors = beliefs.posteriors
    if not has_answers.all():
        posteriors = np.tile(beliefs.prior, (answers.n_tasks, 1))
        posteriors[has_answers] = beliefs.posteriors
        if known is not None:
            posteriors[known.task] = np.eye(answers.n_classes)[known.label]
    return crowd_fit(said, replace(beliefs, posteriors=posteriors))


def crowd_fit(said: Said, beliefs: Beliefs) -> CrowdFit:
    """Return beliefs about all tasks as a result."""
    return CrowdFit(
        beliefs.posteriors,
        beliefs.prior,
        said,
        beliefs.errors,
        worker_quality(said, beliefs.expected),
        tuple(beliefs.history),
        beliefs.converged,
    )


def worker_quality(said: Said, expected: FloatArray) -> FloatArray:
    """Return (A,) expected shares of right answers from expected counts (P, K); NaN = no answers."""
    right = expected[np.arange(len(said.label)), said.label]
    n_right = np.bincount(said.worker, weights=right, minlength=said.n_workers)
    n_given = np.bincount(said.worker, weights=expected.sum(axis=1), minlength=said.n_workers)
    with np.errstate(invalid="ignore"):
        shares: FloatArray = np.minimum(n_right / n_given, 1.0)
    return shares


def gold_codes(answers: Answers, gold: GoldLabels | None) -> Gold | None:
    """Return the codes of the gold tasks that are among the tasks; None without any.

    Raises
    ------
    InputError
        A gold label is none of the classes.
    """
    if not gold:
        return None
    tasks, labels = list(gold.keys()), list(gold.values())
    task = code_among(tasks, answers.tasks, "gold")
    label = code_among(labels, answers.classes, "gold")
    is_stray = (label < 0) & (task >= 0)
    if is_stray.any():
        at = int(np.argmax(is_stray))
        raise InputError(
            f"gold label of task {tasks[at]!r} is {labels[at]!r}, which is none of the {answers.n_classes} "
            "classes; pass classes= with every class that may be true"
        )
    kept = task >= 0
    return Gold(task[kept].astype(np.int64), label[kept].astype(np.int64)) if kept.any() else None


def check_iterations(n_iter: int, tol: float) -> None:
    """Raise `InputError` unless there is at least one iteration and a tolerance of at least 0."""
    if n_iter < 1:
        raise InputError(f"n_iter is {n_iter}; expected at least 1")
    if not tol >= 0:
        raise InputError(f"tol is {tol}; expected 0 or more")


def _among(has_answers: np.ndarray[tuple[int], np.dtype[np.bool_]], gold: Gold | None) -> Gold | None:
    if gold is None:
        return None
    place = np.cumsum(has_answers) - 1
    kept = has_answers[gold.task]
    return Gold(place[gold.task[kept]], gold.label[kept]) if kept.any() else None
