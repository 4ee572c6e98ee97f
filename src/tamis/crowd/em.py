"""Expectation maximisation over crowd answers, for any model of what workers say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tamis.crowd.said import Said
from tamis.types import BoolArray, FloatArray, IntArray

FLOOR = 1e-10
"""Least probability of a class, and least expected count of an answer that was given."""

Model = Callable[[FloatArray], FloatArray]
"""M-step: from expected counts (P, K) of (worker, label) x true class to P(label | worker, true class)."""


class Gold(NamedTuple):
    """Tasks whose true class is known: (g,) codes of tasks and of classes."""

    task: IntArray
    label: IntArray


@dataclass(eq=False)
class Beliefs:
    """The state of the iteration.

    Attributes
    ----------
    posteriors : (T, K) float64
        P(true class | answers) of each task.
    prior : (K,) float64
    expected : (P, K) float64
        Expected number of times that the worker of a column gave its label to a task of each true class.
    errors : (P, K) float64
        P(label | worker, true class).
    history : list of float
        The bound after each iteration, divided by the number of answers.
    converged : bool
        Whether the bound had stopped growing when the iteration ended.
    """

    posteriors: FloatArray
    prior: FloatArray
    expected: FloatArray
    errors: FloatArray
    history: list[float]
    converged: bool = False


def begin(said: Said, posteriors: FloatArray, model: Model, gold: Gold | None) -> Beliefs:
    """Return the beliefs that follow from first posteriors (T, K); they are changed in place."""
    clamp(posteriors, gold)
    expected = expected_counts(said, posteriors)
    return Beliefs(posteriors, posteriors.mean(axis=0), expected, model(expected), [])


def iterate(
    said: Said, beliefs: Beliefs, model: Model, *, gold: Gold | None, n_iter: int, tol: float, compat: bool
) -> Beliefs:
    """Run expectation maximisation until the bound grows by less than ``tol`` an answer.

    Parameters
    ----------
    said : Said
        Every task has an answer.
    beliefs : Beliefs
        From `begin`; changed in place.
    model : callable
    gold : Gold or None
    n_iter, tol : int, float
    compat : bool
        Stop by crowd-kit's criterion, which counts the log prior once an answer instead of once a task, may
        fall, and stops where it falls; posteriors are then floored as there.
    """
    n_answers, n_tasks, possible = said.n_answers, len(beliefs.posteriors), beliefs.prior > 0
    last = -np.inf
    for _ in range(n_iter):
        log_errors, log_prior = np.log(beliefs.errors), log_of(beliefs.prior, possible)
        beliefs.posteriors, evidence = posteriors_of(said, log_errors, log_prior, gold)
        mass = column_sums(beliefs.posteriors)
        beliefs.prior = mass / n_tasks
        beliefs.expected = expected_counts(said, beliefs.posteriors)
        beliefs.errors = model(beliefs.expected)
        new_errors, new_prior = np.log(beliefs.errors), log_of(beliefs.prior, possible)
        if compat:
            bound = _answer_bound(said, beliefs, new_errors, new_prior)
        else:
            # The E-step made the bound equal to the evidence; the M-step adds the gain in expectation.
            bound = evidence + float((beliefs.expected * (new_errors - log_errors)).sum())
            bound += expectation(mass, new_prior) - expectation(mass, log_prior)
        beliefs.history.append(bound / n_answers)
        if beliefs.history[-1] - last < tol:
            beliefs.converged = True
            break
        last = beliefs.history[-1]
    if compat:
        np.maximum(beliefs.posteriors, FLOOR, out=beliefs.posteriors)
    return beliefs


def log_of(prior: FloatArray, possible: BoolArray) -> FloatArray:
    """Return the log prior, floored at log 1e-10; minus infinity for classes that are not possible.

    A class without a vote at the start stays without. Were it floored too, it would be a class to spare: the
    likelihood grows by giving it any answers that fit no other class.
    """
    logs: FloatArray = np.where(possible, np.log(np.maximum(prior, FLOOR)), -np.inf)
    return logs


def expectation(mass: FloatArray, log_prior: FloatArray) -> float:
    """Return the sum of mass times log prior, nothing times minus infinity being nothing."""
    has_mass = np.isfinite(log_prior)
    return float(mass[has_mass] @ log_prior[has_mass])


def column_sums(values: FloatArray) -> FloatArray:
    """Return the (K,) sums of an (n, K) array."""
    # A matrix product: numpy's reduction over rows of a few numbers takes ten times as long.
    sums: FloatArray = np.ones(len(values)) @ values
    return sums


def expected_counts(said: Said, posteriors: FloatArray) -> FloatArray:
    """Return (P, K) expected counts of (worker, label) x true class."""
    counts: FloatArray = said.counts.T @ posteriors
    return counts


def posteriors_of(
    said: Said, log_errors: FloatArray, log_prior: FloatArray, gold: Gold | None
) -> tuple[FloatArray, float]:
    """E-step: return the (T, K) posteriors and the log-likelihood of all answers."""
    scores: FloatArray = said.counts @ log_errors  # (T, K) log P(answers, true class)
    scores += log_prior
    known = None if gold is None else float(scores[gold.task, gold.label].sum())
    top = _row_maximum(scores)
    scores -= top[:, None]
    np.exp(scores, out=scores)
    total = scores @ np.ones(scores.shape[1])
    scores /= total[:, None]
    evidence = top + np.log(total)
    if gold is None or known is None:
        return scores, float(evidence.sum())
    free: BoolArray = np.ones(len(scores), dtype=bool)
    free[gold.task] = False
    clamp(scores, gold)
    return scores, float(evidence[free].sum()) + known


def clamp(posteriors: FloatArray, gold: Gold | None) -> None:
    """Put certainty where the true class is known."""
    if gold is not None:
        posteriors[gold.task] = 0.0
        posteriors[gold.task, gold.label] = 1.0


def _row_maximum(scores: FloatArray) -> FloatArray:
    # Column by column: numpy's reduction along a short last axis takes ten times as long.
    if scores.shape[1] > 32:
        return np.asarray(scores.max(axis=1))
    top = scores[:, 0].copy()
    for column in range(1, scores.shape[1]):
        np.maximum(top, scores[:, column], out=top)
    return top


def _answer_bound(said: Said, beliefs: Beliefs, log_errors: FloatArray, log_prior: FloatArray) -> float:
    """Return crowd-kit's criterion: the log prior enters once for each answer."""
    per_class = beliefs.expected.sum(axis=0)  # (K,) answers, by true class
    floored = np.maximum(beliefs.posteriors, FLOOR)
    entropy = -float((floored * np.log(floored)).sum())
    return float((beliefs.expected * log_errors).sum()) + expectation(per_class, log_prior) + entropy
