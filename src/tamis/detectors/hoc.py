"""Noise rates without clean samples, from how the labels of nearest neighbours agree (HOC)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.detectors.consensus_draws import N_POINTS, N_ROUNDS, consensus_counts
from tamis.neighbors import Neighbors
from tamis.statistics.clusterability import ConsensusCounts
from tamis.statistics.transition_fit import fit_transition
from tamis.types import FloatArray, IntArray


@dataclass(frozen=True)
class TransitionEstimate:
    """Estimated label noise.

    Attributes
    ----------
    transition : (K, K) float64 array
        ``P(label j | true class i)``, rows sum to 1.
    prior : (K,) float64 array
        ``P(true class i)``.
    loss : float
        What the fit left unexplained: the sum of three Euclidean norms.
    """

    transition: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    loss: float

    @property
    def noise_rate(self) -> float:
        """Estimated share of wrong labels."""
        return float(1.0 - self.prior @ np.diagonal(self.transition))


def estimate_transition_hoc(
    features: FloatArray,
    labels: IntArray,
    n_classes: int | None = None,
    *,
    n_rounds: int = N_ROUNDS,
    n_points: int = N_POINTS,
    n_steps: int | None = None,
    learning_rate: float = 0.1,
    random_state: int = 0,
    neighbors: Neighbors | None = None,
    memory_budget: str | int | None = "2GiB",
) -> TransitionEstimate:
    """Estimate which labels are given for which classes, from features and given labels alone.

    Needs no clean samples. Assumes that a point and its two nearest neighbours share the true class and that
    their labels err independently. Where neighbours are of different classes, or err alike, the estimate is
    too high or too low by as much.

    Parameters
    ----------
    features : (n, d) float
        Of any encoder; similarity is the cosine.
    labels : (n,) int
        Class codes 0..K-1.
    n_classes : int, optional
        By default one more than the largest code.
    n_rounds, n_points, random_state, neighbors, memory_budget
        See `tamis.detectors.consensus_draws.consensus_counts`.
    n_steps, learning_rate
        See `tamis.statistics.transition_fit.fit_transition`.

    Returns
    -------
    TransitionEstimate

    Raises
    ------
    InputError
        See `tamis.detectors.consensus_draws.consensus_counts`.

    Warns
    -----
    TamisWarning
        A class has no label.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> truth = np.arange(600) % 2
    >>> X = np.eye(2)[truth] + 0.1 * np.random.default_rng(0).normal(size=(600, 2))
    >>> labels = np.where(np.arange(600) % 10 < 2, 0, truth)
    >>> estimate_transition_hoc(X, labels, n_steps=200).noise_rate < 0.2
    True
    """
    codes = np.asarray(labels)
    if n_classes is None:
        n_classes = int(codes.max(initial=0)) + 1
    counts = consensus_counts(
        features,
        codes,
        n_classes,
        n_rounds=n_rounds,
        n_points=n_points,
        random_state=random_state,
        neighbors=neighbors,
        memory_budget=memory_budget,
    )
    return estimate_from_counts(
        counts, n_steps=n_steps, learning_rate=learning_rate, random_state=random_state
    )


def estimate_transition_answers(
    answers: IntArray, n_classes: int, *, n_steps: int | None = None, random_state: int = 0
) -> TransitionEstimate:
    """Estimate the noise of three annotators who answered every sample, taken as equally good.

    The three answers stand in for a point and its neighbours: no features are needed.

    Parameters
    ----------
    answers : (n, 3) int
        Class codes 0..K-1.
    n_classes : int
    n_steps, random_state
        See `tamis.statistics.transition_fit.fit_transition`.

    Returns
    -------
    TransitionEstimate

    Examples
    --------
    >>> answers = np.array([[0, 0, 0]] * 8 + [[0, 0, 1]] + [[1, 1, 1]] * 9)
    >>> estimate_transition_answers(answers, 2, n_steps=200).noise_rate < 0.1
    True
    """
    counts = ConsensusCounts(n_classes).partial_fit(answers)
    return estimate_from_counts(counts, n_steps=n_steps, random_state=random_state)


def estimate_from_counts(
    counts: ConsensusCounts,
    *,
    n_steps: int | None = None,
    learning_rate: float = 0.1,
    random_state: int = 0,
) -> TransitionEstimate:
    """Return the estimate that counted label triples give; see `estimate_transition_hoc`."""
    order = _class_order(counts)
    shares = counts.shares()
    c1, c2, c3 = shares.c1[order], shares.c2[order][:, order], shares.c3[order][:, order][:, :, order]
    fit = fit_transition(c1, c2, c3, n_steps=n_steps, learning_rate=learning_rate, random_state=random_state)
    back = np.argsort(order)
    return TransitionEstimate(
        fit.transition.numpy()[np.ix_(back, back)], fit.prior.numpy()[back], float(fit.loss)
    )


def _class_order(counts: ConsensusCounts) -> IntArray:
    """Return the classes in an order that does not depend on how they are numbered."""
    triples, pairs = counts.triples, counts.pairs
    own = np.arange(counts.n_classes)
    # Sums of squares of whole numbers: exact in any order.
    keys = [(triples**2).sum(axis=(1, 2)), (pairs**2).sum(axis=1), (pairs**2).sum(axis=0)]
    return np.lexsort([*keys, triples[own, own, own], pairs[own, own], counts.singles])
