"""Scores to probabilities: one temperature, or a temperature and a bias per class, fitted out of sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.statistics.row_blocks import feature_block, target_block
from tamis.types import FloatArray, IntArray

_WIDEST = 1e3
"""Temperatures are looked for within this factor of the spread of the scores, both ways."""

_BLOCK_NUMBERS = 2**21
"""float64 numbers of one block (16 MiB)."""

_MOST_CLASSES = 4096


class _Rows(NamedTuple):
    # z: (n, K) scores minus their row's largest; t: (n, K) targets; w: (n,) weights, sum about n.
    z: torch.Tensor
    t: torch.Tensor
    w: torch.Tensor
    spread: float


class _Slopes(NamedTuple):
    """Loss, gradient (1 + K,) and Hessian (1 + K, 1 + K) in (1 / temperature, bias)."""

    loss: float
    gradient: torch.Tensor
    hessian: torch.Tensor


def softmax_with_temperature(
    logits: FloatArray, temperature: float, bias: FloatArray | None = None
) -> FloatArray:
    """Return ``softmax(logits / temperature + bias)`` row by row.

    Parameters
    ----------
    logits : (n, K) float
    temperature : float
        Above 0; below 1 sharpens.
    bias : (K,) float, optional

    Returns
    -------
    (n, K) array
        Rows sum to 1; computed in float64, returned as float32 unless ``logits`` are float64.

    Raises
    ------
    InputError
        Shapes do not fit, or ``temperature`` is not a positive number.

    Examples
    --------
    >>> softmax_with_temperature(np.log([[0.5, 0.5], [0.2, 0.8]]), 0.5).round(3)
    array([[0.5  , 0.5  ],
           [0.059, 0.941]])
    """
    logits = np.asanyarray(logits)
    if logits.ndim != 2 or logits.dtype.kind != "f":
        raise InputError(f"logits has shape {logits.shape} and type {logits.dtype}; expected (n, K) floats")
    if not 0.0 < temperature < np.inf:
        raise InputError(f"temperature is {temperature!r}; expected a number above 0")
    shift = np.zeros(logits.shape[1]) if bias is None else np.asarray(bias, dtype=np.float64)
    if shift.shape != logits.shape[1:]:
        raise InputError(f"bias has shape {shift.shape}; expected one number for each of {logits.shape[1]}")
    probs = np.empty(logits.shape, dtype=np.float64 if logits.dtype.itemsize == 8 else np.float32)
    for part in _parts(*logits.shape):
        block = feature_block(logits[part], logits.shape[1], "cpu")
        probs[part] = torch.softmax(block.div_(temperature).add_(torch.from_numpy(shift)), dim=1).numpy()
    return probs


def fit_temperature(
    logits: FloatArray,
    targets: IntArray | FloatArray,
    *,
    weights: FloatArray | None = None,
    max_rows: int = 100_000,
) -> float:
    """Return the temperature with the least cross-entropy of ``softmax(logits / temperature)``.

    The cross-entropy is convex in the inverse temperature, so safeguarded Newton steps find the one minimum.
    The logits must be out of sample (cross-validated or leave-one-out): on its own training rows a model
    always looks too sure of itself to be corrected.

    Parameters
    ----------
    logits : (n, K) float, finite where a row counts
    targets : (n,) int codes or (n, K) float
        Rows with code -1, or with NaN among soft targets, do not count.
    weights : (n,) float, optional
        At least 0, not all 0.
    max_rows : int
        With more rows that count, every so many-th is taken: give rows in an order that means nothing.

    Returns
    -------
    float
        Between 1/1000 and 1000 times the spread of the logits; 1.0 where all logits of a row are equal.

    Raises
    ------
    InputError
        Shapes, codes or weights do not fit, NaN or infinity, or no row counts.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. "On Calibration of Modern Neural Networks", ICML 2017.

    Examples
    --------
    >>> logits, codes = np.log([[0.9, 0.1]] * 10), np.array([0] * 7 + [1] * 3)
    >>> probs = softmax_with_temperature(logits, fit_temperature(logits, codes))
    >>> round(float(probs[0, 0]), 6)
    0.7
    """
    rows = _checked_rows(logits, targets, weights, max_rows)
    if rows.spread == 0.0:
        return 1.0
    low, high = 1.0 / (_WIDEST * rows.spread), _WIDEST / rows.spread
    inverse = 1.0 / rows.spread
    for _ in range(100):
        slope, curvature = _inverse_slopes(rows, inverse)
        low, high = (inverse, high) if slope < 0.0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0.0 else np.inf
        moved = newton if low < newton < high else float(np.sqrt(low * high))
        is_settled = abs(moved - inverse) <= 1e-12 * inverse
        inverse = moved
        if is_settled:
            break
    return 1.0 / inverse


def fit_temperature_and_bias(
    scores: FloatArray, targets: IntArray | FloatArray, *, max_rows: int = 20_000
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the temperature and class biases with which ``softmax(scores / temperature + bias)`` fits best.

    Least cross-entropy with a standard normal prior on every bias, worth about one row, so that classes
    without a row keep a finite one. Meant for scores that are no logits, such as those of a ridge regression.

    Parameters
    ----------
    scores : (n, K) float, out of sample
        At most 4096 classes.
    targets : (n,) int codes or (n, K) float
        Rows with code -1, or with NaN among soft targets, do not count.
    max_rows : int
        See `fit_temperature`.

    Returns
    -------
    temperature : float
    bias : (K,) float64 array

    Raises
    ------
    InputError
        See `fit_temperature`; more than 4096 classes.

    Examples
    --------
    >>> scores = np.array([[1.0, 0.0], [0.0, 1.0]] * 50)
    >>> codes = np.array(([0, 1] * 4 + [1, 1]) * 10)
    >>> temperature, bias = fit_temperature_and_bias(scores, codes)
    >>> softmax_with_temperature(scores[:2], temperature, bias).round(2)
    array([[0.81, 0.19],
           [0.01, 0.99]])
    """
    if scores.ndim == 2 and scores.shape[1] > _MOST_CLASSES:
        raise InputError(f"scores has {scores.shape[1]} columns; above {_MOST_CLASSES} use fit_temperature")
    rows = _checked_rows(scores, targets, None, max_rows)
    point = torch.zeros(1 + rows.z.shape[1], dtype=torch.float64)
    if rows.spread == 0.0:
        point[0] = 1.0
        return 1.0, _newton(rows, point, is_inverse_fixed=True)[1:].numpy()
    point[0] = 1.0 / rows.spread
    point = _newton(rows, point, is_inverse_fixed=False)
    lowest = 1.0 / (_WIDEST * rows.spread)
    if point[0] < lowest:  # scores that say nothing, or the contrary
        point[0] = lowest
        point = _newton(rows, point, is_inverse_fixed=True)
    return 1.0 / float(point[0]), point[1:].numpy()


def _newton(rows: _Rows, point: torch.Tensor, *, is_inverse_fixed: bool) -> torch.Tensor:
    """Return the minimum of the penalised cross-entropy, from ``point`` = (1 / temperature, bias)."""
    free = slice(1, None) if is_inverse_fixed else slice(None)
    here = _slopes(rows, point)
    for _ in range(50):
        step = torch.zeros_like(point)
        step[free] = torch.linalg.solve(here.hessian[free, free], here.gradient[free])
        gain = float(step @ here.gradient)
        if gain <= 1e-18 * max(1.0, abs(here.loss)):
            break
        for halving in range(40):
            moved = point - step * 0.5**halving
            there = _slopes(rows, moved)
            if there.loss <= here.loss - 1e-4 * gain * 0.5**halving:
                break
        else:
            break  # no descent left but rounding errors
        point, here = moved, there
    return point


def _inverse_slopes(rows: _Rows, inverse: float) -> tuple[float, float]:
    """Return first and second derivative of the cross-entropy by the inverse temperature."""
    slope = curvature = 0.0
    for part in _parts(*rows.z.shape):
        z, weight = rows.z[part], rows.w[part]
        probs = torch.softmax(z * inverse, dim=1)
        mean = (probs * z).sum(dim=1)
        mass = rows.t[part].sum(dim=1)
        slope += float(weight @ (mass * mean - (rows.t[part] * z).sum(dim=1)))
        curvature += float((weight * mass) @ ((probs * z.square()).sum(dim=1) - mean.square()))
    return slope, curvature


def _slopes(rows: _Rows, point: torch.Tensor) -> _Slopes:
    inverse, bias = float(point[0]), point[1:]
    # The prior: standard normal on biases, and so wide on the inverse that it only bounds separable scores.
    prior = torch.ones_like(point)
    prior[0] = (rows.spread / _WIDEST) ** 2 or 1.0
    loss = 0.5 * float(prior @ point.square())
    gradient = prior * point
    hessian = torch.diag(prior)
    for part in _parts(*rows.z.shape):
        z, target = rows.z[part], rows.t[part]
        mass = target.sum(dim=1, keepdim=True)
        log_probs = torch.log_softmax(z * inverse + bias, dim=1)
        probs = log_probs.exp()
        loss -= float((target * log_probs).sum())
        off = mass * probs - target
        centred = probs * (z - (probs * z).sum(dim=1, keepdim=True)) * mass  # (b, K)
        gradient[0] += (off * z).sum()
        gradient[1:] += off.sum(dim=0)
        hessian[0, 0] += (centred * z).sum()
        hessian[0, 1:] += centred.sum(dim=0)
        hessian[1:, 1:] += torch.diag((mass * probs).sum(dim=0)) - (mass * probs).T @ probs
    hessian[1:, 0] = hessian[0, 1:]
    return _Slopes(loss, gradient, hessian)


def _checked_rows(
    logits: FloatArray, targets: IntArray | FloatArray, weights: FloatArray | None, max_rows: int
) -> _Rows:
    logits, targets = np.asanyarray(logits), np.asanyarray(targets)
    if logits.ndim != 2 or logits.shape[1] == 0 or len(targets) != len(logits):
        raise InputError(
            f"logits has shape {logits.shape}, targets {targets.shape}; expected (n, K), and n rows of each"
        )
    if max_rows < 1:
        raise InputError(f"max_rows is {max_rows}; expected at least 1")
    weight = np.ones(len(logits)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (len(logits),) or not (np.isfinite(weight) & (weight >= 0)).all():
        raise InputError(f"weights has shape {weight.shape}; expected ({len(logits)},) numbers of at least 0")
    is_used = targets >= 0 if targets.ndim == 1 else np.isfinite(targets).all(axis=1)
    chosen = np.flatnonzero(is_used & (weight > 0))
    if chosen.size == 0:
        raise InputError("no row counts: every target is -1 or NaN, or every weight 0; one row is needed")
    if len(chosen) > max_rows:
        chosen = chosen[np.arange(max_rows) * len(chosen) // max_rows]
    z = feature_block(logits[chosen], logits.shape[1], "cpu")
    bad = (~torch.isfinite(z)).any(dim=1)
    if bool(bad.any()):
        row = int(chosen[int(bad.nonzero()[0, 0])])
        raise InputError(
            f"logits row {row} holds NaN or infinity; set its target to -1, or give finite logits"
        )
    z -= z.amax(dim=1, keepdim=True)
    soft, _ = target_block(targets[chosen], len(chosen), logits.shape[1], "cpu")
    spread = float(z.var(dim=1, correction=0).mean().sqrt())
    return _Rows(z, soft, torch.from_numpy(weight[chosen] / weight[chosen].mean()), spread)


def _parts(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK_NUMBERS // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
