"""A solved ridge regression: predictions, and what it would predict had it not seen a row or a group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.statistics.row_blocks import feature_block, target_block
from tamis.types import FloatArray, IntArray

_BATCH_NUMBERS = 2**21
"""float64 numbers that one batch of small groups may fill (16 MiB)."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Weights of a ridge regression with what its leverages need; made by `RidgeSums.solve`.

    Features are standardised with ``feature_mean`` and ``scale``; the intercept is not penalised. Leaving a
    row or a group out keeps standardisation and penalty as they are, as if both had been given.

    Attributes
    ----------
    count : int
        Rows of the fit.
    penalty : float
        ``l2 * count``: what is added to the diagonal of the standardised Gram matrix.
    feature_mean : (d,) float64 tensor
    scale : (d,) float64 tensor
        One over the standard deviation; 0 for constant columns, which get weight 0.
    weights : (d, K) float64 tensor
        On centred, not yet scaled features.
    target_mean : (K,) float64 tensor
        Prediction for a row of average features.
    whitening : (d, d) float64 tensor
        ``W`` such that a row's leverage is ``1 / count + |(x - feature_mean) W|^2``.
    """

    count: int
    penalty: float
    feature_mean: torch.Tensor
    scale: torch.Tensor
    weights: torch.Tensor
    target_mean: torch.Tensor
    whitening: torch.Tensor

    def predict(self, features: FloatArray | torch.Tensor) -> npt.NDArray[np.float64]:
        """Return the (b, K) predictions of the whole fit; not probabilities, but they sum to one.

        Parameters
        ----------
        features : (b, d) float
            A row with NaN or infinity gets NaN.

        Raises
        ------
        InputError
            Another number of columns.
        """
        return _to_numpy(self._centred(features) @ self.weights + self.target_mean)

    def leave_one_out(
        self,
        features: FloatArray | torch.Tensor,
        targets: IntArray | FloatArray | torch.Tensor,
        groups: IntArray | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return for each row the prediction of the model fitted without it.

        Exact: with leverage ``h``, prediction ``y`` and target ``t`` it is ``(y - h t) / (1 - h)``.

        Parameters
        ----------
        features : (b, d) float
        targets : (b,) int codes or (b, K) float
            As given to the fit. Rows that took no part (-1, NaN) get the plain prediction.
        groups : (b,) int, optional
            See `leave_group_out`.

        Returns
        -------
        (b, K) float64 array
            1 / K everywhere in a row without which the fit would be empty.

        Raises
        ------
        InputError
            Shapes or codes do not fit.

        References
        ----------
        .. [1] R. D. Cook, S. Weisberg. "Residuals and Influence in Regression", 1982, section 2.2.
        """
        if groups is not None:
            return self.leave_group_out(features, targets, groups)
        centred = self._centred(features)
        soft, is_used = target_block(targets, len(centred), self.n_classes, self._device)
        predicted = centred @ self.weights + self.target_mean
        leverage = ((centred @ self.whitening).square().sum(dim=1) + 1.0 / self.count) * is_used
        return _to_numpy(self._without(predicted, soft, leverage))

    def leave_group_out(
        self,
        features: FloatArray | torch.Tensor,
        targets: IntArray | FloatArray | torch.Tensor,
        groups: IntArray,
    ) -> npt.NDArray[np.float64]:
        """Return for each row the prediction of the model fitted without all rows of its group.

        Exact, by a solve of the size of the group. A row that took no part in the fit is also predicted
        without its group.

        Parameters
        ----------
        features : (b, d) float
        targets : (b,) int codes or (b, K) float
            As given to the fit.
        groups : (b,) int
            All rows of a group must be in the block. Negative = a group of its own.

        Returns
        -------
        (b, K) float64 array
            1 / K everywhere in a group without which the fit would be empty.

        Raises
        ------
        InputError
            Shapes or codes do not fit.
        """
        groups = np.asarray(groups)
        answer = self.leave_one_out(features, targets)
        if groups.shape != (len(answer),):
            raise InputError(f"groups has shape {groups.shape}; expected ({len(answer)},), one code a row")
        for rows in _equal_sized_groups(groups, self.whitening.shape[0] + self.n_classes):
            flat = rows.reshape(-1)
            soft, is_used = target_block(targets[flat], len(flat), self.n_classes, self._device)
            centred = self._centred(features[flat])
            predicted = self._jointly(centred, soft, is_used, rows.shape[0])
            answer[flat] = _to_numpy(predicted.reshape(len(flat), -1))
        return answer

    @property
    def n_classes(self) -> int:
        """Number of columns of the targets."""
        return len(self.target_mean)

    @property
    def _device(self) -> str:
        return str(self.feature_mean.device)

    def _centred(self, features: FloatArray | torch.Tensor) -> torch.Tensor:
        return feature_block(features, len(self.feature_mean), self._device).sub_(self.feature_mean)

    def _without(self, predicted: torch.Tensor, soft: torch.Tensor, leverage: torch.Tensor) -> torch.Tensor:
        if self.count == 1:
            return torch.where(leverage[:, None] > 0, 1.0 / self.n_classes, predicted)
        # Leverage is below 1 with a penalty; the bound only guards against rounding.
        rest = (1.0 - leverage).clamp_(min=1e-12)
        return predicted.sub_(soft * leverage[:, None]).div_(rest[:, None])

    def _jointly(
        self, centred: torch.Tensor, soft: torch.Tensor, is_used: torch.Tensor, n_groups: int
    ) -> torch.Tensor:
        # Letters: G groups of s rows. H is the hat matrix of each group, e the residuals without it:
        # e = (I - H)^-1 (t - y) over the rows of the fit, and each row's prediction is y - H e.
        predicted = (centred @ self.weights + self.target_mean).reshape(n_groups, -1, self.n_classes)
        white = (centred @ self.whitening).reshape(n_groups, predicted.shape[1], -1)
        hat = white @ white.mT + 1.0 / self.count  # (G, s, s)
        mask = is_used.double().reshape(n_groups, -1, 1)
        residual = (soft.reshape(predicted.shape) - predicted) * mask
        left = torch.eye(hat.shape[1], dtype=hat.dtype, device=hat.device) - hat * mask * mask.mT
        is_everything = mask.sum(dim=1) >= self.count  # (G, 1)
        # The system of a group that is the whole fit is singular; its answer is not used.
        left += torch.where(is_everything[..., None], 2.0, 0.0)
        outside = torch.linalg.solve(left, residual)
        predicted = predicted - hat @ (outside * mask)
        return torch.where(is_everything[..., None], 1.0 / self.n_classes, predicted)


def _equal_sized_groups(groups: IntArray, width: int) -> Iterator[IntArray]:
    """Yield (G, s) arrays of row numbers: G groups of s > 1 rows each, no more than fit a batch."""
    rows = np.flatnonzero(groups >= 0)
    _, code, counts = np.unique(groups[rows], return_inverse=True, return_counts=True)
    for size in np.unique(counts[counts > 1]):
        chosen = np.flatnonzero(counts[code] == size)
        members = rows[chosen[np.argsort(code[chosen], kind="stable")]].reshape(-1, size)
        step = max(1, _BATCH_NUMBERS // int(size * (2 * size + 2 * width)))
        for start in range(0, len(members), step):
            yield members[start : start + step]


def _to_numpy(values: torch.Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = values.cpu().numpy()
    return array
