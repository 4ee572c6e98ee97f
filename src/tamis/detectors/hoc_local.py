"""Noise rates that differ from place to place: HOC's estimate around centres (instance-dependent noise)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tamis.detectors.canonical_order import CanonicalOrder, canonical_order
from tamis.detectors.consensus_draws import (
    check_at_least,
    check_features_and_codes,
    draw_positions,
)
from tamis.detectors.hoc import TransitionEstimate
from tamis.errors import InputError
from tamis.statistics.clusterability import ConsensusCounts
from tamis.statistics.transition_fit import fit_transition
from tamis.types import FloatArray, IntArray

N_STEPS = 501
_CELLS_AT_ONCE = 4_000_000
_CENTER_DRAW = 2**32  # place of the draw that orders the centres; neighbourhoods have the places below it


@dataclass(frozen=True)
class LocalTransitions:
    """Transition matrices of places in feature space.

    Attributes
    ----------
    transitions : (C + 1, K, K) float64 array
        One for each centre; the last is the global one.
    place : (n,) int64 array
        Which of them holds for each row: the first centre whose neighbourhood has it, C where none has.
    centers : (C,) int64 array
        Rows taken as centres.
    """

    transitions: npt.NDArray[np.float64]
    place: IntArray
    centers: IntArray


def estimate_local_transitions(
    features: FloatArray,
    labels: IntArray,
    overall: TransitionEstimate,
    *,
    n_neighbors: int = 250,
    n_rounds: int = 30,
    n_points: int = 100,
    max_centers: int = 300,
    n_steps: int = N_STEPS,
    random_state: int = 0,
) -> LocalTransitions:
    """Estimate a transition matrix around each of up to 300 random centres.

    A centre is drawn among the rows that no neighbourhood covers yet; its nearest rows (Euclidean) are the
    neighbourhood. Inside it label triples are counted in small draws and fitted with a prior pushed towards
    few classes. Row ``i`` of the matrix is the local one as far as class ``i`` lives there, else the global:
    ``p_i * local_i + (1 - p_i) * global_i``.

    Parameters
    ----------
    features : (n, d) float
        n >= 3, finite, no row of zeros.
    labels : (n,) int
        Class codes 0..K-1.
    overall : TransitionEstimate
        The global estimate; see `tamis.detectors.hoc.estimate_transition_hoc`.
    n_neighbors : int
        Size of a neighbourhood, the centre included; all rows, where there are fewer.
    n_rounds, n_points : int
        Draws inside a neighbourhood, and points in each.
    max_centers : int
        What they do not cover keeps the global matrix.
    n_steps : int
        Of each fit.
    random_state : int

    Returns
    -------
    LocalTransitions

    Raises
    ------
    InputError
        Shapes that do not fit, a code out of range, a row of zeros, NaN.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> truth = np.arange(60) % 2
    >>> X = np.eye(2)[truth] + 0.1 * np.random.default_rng(0).normal(size=(60, 2))
    >>> overall = TransitionEstimate(np.eye(2), np.full(2, 0.5), 0.0)
    >>> local = estimate_local_transitions(X, truth, overall, n_neighbors=30, n_steps=50)
    >>> local.transitions.shape, local.place.max()
    ((3, 2, 2), np.int64(1))
    """
    n_classes = len(overall.prior)
    matrix, codes = check_features_and_codes(features, labels, n_classes)
    size = min(check_at_least(n_neighbors, "n_neighbors", 3), len(codes))
    check_at_least(n_rounds, "n_rounds", 1)
    check_at_least(n_points, "n_points", 3)
    check_at_least(max_centers, "max_centers", 1)
    check_at_least(random_state, "random_state", 0)
    order = canonical_order(matrix, codes, n_classes)
    points = _finite_points(matrix)
    place = np.full(len(codes), -1, dtype=np.int64)
    centers: list[int] = []
    triples: list[IntArray] = []
    for center in order.rows[draw_positions(len(codes), len(codes), random_state, 0, _CENTER_DRAW)]:
        if place[center] < 0 and len(centers) < max_centers:
            rows = _nearest(points, int(center), order, size)
            place[rows[place[rows] < 0]] = len(centers)
            draws = [
                np.sort(draw_positions(size, min(n_points, size), random_state, number, len(centers)))
                for number in range(n_rounds if n_points < size else 1)
            ]
            triples.append(_triples(points[rows], codes[rows], draws))
            centers.append(int(center))
    place[place < 0] = len(centers)
    local = _fit_all(triples, order.classes, overall, n_steps, random_state)
    return LocalTransitions(np.concatenate([local, overall.transition[None]]), place, np.array(centers))


def _finite_points(matrix: FloatArray) -> npt.NDArray[np.float64]:
    points = np.asarray(matrix, dtype=np.float64)
    is_bad = ~np.isfinite(points).all(axis=1) | ~points.any(axis=1)
    if is_bad.any():
        raise InputError(
            f"features row {int(is_bad.argmax())} holds NaN or infinity, or is all zeros and has no "
            "direction; leave it out"
        )
    return points


def _nearest(points: FloatArray, center: int, order: CanonicalOrder, size: int) -> IntArray:
    """Return the ``size`` rows nearest to a row, itself first, in canonical order where equally far."""
    distance = np.square(points - points[center]).sum(axis=1)[order.rows]
    distance[order.rows == center] = -1.0
    rows: IntArray = order.rows[np.argsort(distance, kind="stable")[:size]]
    return rows


def _triples(points: FloatArray, codes: IntArray, draws: list[IntArray]) -> IntArray:
    """Return the (m, 3) label triples inside all draws of a neighbourhood."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    found = []
    for drawn in draws:
        inside = similarity[np.ix_(drawn, drawn)]
        nearest = np.argsort(-inside, axis=1, kind="stable")[:, :2]
        found.append(codes[np.column_stack([drawn, drawn[nearest]])])
    return np.concatenate(found)


def _fit_all(
    triples: list[IntArray],
    classes: IntArray,
    overall: TransitionEstimate,
    n_steps: int,
    random_state: int,
) -> npt.NDArray[np.float64]:
    """Return (C, K, K) matrices, fitted side by side with the classes in canonical order."""
    n_classes = len(classes)
    result = np.empty((len(triples), n_classes, n_classes))
    back = np.argsort(classes)
    step = max(1, _CELLS_AT_ONCE // n_classes**3)
    for start in range(0, len(triples), step):
        part = triples[start : start + step]
        shares = [ConsensusCounts(n_classes).partial_fit(each).shares() for each in part]
        c1 = torch.stack([each.c1[classes] for each in shares])
        c2 = torch.stack([each.c2[classes][:, classes] for each in shares])
        c3 = torch.stack([each.c3[classes][:, classes][:, :, classes] for each in shares])
        fit = fit_transition(c1, c2, c3, n_steps=n_steps, is_local=True, random_state=random_state)
        weight = fit.prior.numpy()[:, back, None]
        local = fit.transition.numpy()[:, back][:, :, back]
        result[start : start + step] = weight * local + (1.0 - weight) * overall.transition
    return result
