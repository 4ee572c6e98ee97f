"""Leave-one-out ridge regression on labels: closed form, two passes over the rows, any number of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.progress import track
from tamis.statistics.ridge_fit import RidgeFit
from tamis.statistics.ridge_sums import L2_GRID, RidgeSums
from tamis.types import FloatArray, IntArray

_SMALL_GROUP = 64
"""Groups of up to this many rows, or as many as there are features, are left out by a solve of their size."""

__all__ = ["L2_GRID", "RidgeFit", "RidgeSums", "leave_one_out_ridge"]


def leave_one_out_ridge(
    features: FloatArray | torch.Tensor,
    targets: IntArray | FloatArray | torch.Tensor,
    n_classes: int,
    *,
    l2: float | Literal["auto"] = "auto",
    groups: IntArray | None = None,
    block_rows: int = 8192,
    memory_budget: str | int | None = None,
    device: str = "cpu",
) -> npt.NDArray[np.float32]:
    """Return for every row the class scores of a ridge regression that has not seen the row.

    One pass collects the sums, a second one predicts and takes each row's own influence away by its leverage;
    rows of a group are taken away together. The answer is exact (standardisation and penalty are held as they
    are with all rows) and does not depend on row order or block size. The fast path for many rows; a
    logistic regression or an MLP ranks labels a little better. Scores are not probabilities: they may leave
    [0, 1], see `tamis.statistics.temperature`.

    Parameters
    ----------
    features : (n, d) float
        float16, 32 or 64, possibly memory-mapped; read block by block.
    targets : (n,) int codes or (n, K) float
        Rows with code -1, or with NaN among soft targets, are left out of the fit and predicted by it.
    n_classes : int
        K. A class without a row is legal; its scores are 0.
    l2 : float or "auto"
        Penalty per row on standardised features; "auto" minimises the generalised cross-validation error
        over a grid from 1e-5 to 100, see `RidgeSums.choose_l2`.
    groups : (n,) int, optional
        Rows of a group (copies of one another, frames of a film) do not vouch for each other. Negative = no
        group.
    block_rows : int
        Rows read at once; fewer where ``memory_budget`` asks for it.
    memory_budget : str, int or None
        Such as "64MiB", beside input and output.
    device : str
        A torch device.

    Returns
    -------
    (n, K) float32 array
        For one-hot targets every row sums to 1. Higher = the class fits better. NaN in rows left out of the
        fit whose features are not finite.

    Raises
    ------
    InputError
        Shapes, codes or ``l2`` do not fit, NaN or infinity in a row of the fit, no row in the fit, or a
        budget that does not hold the sums.

    References
    ----------
    .. [1] R. D. Cook, S. Weisberg. "Residuals and Influence in Regression", 1982, section 2.2.

    Examples
    --------
    >>> features = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [0.15]])
    >>> scores = leave_one_out_ridge(features, np.array([0, 0, 0, 1, 1, 1]), 2)
    >>> scores.argmax(axis=1)
    array([0, 0, 0, 1, 1, 0])
    """
    codes = _checked_groups(features, targets, groups)
    n_features = features.shape[1]
    budget = parse_memory_budget(memory_budget)
    step = _block_rows(n_features, n_classes, block_rows, budget)
    sums = RidgeSums(n_features, n_classes, device=device)
    scores = np.empty((len(features), n_classes), dtype=np.float32)
    with track("ridge regression", 2 * len(features)) as advance:
        for part in _parts(len(features), step):
            sums.partial_fit(features[part], targets[part])
            advance(part.stop - part.start)
        fit = sums.solve(l2)
        for part in _parts(len(features), step):
            scores[part] = fit.leave_one_out(features[part], targets[part])
            advance(part.stop - part.start)
    if codes is not None:
        _leave_groups_out(scores, features, targets, codes, (sums, fit), step)
    return scores


def _leave_groups_out(
    scores: npt.NDArray[np.float32],
    features: FloatArray | torch.Tensor,
    targets: IntArray | FloatArray | torch.Tensor,
    groups: IntArray,
    model: tuple[RidgeSums, RidgeFit],
    step: int,
) -> None:
    """Overwrite the scores of rows in groups of two and more."""
    members = np.flatnonzero(groups >= 0)
    members = members[np.argsort(groups[members], kind="stable")]
    _, starts, counts = np.unique(groups[members], return_index=True, return_counts=True)
    # A solve of the size of the group is dearer than a new one of the size of the features.
    is_large = counts > max(features.shape[1], _SMALL_GROUP)
    for start, count in zip(starts[is_large], counts[is_large], strict=True):
        _refit_without(scores, features, targets, members[start : start + count], model, step)
    is_small = (counts > 1) & ~is_large
    members = members[np.repeat(is_small, counts)]
    ends = np.cumsum(counts[is_small])
    start = 0
    while start < len(members):
        # Whole groups up to about a block of rows; at least one.
        fits = ends[(ends > start) & (ends <= start + step)]
        stop = int(fits[-1] if fits.size else ends[ends > start][0])
        rows = np.sort(members[start:stop])
        scores[rows] = model[1].leave_group_out(features[rows], targets[rows], groups[rows])
        start = stop


def _refit_without(
    scores: npt.NDArray[np.float32],
    features: FloatArray | torch.Tensor,
    targets: IntArray | FloatArray | torch.Tensor,
    rows: IntArray,
    model: tuple[RidgeSums, RidgeFit],
    step: int,
) -> None:
    """Overwrite the scores of one large group."""
    sums, fit = model
    blocks = [rows[part] for part in _parts(len(rows), step)]
    own = RidgeSums(*sums.cross.shape, device=sums.device)
    for block in blocks:
        own.partial_fit(features[block], targets[block])
    rest = sums.without(own)
    if rest.count == 0:
        scores[rows] = 1.0 / scores.shape[1]
        return
    refit = rest.solve(like=fit)
    for block in blocks:
        scores[block] = refit.predict(features[block])


def _parts(n_rows: int, step: int) -> Iterator[slice]:
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _block_rows(n_features: int, n_classes: int, at_most: int, budget: int | None) -> int:
    if at_most < 1:
        raise InputError(f"block_rows is {at_most}; expected at least 1")
    # In float64: Gram matrix, factor, inverse and temporaries; weights and sums of products.
    fixed = 8 * (7 * n_features**2 + 4 * n_features * n_classes)
    if budget is not None and fixed > budget:
        raise InputError(
            f"memory_budget is {budget:,} bytes, but the sums of {n_features:,} features and {n_classes:,} "
            f"classes need {fixed:,}; allow more, or reduce the features (PCA)"
        )
    row_bytes = 8 * (4 * n_features + 4 * n_classes)
    return rows_per_block(row_bytes, None if budget is None else budget - fixed, at_most=at_most)


def _checked_groups(
    features: FloatArray | torch.Tensor,
    targets: IntArray | FloatArray | torch.Tensor,
    groups: IntArray | None,
) -> IntArray | None:
    if len(features.shape) != 2 or 0 in features.shape:
        raise InputError(
            f"features has shape {tuple(features.shape)}; expected (rows, columns), at least one of each"
        )
    if len(targets) != len(features):
        raise InputError(f"targets has {len(targets)} rows, features {len(features)}; they must match")
    if groups is None:
        return None
    codes = np.asarray(groups)
    if codes.shape != (len(features),) or codes.dtype.kind not in "iu":
        raise InputError(
            f"groups has shape {codes.shape} and dtype {codes.dtype}; expected ({len(features)},) int codes, "
            "negative for rows without a group"
        )
    return codes
