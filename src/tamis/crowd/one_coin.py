"""One-coin model: every worker is right with a probability of their own, wrong answers are all alike."""

from __future__ import annotations

import numpy as np

from tamis.crowd.answers import Answers
from tamis.crowd.em import FLOOR, Model
from tamis.crowd.fit import CrowdFit, GoldLabels, fit_crowd
from tamis.crowd.said import Said
from tamis.types import FloatArray


def coin_model(said: Said) -> Model:
    """Return the M-step: one accuracy a worker, what is left shared by the other classes."""
    columns = np.arange(len(said.worker))
    n_others = max(said.n_classes - 1, 1)

    def errors(expected: FloatArray) -> FloatArray:
        agreed = np.bincount(said.worker, weights=expected[columns, said.label], minlength=said.n_workers)
        n_answers = np.bincount(said.worker, weights=expected.sum(axis=1), minlength=said.n_workers)
        skill = (agreed / np.maximum(n_answers, FLOOR))[said.worker]  # (P,)
        shares = np.repeat(((1 - skill) / n_others)[:, None], said.n_classes, axis=1)
        shares[columns, said.label] = skill
        clipped: FloatArray = shares.clip(FLOOR, 1 - FLOOR)
        return clipped

    return errors


def one_coin(
    answers: Answers,
    *,
    gold: GoldLabels | None = None,
    n_iter: int = 100,
    tol: float = 1e-5,
    compat: bool = False,
) -> CrowdFit:
    """Estimate the true class of each task and the accuracy of each worker.

    As `tamis.crowd.dawid_skene`, with a single number for each worker: better where workers gave few answers,
    worse where classes are confused in one direction.

    Parameters
    ----------
    answers : Answers
    gold : mapping of task to class, optional
    n_iter : int
    tol : float
    compat : bool, keyword-only
        Stop as crowd-kit does; see `tamis.crowd.dawid_skene`.

    Returns
    -------
    CrowdFit
        ``worker_quality`` holds the accuracies.

    Raises
    ------
    InputError
        See `tamis.crowd.dawid_skene`.

    References
    ----------
    .. [1] Y. Zhang, X. Chen, D. Zhou, M. I. Jordan. "Spectral methods meet EM", JMLR 17, 2016.

    Examples
    --------
    >>> found = one_coin(Answers.from_matrix([[0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 0]]))
    >>> found.labels, found.worker_quality.round(2)
    (array([0, 1, 0, 1]), array([1. , 1. , 0.5]))
    """
    return fit_crowd(answers, coin_model, gold=gold, n_iter=n_iter, tol=tol, compat=compat)
