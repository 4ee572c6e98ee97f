"""SimiFeat: soft labels from similar samples, scores of the given label, and two ways to cut them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray

_LOG_FLOOR = 1e-8
_LEAST_SHARE, _MOST_SHARE = 0.05, 0.95


def similarity_soft_labels(
    indices: IntArray,
    distances: FloatArray,
    labels: IntArray,
    n_classes: int,
    *,
    min_similarity: float = 0.0,
    norm: Literal["l2", "l1"] = "l2",
    compat: bool = False,
) -> npt.NDArray[np.float64]:
    """Return each sample's labels as its neighbours and itself see them, weighted by similarity.

    A neighbour at cosine distance ``d`` votes for its label with ``1 - min_similarity - d``. The sample votes
    too, as if it were at ``d0 = 2 d1 - d2``, extrapolated from its two nearest neighbours.

    Parameters
    ----------
    indices : (n, k) int
        The nearest other samples as rows of ``labels``, nearest first; k >= 2.
    distances : (n, k) float
        ``1 - cosine``, from 0 to 2.
    labels : (n,) int
        Class codes 0..K-1.
    n_classes : int
    min_similarity : float
        Similarity at which a vote has no weight.
    norm : {"l2", "l1"}
        Rows have unit length (default) or sum to 1.
    compat : bool
        Keep negative weights, as the authors' code does; by default they count as 0.

    Returns
    -------
    (n, K) float64 array
        All entries equal where no vote has weight.

    Raises
    ------
    InputError
        Fewer than two neighbours, shapes that do not fit, a code or index out of range, NaN.

    References
    ----------
    .. [1] Zhu, Dong, Liu. "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022.

    Examples
    --------
    >>> indices = np.array([[1, 2], [0, 2], [1, 0]])
    >>> distances = np.array([[0.1, 0.2], [0.1, 0.1], [0.1, 0.2]])
    >>> similarity_soft_labels(indices, distances, np.array([0, 0, 1]), 2, norm="l1").round(2)
    array([[0.7 , 0.3 ],
           [0.67, 0.33],
           [0.63, 0.37]])
    """
    codes = _check_soft_arguments(indices, distances, labels, n_classes)
    if norm not in ("l2", "l1"):
        raise InputError(f"norm is {norm!r}; choose 'l2' or 'l1'")
    d = np.asarray(distances, dtype=np.float64)
    own = 2.0 * d[:, :1] - d[:, 1:2]
    weights = 1.0 - min_similarity - np.concatenate([own, d], axis=1)  # (n, 1 + k)
    if not compat:
        weights = np.maximum(weights, 0.0)
    voters = np.concatenate([codes[:, None], codes[indices]], axis=1)
    soft = np.zeros((len(codes), n_classes))
    rows = np.arange(len(codes))
    for j in range(weights.shape[1]):
        soft[rows, voters[:, j]] += weights[:, j]
    length = np.linalg.norm(soft, axis=1) if norm == "l2" else soft.sum(axis=1)
    is_empty = ~soft.any(axis=1)
    soft[is_empty] = 1.0
    length[is_empty] = np.sqrt(n_classes) if norm == "l2" else n_classes
    soft /= length[:, None]
    return soft


def soft_label_score(soft: FloatArray, labels: IntArray) -> npt.NDArray[np.float64]:
    """Return ``-log(soft[i, label_i] + 1e-8)`` of each sample; **high = suspicious**.

    Parameters
    ----------
    soft : (n, K) float
        From `similarity_soft_labels`.
    labels : (n,) int

    Examples
    --------
    >>> soft_label_score(np.array([[1.0, 0.0]]), np.array([0])).round(6) + 0.0
    array([0.])
    """
    return _losses(np.asarray(soft)[np.arange(len(labels)), labels])


def mean_soft_label_score(soft: FloatArray) -> npt.NDArray[np.float64]:
    """Return the mean of ``log(soft + 1e-8)`` over the classes: low where few classes share the vote."""
    return np.asarray(-_losses(soft).mean(axis=1))


def cores_score(soft: FloatArray, labels: IntArray) -> npt.NDArray[np.float64]:
    """Return `soft_label_score` less its mean over all possible labels; high = suspicious."""
    return soft_label_score(soft, labels) + mean_soft_label_score(soft)


def peer_score(soft: FloatArray, labels: IntArray) -> npt.NDArray[np.float64]:
    """Return `soft_label_score` less its expectation for a label drawn from all samples; high = suspicious.

    Examples
    --------
    >>> peer_score(np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([0, 1])).tolist()
    [0.0, 0.0]
    """
    shares = label_shares(labels, np.asarray(soft).shape[1])
    return np.asarray(soft_label_score(soft, labels) - _losses(soft) @ shares)


def vote_flags(soft: FloatArray, labels: IntArray) -> BoolArray:
    """Flag the samples whose given label is not the largest entry of the soft label; a tie keeps it.

    Examples
    --------
    >>> vote_flags(np.array([[0.6, 0.8], [0.8, 0.6], [0.7, 0.7]]), np.array([0, 0, 1]))
    array([ True, False, False])
    """
    values = np.asarray(soft)
    return np.asarray(values[np.arange(len(labels)), labels] < values.max(axis=1))


def label_shares(labels: IntArray, n_classes: int) -> npt.NDArray[np.float64]:
    """Return the share of each given label, (K,)."""
    return np.bincount(labels, minlength=n_classes) / max(1, len(labels))


def label_posterior(transition: FloatArray, prior: FloatArray, shares: FloatArray) -> npt.NDArray[np.float64]:
    """Return ``P(true class i | label j) = T_ij p_i / r_j``; 0 for a label that nobody gave.

    Parameters
    ----------
    transition : (K, K) float
        ``T[i, j] = P(label j | true class i)``.
    prior : (K,) float
        ``P(true class i)``.
    shares : (K,) float
        Observed shares of the labels; columns sum to 1 only as far as the estimate agrees with them.

    Examples
    --------
    >>> transition = np.array([[0.8, 0.2], [0.0, 1.0]])
    >>> label_posterior(transition, np.array([0.5, 0.5]), np.array([0.4, 0.6])).round(3)
    array([[1.   , 0.167],
           [0.   , 0.833]])
    """
    joint = np.asarray(transition, dtype=np.float64) * np.asarray(prior, dtype=np.float64)[:, None]
    r = np.asarray(shares, dtype=np.float64)
    return np.asarray(np.where(r > 0, joint / np.where(r > 0, r, 1.0), 0.0))


def corrupted_shares(posterior_right: FloatArray, *, offset: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the share of wrong labels in each class that the cut assumes, within [0.05, 0.95] at the ends.

    Parameters
    ----------
    posterior_right : (K,) float
        ``P(true class j | label j)``: the diagonal of `label_posterior`.
    offset : float
        Factor on the posterior; below 1 more labels are flagged.

    Returns
    -------
    (K,) float64
        ``1 - min(offset * posterior, 1)``; 0.95 instead of 1 and more, 0.05 instead of 0 and less.

    Examples
    --------
    >>> corrupted_shares(np.array([0.0, 0.7, 1.2])).round(2)
    array([0.95, 0.3 , 0.05])
    """
    share = 1.0 - np.minimum(offset * np.asarray(posterior_right, dtype=np.float64), 1.0)
    return np.where(share >= 1.0, _MOST_SHARE, np.where(share <= 0.0, _LEAST_SHARE, share))


def rank_flags(scores: FloatArray, labels: IntArray, shares: FloatArray) -> BoolArray:
    """Flag the most suspicious samples of each class, as many as are expected to be wrong.

    The cut is a percentile of the class's scores, and whoever reaches it is flagged: at least one sample of
    every class, also on clean data.

    Parameters
    ----------
    scores : (n,) float
        High = suspicious.
    labels : (n,) int
    shares : (K,) float in [0, 1]
        From `corrupted_shares`.

    Examples
    --------
    >>> rank_flags(np.array([1.0, 2.0, 3.0, 4.0]), np.zeros(4, dtype=int), np.array([0.5]))
    array([False, False,  True,  True])
    """
    flags = np.zeros(len(labels), dtype=np.bool_)
    for code, share in enumerate(shares):
        members = np.flatnonzero(labels == code)
        if len(members):
            flags[members] = scores[members] >= np.percentile(scores[members], 100.0 * (1.0 - share))
    return flags


def majority_flags(flags: npt.ArrayLike) -> BoolArray:
    """Return which samples more than half of several detections flag.

    Parameters
    ----------
    flags : (n_detections, n) bool
        One row for each set of features, such as those of differently cropped images.

    Examples
    --------
    >>> majority_flags([[True, True, False], [True, False, False]])
    array([ True, False, False])
    """
    table = np.asarray(flags, dtype=np.bool_)
    if table.ndim != 2 or len(table) == 0:
        raise InputError(f"flags has shape {table.shape}; pass (n_detections, n), at least one row")
    return np.asarray(2 * table.sum(axis=0) > len(table))


def _losses(soft: FloatArray) -> npt.NDArray[np.float64]:
    return np.asarray(-np.log(np.asarray(soft, dtype=np.float64) + _LOG_FLOOR))


def _check_soft_arguments(
    indices: IntArray, distances: FloatArray, labels: IntArray, n_classes: int
) -> npt.NDArray[np.int64]:
    codes, rows = np.asarray(labels), np.asarray(indices)
    if rows.ndim != 2 or rows.shape != np.shape(distances) or len(rows) != len(codes) or rows.shape[1] < 2:
        raise InputError(
            f"indices has shape {rows.shape}, distances {np.shape(distances)}, labels {codes.shape}; pass "
            "(n, k), (n, k) and (n,) with k >= 2: a sample's own weight comes from its two nearest"
        )
    if codes.ndim != 1 or (codes.size and (codes.min() < 0 or codes.max() >= n_classes)):
        raise InputError(f"labels must be codes from 0 to {n_classes - 1}, one a row of indices")
    if rows.size and (rows.min() < 0 or rows.max() >= len(codes)):
        raise InputError(
            f"indices runs from {rows.min()} to {rows.max()}; rows are 0 to {len(codes) - 1}: every sample "
            "needs all its neighbours"
        )
    if not np.isfinite(distances).all():
        row = int((~np.isfinite(distances)).any(axis=1).argmax())
        raise InputError(f"distances row {row} holds NaN or infinity; leave out samples without direction")
    return codes.astype(np.int64)
