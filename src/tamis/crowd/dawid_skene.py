"""Dawid-Skene: every worker errs in a way of their own, one confusion matrix each."""

from __future__ import annotations

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.em import FLOOR, Model
from tamis.crowd.fit import CrowdFit, GoldLabels, fit_crowd
from tamis.crowd.said import Said
from tamis.types import FloatArray


def confusion_model(said: Said) -> Model:
    """Return the M-step: counts, floored at 1e-10, as shares of each worker's answers per true class."""
    by_worker = said.by_worker()

    def errors(expected: FloatArray) -> FloatArray:
        floored = np.maximum(expected, FLOOR)  # (P, K)
        totals: FloatArray = by_worker @ floored  # (A, K)
        shares: FloatArray = floored / totals[said.worker]
        return shares

    return errors


def dawid_skene(
    answers: Answers,
    *,
    gold: GoldLabels | None = None,
    n_iter: int = 100,
    tol: float = 1e-5,
    compat: bool = False,
) -> CrowdFit:
    """Estimate the true class of each task and the confusion matrix of each worker.

    Expectation maximisation, started at the vote shares. Not for workers with a handful of answers and many
    classes: their matrices have more entries than they have answers; `tamis.crowd.one_coin` asks for less.

    Parameters
    ----------
    answers : Answers
    gold : mapping of task to class, optional
        True classes that are known: their posteriors stay certain. Tasks nobody was asked about are ignored.
    n_iter : int
        Iterations at most.
    tol : float
        Stops when the bound on the log-likelihood grows by less, per answer.
    compat : bool, keyword-only
        Stop as crowd-kit does: its criterion counts the log prior once an answer instead of once a task, may
        fall, and ends the loop where it falls. Posteriors are then floored at 1e-10.

    Returns
    -------
    CrowdFit

    Raises
    ------
    InputError
        ``n_iter`` below 1, negative ``tol``, or a gold label that is no class.

    References
    ----------
    .. [1] A. P. Dawid, A. M. Skene. "Maximum likelihood estimation of observer error-rates using the EM
       algorithm", JRSS-C 28(1), 1979.

    Examples
    --------
    Two workers agree, the third contradicts them at every turn: turned round, it is as good as they are.

    >>> found = dawid_skene(Answers.from_matrix([[0, 0, 1], [1, 1, 0], [0, 0, 1], [1, 1, 0], [1, None, 0]]))
    >>> found.labels, found.worker_quality.round(3)
    (array([0, 1, 0, 1, 1]), array([1., 1., 0.]))
    """
    return fit_crowd(answers, confusion_model, gold=gold, n_iter=n_iter, tol=tol, compat=compat)
