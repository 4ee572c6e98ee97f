"""Confusion matrices of annotators: made-up crowds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_classes, check_number, check_rate, check_whole
from tamis.noise.draws import uniforms
from tamis.noise.transition import check_transition
from tamis.types import FloatArray


def one_coin_confusions(
    n_annotators: int, n_classes: int, a: float = 8.0, b: float = 2.0, random_state: int = 0
) -> FloatArray:
    """Return annotators that are right with a probability of their own, and wrong uniformly.

    Parameters
    ----------
    n_annotators, n_classes : int
    a, b : float
        Above 0: accuracies are drawn from Beta(a, b), whose mean is ``a / (a + b)``.
    random_state : int

    Returns
    -------
    (M, K, K) float64
        Rows sum to 1.

    Examples
    --------
    >>> one_coin_confusions(3, 4).shape
    (3, 4, 4)
    """
    from scipy.special import betaincinv

    n_annotators = check_whole(n_annotators, "n_annotators", 1)
    n_classes = check_classes(n_classes)
    a, b = check_number(a, "a", above=0), check_number(b, "b", above=0)
    draws = uniforms(random_state, "confusions.one_coin", n_annotators, 1)[:, 0]
    return _one_coin(betaincinv(a, b, draws), n_classes)


def shared_confusions(
    transition: npt.ArrayLike, n_annotators: int, concentration: float | None = None, random_state: int = 0
) -> FloatArray:
    """Return annotators who share their mistakes, more or less: rows scattered around one matrix.

    Parameters
    ----------
    transition : (K, K) float
        P(answer = j | true = i); that of symmetric, asymmetric or any other noise.
    n_annotators : int
    concentration : float, optional
        Above 0: each row is drawn from the Dirichlet distribution with this concentration times the shared
        row; higher = more alike. By default all are equal to the shared matrix.
    random_state : int

    Returns
    -------
    (M, K, K) float64
        Rows sum to 1; entries that are 0 in the shared matrix stay 0.

    Examples
    --------
    >>> shared_confusions([[0.9, 0.1], [0.0, 1.0]], 5, concentration=20)[:, 1].min(axis=0)
    array([0., 1.])
    """
    from scipy.special import gammaincinv

    matrix = check_transition(transition)
    n_annotators, n_classes = check_whole(n_annotators, "n_annotators", 1), len(matrix)
    if concentration is None:
        return np.repeat(matrix[None], n_annotators, axis=0)
    shape = check_number(concentration, "concentration", above=0) * matrix
    draws = uniforms(random_state, "confusions.shared", n_annotators, n_classes**2)
    # A row of gamma variables divided by its sum has the Dirichlet distribution.
    tiny = np.finfo(np.float64).tiny
    gammas = gammaincinv(np.where(shape > 0, shape, 1.0), draws.reshape(-1, n_classes, n_classes))
    gammas = np.where(shape > 0, np.maximum(gammas, tiny), 0.0)
    confusions: FloatArray = gammas / gammas.sum(axis=2, keepdims=True)
    return confusions


def spammer_confusions(
    n_annotators: int, n_classes: int, answer_shares: npt.ArrayLike | None = None
) -> FloatArray:
    """Return annotators whose answers do not depend on the sample: all rows are equal.

    Parameters
    ----------
    n_annotators, n_classes : int
    answer_shares : (K,) float, optional
        How often they give each answer, sum 1; by default uniform. ``np.eye(K)[j]`` always answers ``j``.

    Returns
    -------
    (M, K, K) float64

    Examples
    --------
    >>> spammer_confusions(1, 2)[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    n_annotators, n_classes = check_whole(n_annotators, "n_annotators", 1), check_classes(n_classes)
    shares = np.full(n_classes, 1 / n_classes) if answer_shares is None else np.asarray(answer_shares)
    if shares.shape != (n_classes,):
        raise InputError(
            f"answer_shares has shape {shares.shape}; give one share for each of {n_classes} classes"
        )
    matrix = check_transition(np.repeat(shares[None], n_classes, axis=0), "answer_shares")
    return np.repeat(matrix[None], n_annotators, axis=0)


def adversary_confusions(n_annotators: int, n_classes: int, accuracy: float = 0.0) -> FloatArray:
    """Return annotators who are right less often than by chance, and wrong uniformly.

    Parameters
    ----------
    n_annotators, n_classes : int
    accuracy : float
        In [0, 1 / n_classes).

    Returns
    -------
    (M, K, K) float64

    Examples
    --------
    >>> adversary_confusions(1, 2)[0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    n_annotators, n_classes = check_whole(n_annotators, "n_annotators", 1), check_classes(n_classes)
    accuracy = check_rate(accuracy, "accuracy")
    if accuracy >= 1 / n_classes:
        raise InputError(f"accuracy {accuracy:g} is no worse than chance; give less than 1 / {n_classes}")
    return _one_coin(np.full(n_annotators, accuracy), n_classes)


def _one_coin(accuracies: FloatArray, n_classes: int) -> FloatArray:
    confusions = np.repeat(((1 - accuracies) / (n_classes - 1))[:, None], n_classes**2, axis=1)
    confusions = confusions.reshape(-1, n_classes, n_classes)
    confusions[:, np.arange(n_classes), np.arange(n_classes)] = accuracies[:, None]
    return confusions
