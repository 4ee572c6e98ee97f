"""Class prototypes out of sample: how near a row is to the mean direction of each class without its fold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.statistics.row_blocks import feature_block
from tamis.types import FloatArray, IntArray

_BLOCK_ROWS = 8192


def prototype_cosines(features: FloatArray, targets: FloatArray, folds: IntArray) -> npt.NDArray[np.float32]:
    """Return the cosine of every row with the mean direction of each class over the other folds.

    Nothing is fitted but one sum of unit rows a class, so it stays reliable where a class has fewer rows
    than the data have features, and wrong labels only shorten the sum.

    Parameters
    ----------
    features : (n, d) float
        Finite. Scaled to unit length here; rows of zeros have cosine 0 with everything.
    targets : (n, K) float
        Share of each class in a row, 0 to 1: one-hot labels or posteriors.
    folds : (n,) int
        At least two different folds; rows of one fold never vouch for each other.

    Returns
    -------
    (n, K) float32 array
        In [-1, 1]; 0 for a class without members outside the fold.

    Raises
    ------
    InputError
        Lengths differ, or there are fewer than two folds.

    Examples
    --------
    >>> features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    >>> prototype_cosines(features, np.eye(2)[[0, 0, 1, 1]], np.array([0, 1, 0, 1]))
    array([[1., 0.],
           [1., 0.],
           [0., 1.],
           [0., 1.]], dtype=float32)
    """
    if not len(features) == len(targets) == len(folds):
        raise InputError(
            f"features has {len(features)} rows, targets {len(targets)} and folds {len(folds)}; "
            "they must match"
        )
    names = np.unique(folds)
    if len(names) < 2:
        raise InputError(f"folds holds {len(names)} different folds; scores out of sample need at least 2")
    place = torch.from_numpy(np.searchsorted(names, folds))
    sums = torch.zeros(len(names), targets.shape[1], features.shape[1], dtype=torch.float64)  # (F, K, d)
    for rows in _blocks(len(features)):
        unit, soft = _unit_rows(features[rows]), torch.from_numpy(np.asarray(targets[rows], dtype=np.float64))
        for fold in range(len(names)):
            mine = place[rows] == fold
            sums[fold] += soft[mine].T @ unit[mine]
    outside = sums.sum(0) - sums
    directions = torch.nn.functional.normalize(outside, dim=2, eps=1e-12)
    result = np.empty(targets.shape, dtype=np.float32)
    for rows in _blocks(len(features)):
        unit = _unit_rows(features[rows])
        for fold in range(len(names)):
            mine = place[rows] == fold
            result[rows][mine.numpy()] = (unit[mine] @ directions[fold].T).numpy()
    return result


def _blocks(n_rows: int) -> list[slice]:
    return [slice(start, min(n_rows, start + _BLOCK_ROWS)) for start in range(0, n_rows, _BLOCK_ROWS)]


def _unit_rows(features: FloatArray) -> torch.Tensor:
    rows = feature_block(features, features.shape[1], "cpu")
    return torch.nn.functional.normalize(rows.double(), dim=1, eps=1e-30)
