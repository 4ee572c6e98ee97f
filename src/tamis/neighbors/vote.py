"""What the neighbours of a sample say about its class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.types import FloatArray, IntArray


def neighbor_vote(
    indices: IntArray,
    similarities: FloatArray,
    labels: IntArray | FloatArray,
    n_classes: int,
    *,
    temperature: float | None = None,
    trust: FloatArray | None = None,
    prior: FloatArray | None = None,
    prior_weight: float = 0.0,
    memory_budget: str | int | None = None,
) -> npt.NDArray[np.float32]:
    """Return each sample's class shares among its neighbours.

    A neighbour's vote weighs ``trust * exp((similarity - best) / temperature)``, where ``best`` is the
    sample's highest similarity. A sample without a voting neighbour gets the prior.

    Parameters
    ----------
    indices : (n, k) int array
        Rows of ``labels``, best first; negative = no neighbour (see `nearest_neighbors`).
    similarities : (n, k) float array
        Cosine similarities; ignored where there is no neighbour.
    labels : (m,) int array or (m, n_classes) float array
        Class codes (negative = unlabelled, does not vote), or soft labels: class probabilities of each row.
    n_classes : int
    temperature : float, optional
        In units of similarity; None gives every neighbour the same weight.
    trust : (m,) float array, optional
        Weight of each row's vote, at least 0.
    prior : (n_classes,) float array, optional
        Class shares expected without evidence; uniform by default.
    prior_weight : float
        The prior votes with this weight too (a neighbour at the best similarity votes with 1).
    memory_budget : str, int or None
        Beside the arrays passed in and the answer.

    Returns
    -------
    numpy.ndarray
        (n, n_classes) float32, rows sum to 1. Sums run in float64 in the order of the neighbours, so that the
        answer depends neither on blocks nor on the order of rows and classes.

    Raises
    ------
    InputError
        Shapes do not match, a label or index is out of range, or a weight is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> indices, similarities = np.array([[1, 2, 3]]), np.array([[0.9, 0.8, 0.8]])
    >>> neighbor_vote(indices, similarities, np.array([0, 1, 0, 1]), 2).round(3)
    array([[0.333, 0.667]], dtype=float32)
    """
    _check_neighbors(indices, similarities, len(labels))
    _check_labels(labels, n_classes)
    weight_of_row = np.ones(len(labels)) if trust is None else _weights(trust, "trust", len(labels))
    expected = np.full(n_classes, 1.0 / n_classes)
    if prior is not None:
        expected = _weights(prior, "prior", n_classes)
        expected = expected / _positive(float(expected.sum()), "the sum of prior")
    if temperature is not None:
        _positive(temperature, "temperature")
    if not prior_weight >= 0 or not np.isfinite(prior_weight):
        raise InputError(f"prior_weight is {prior_weight}; it must be 0 or more")
    n, k = indices.shape
    votes = np.empty((n, n_classes), dtype=np.float32)
    block = rows_per_block(8 * (3 * n_classes + 6 * k), parse_memory_budget(memory_budget))
    for start in range(0, n, block):
        part = slice(start, start + block)
        weights = _kernel(indices[part], similarities[part], temperature)
        weights *= np.where(indices[part] >= 0, weight_of_row[indices[part]], 0.0) if len(labels) else 0.0
        shares, total = _shares(indices[part], weights, labels, n_classes)
        shares += prior_weight * expected
        total = total[:, None] + prior_weight
        votes[part] = np.where(total > 0, shares / np.where(total > 0, total, 1.0), expected)
    return votes


def _kernel(indices: IntArray, similarities: FloatArray, temperature: float | None) -> FloatArray:
    """Return (b, k) float64 weights, 0 where there is no neighbour."""
    is_there = indices >= 0
    if temperature is None:
        return is_there.astype(np.float64)
    scores = np.where(is_there, similarities, -np.inf).astype(np.float64)
    best = scores.max(axis=1, keepdims=True, initial=-1.0)
    weights: FloatArray = np.exp((scores - best) / temperature)
    return weights


def _shares(
    indices: IntArray, weights: FloatArray, labels: IntArray | FloatArray, n_classes: int
) -> tuple[FloatArray, FloatArray]:
    """Return (b, n_classes) sums of weighted votes and (b,) sums of the weights that voted."""
    b, k = indices.shape
    shares, total = np.zeros((b, n_classes)), np.zeros(b)
    rows = np.arange(b)
    for j in range(k):
        weight = weights[:, j]
        if labels.ndim == 2:
            shares += weight[:, None] * labels[indices[:, j]] if len(labels) else 0.0
        else:
            code = labels[indices[:, j]] if len(labels) else np.full(b, -1)
            weight = np.where(code >= 0, weight, 0.0)
            shares[rows, np.maximum(code, 0)] += weight
        total += weight
    return shares, total


def _check_neighbors(indices: IntArray, similarities: FloatArray, m: int) -> None:
    if (
        indices.ndim != 2
        or not np.issubdtype(indices.dtype, np.integer)
        or indices.shape != similarities.shape
    ):
        raise InputError(
            f"indices has shape {indices.shape} and dtype {indices.dtype}, "
            f"similarities {similarities.shape}; pass both (n, k) arrays of one search"
        )
    if indices.size and indices.max() >= m:
        raise InputError(
            f"indices goes up to {indices.max()} but there are {m} labels; pass the labels searched"
        )
    if np.isnan(similarities).any():
        row = int(np.isnan(similarities).any(axis=1).argmax())
        raise InputError(f"similarities row {row} holds NaN; pass the similarities of a search unchanged")


def _check_labels(labels: IntArray | FloatArray, n_classes: int) -> None:
    if labels.ndim == 2:
        if labels.shape[1] != n_classes:
            raise InputError(
                f"labels has {labels.shape[1]} columns; soft labels need n_classes = {n_classes}"
            )
        if not np.isfinite(labels).all() or (labels < 0).any():
            raise InputError(
                "soft labels hold NaN or a negative value; pass probabilities, rows summing to 1"
            )
    elif labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels has shape {labels.shape} and dtype {labels.dtype}; pass (m,) integer codes")
    elif labels.size and labels.max() >= n_classes:
        raise InputError(f"labels goes up to {labels.max()} but n_classes is {n_classes}; codes start at 0")


def _weights(values: FloatArray, name: str, n: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,) or not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name} has shape {array.shape}; it must be ({n},) finite numbers of 0 or more")
    return array


def _positive(value: float, name: str) -> float:
    if not value > 0 or not np.isfinite(value):
        raise InputError(f"{name} is {value}; it must be above 0")
    return value
