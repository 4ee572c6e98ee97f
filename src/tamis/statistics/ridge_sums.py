"""Sums from which a ridge regression is solved: one pass over the rows, mergeable in any order."""

from __future__ import annotations

from numbers import Real
from typing import Literal, Self

import numpy as np
import torch

from tamis.errors import InputError
from tamis.statistics.ridge_fit import RidgeFit
from tamis.statistics.row_blocks import feature_block, target_block
from tamis.types import FloatArray, IntArray

SMALLEST_L2 = 1e-10
L2_GRID: tuple[float, ...] = tuple(10.0 ** (step / 4) for step in range(-20, 9))
"""Penalties that "auto" chooses from: 1e-5 to 100, four a decade."""

_CONSTANT = 1e-10
"""A column whose standard deviation is a smaller share of its mean is taken as constant."""


class RidgeSums:
    """Count, means, and centred sums of products of features and targets, all in float64.

    State is kept about the running mean, so a large offset of the features costs no precision. The sums of
    blocks, workers or machines can be merged in any order; the result agrees to about 1e-12.

    Parameters
    ----------
    n_features, n_classes : int
        At least 1 each.
    device : str
        A torch device.

    Attributes
    ----------
    count : int
        Rows seen, without those left out of the fit.
    feature_mean : (d,) float64 tensor
    target_mean : (K,) float64 tensor
    gram : (d, d) float64 tensor
        Sum of ``(x - feature_mean)' (x - feature_mean)``.
    cross : (d, K) float64 tensor
        Sum of ``(x - feature_mean)' (t - target_mean)``.
    target_scatter : float
        Sum of ``|t - target_mean|^2``.

    Examples
    --------
    >>> features, codes = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> sums = RidgeSums(1, 2).partial_fit(features[:2], codes[:2])
    >>> sums.merge(RidgeSums(1, 2).partial_fit(features[2:], codes[2:])).count
    4
    >>> sums.solve(l2=0.01).leave_one_out(features, codes).argmax(axis=1)
    array([0, 0, 1, 1])
    """

    def __init__(self, n_features: int, n_classes: int, *, device: str = "cpu") -> None:
        for name, value in (("n_features", n_features), ("n_classes", n_classes)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.device = device
        self.count = 0
        self.target_scatter = 0.0
        self.feature_mean = torch.zeros(n_features, dtype=torch.float64, device=device)
        self.target_mean = torch.zeros(n_classes, dtype=torch.float64, device=device)
        self.gram = torch.zeros((n_features, n_features), dtype=torch.float64, device=device)
        self.cross = torch.zeros((n_features, n_classes), dtype=torch.float64, device=device)

    def partial_fit(
        self,
        features: FloatArray | torch.Tensor,
        targets: IntArray | FloatArray | torch.Tensor,
    ) -> Self:
        """Add a block of rows.

        Parameters
        ----------
        features : (b, d) float
            Finite, except in rows left out of the fit.
        targets : (b,) int codes or (b, K) float
            Rows with code -1, or with NaN among soft targets, are left out.

        Raises
        ------
        InputError
            Shapes or codes do not fit, or a row of the fit holds NaN or infinity.
        """
        rows = feature_block(features, len(self.feature_mean), self.device)
        soft, is_used = target_block(targets, len(rows), len(self.target_mean), self.device)
        if not bool(is_used.all()):
            rows, soft = rows[is_used], soft[is_used]
        if len(rows) == 0:
            return self
        feature_mean, target_mean = rows.mean(dim=0), soft.mean(dim=0)
        if not bool(torch.isfinite(feature_mean).all()):
            bad = int((~torch.isfinite(rows)).any(dim=1).nonzero()[0, 0]) if len(rows) else 0
            place = int(is_used.nonzero()[bad, 0])
            raise InputError(
                f"features row {place} of the block holds NaN or infinity; "
                "leave such rows out of the fit (code -1)"
            )
        rows, soft = rows.sub_(feature_mean), soft.sub(target_mean)
        self._add(
            len(rows), feature_mean, target_mean, rows.T @ rows, rows.T @ soft, float(soft.square().sum())
        )
        return self

    def merge(self, other: RidgeSums) -> Self:
        """Add the rows of other sums; these stay as they are.

        Raises
        ------
        InputError
            Other numbers of features or classes.
        """
        self._check_like(other)
        self._add(
            other.count,
            other.feature_mean.to(self.device),
            other.target_mean.to(self.device),
            other.gram.to(self.device),
            other.cross.to(self.device),
            other.target_scatter,
        )
        return self

    def without(self, other: RidgeSums) -> RidgeSums:
        """Return new sums over the rows that are in these but not in ``other``, a part of these.

        Raises
        ------
        InputError
            Other numbers of features or classes, or more rows than these.
        """
        self._check_like(other)
        rest = RidgeSums(len(self.feature_mean), len(self.target_mean), device=self.device)
        rest.count = self.count - other.count
        if rest.count < 0:
            raise InputError(
                f"other holds {other.count} rows, these sums {self.count}; remove a part of them"
            )
        if rest.count == 0:
            return rest
        # The formulas of `_add`, solved for one of the parts.
        share = other.count / rest.count
        rest.feature_mean = self.feature_mean + (self.feature_mean - other.feature_mean) * share
        rest.target_mean = self.target_mean + (self.target_mean - other.target_mean) * share
        factor = rest.count * (other.count / self.count)
        by_feature, by_target = other.feature_mean - rest.feature_mean, other.target_mean - rest.target_mean
        rest.gram = self.gram - other.gram - factor * torch.outer(by_feature, by_feature)
        rest.cross = self.cross - other.cross - factor * torch.outer(by_feature, by_target)
        moved = factor * float(by_target.square().sum())
        rest.target_scatter = max(0.0, self.target_scatter - other.target_scatter - moved)
        return rest

    def choose_l2(self) -> float:
        """Return the penalty of `L2_GRID` with the least generalised cross-validation error.

        That error is ``n RSS / (n - trace of the hat matrix)^2``, an approximation of the leave-one-out
        squared error that needs these sums only. The largest of equally good penalties wins.

        Raises
        ------
        InputError
            No rows, or features too large to be squared.

        References
        ----------
        .. [1] G. H. Golub, M. Heath, G. Wahba. "Generalized cross-validation as a method for choosing a
           good ridge parameter", Technometrics 21(2), 1979.
        """
        self._check_solvable()
        scale = self._scale()
        values, vectors = torch.linalg.eigh(self.gram * torch.outer(scale, scale))
        is_real = values > 1e-12 * max(1.0, float(values[-1]))
        values = values[is_real]
        squares = (vectors[:, is_real].T @ (self.cross * scale[:, None])).square().sum(dim=1)
        unexplained = max(0.0, self.target_scatter - float((squares / values).sum()))
        errors: list[float] = []
        for l2 in L2_GRID:
            penalty = l2 * self.count
            shrunk = squares * penalty**2 / (values * (values + penalty) ** 2)
            freedom = self.count - 1.0 - float((values / (values + penalty)).sum())
            # Nearly as many parameters as rows: the quotient would be rounding errors.
            is_saturated = freedom <= 1e-6 * self.count
            errors.append(float("inf") if is_saturated else (unexplained + float(shrunk.sum())) / freedom**2)
        best = min(errors)
        return max(l2 for l2, error in zip(L2_GRID, errors, strict=True) if error <= best * (1 + 1e-9))

    def solve(self, l2: float | Literal["auto"] = "auto", *, like: RidgeFit | None = None) -> RidgeFit:
        """Return the ridge regression on standardised features with penalty ``l2 * count``.

        Parameters
        ----------
        l2 : float or "auto"
            At least 1e-10; "auto" takes `choose_l2`.
        like : RidgeFit, optional
            Take standardisation and penalty from this fit instead: the fit of a part of the rows is then
            what `RidgeFit.leave_group_out` of the other rows means.

        Raises
        ------
        InputError
            No rows, an illegal ``l2``, or features too large to be squared.
        """
        self._check_solvable()
        if like is None:
            scale, penalty = self._scale(), _checked_l2(self.choose_l2() if l2 == "auto" else l2) * self.count
        else:
            scale, penalty = like.scale, like.penalty
        normal = self.gram * torch.outer(scale, scale)
        normal.diagonal().add_(penalty)
        lower = torch.linalg.cholesky(normal)
        weights = torch.cholesky_solve(self.cross * scale[:, None], lower) * scale[:, None]
        identity = torch.eye(len(scale), dtype=torch.float64, device=self.device)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        return RidgeFit(
            count=self.count,
            penalty=penalty,
            feature_mean=self.feature_mean.clone(),
            scale=scale,
            weights=weights,
            target_mean=self.target_mean.clone(),
            whitening=scale[:, None] * inverse.T,
        )

    def _add(
        self,
        count: int,
        feature_mean: torch.Tensor,
        target_mean: torch.Tensor,
        gram: torch.Tensor,
        cross: torch.Tensor,
        target_scatter: float,
    ) -> None:
        # Pairwise update of centred sums: Chan, Golub, LeVeque 1979.
        total = self.count + count
        if count == 0:
            return
        share = count / total
        by_feature, by_target = feature_mean - self.feature_mean, target_mean - self.target_mean
        factor = self.count * share
        self.gram += gram + factor * torch.outer(by_feature, by_feature)
        self.cross += cross + factor * torch.outer(by_feature, by_target)
        self.target_scatter += target_scatter + factor * float(by_target.square().sum())
        self.feature_mean += by_feature * share
        self.target_mean += by_target * share
        self.count = total

    def _scale(self) -> torch.Tensor:
        deviation = (self.gram.diagonal() / max(1, self.count)).clamp(min=0.0).sqrt()
        is_constant = deviation <= _CONSTANT * self.feature_mean.abs()
        return torch.where(is_constant, 0.0, 1.0 / deviation)

    def _check_solvable(self) -> None:
        if self.count == 0:
            raise InputError("no row takes part in the fit; at least one label is needed")
        if not bool(torch.isfinite(self.gram).all()):
            raise InputError("features are too large to be squared in float64; divide them by a constant")

    def _check_like(self, other: RidgeSums) -> None:
        if other.cross.shape != self.cross.shape:
            raise InputError(
                f"other sums have (features, classes) {tuple(other.cross.shape)}, these "
                f"{tuple(self.cross.shape)}; both must be made for the same columns"
            )


def _checked_l2(l2: float) -> float:
    if isinstance(l2, bool) or not isinstance(l2, Real) or not SMALLEST_L2 <= l2 < np.inf:
        raise InputError(f"l2 is {l2!r}; expected a number of at least {SMALLEST_L2:g}, or 'auto'")
    return float(l2)
