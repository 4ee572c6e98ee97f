"""Counts, means and shared scatter of classes: all that Gaussians with one covariance need, mergeable."""

from __future__ import annotations

from typing import Self

import torch

from tamis.errors import InputError
from tamis.statistics.class_sums import as_codes
from tamis.statistics.probabilities import ArrayLike
from tamis.statistics.row_blocks import feature_block
from tamis.types import FloatArray


class ClassScatter:
    """Rows, mean vector of each class, and the sum of squared deviations from them, in float64.

    State is kept about the means, so a large offset of the features costs no precision. Blocks, workers and
    machines can be merged in any order.

    Parameters
    ----------
    n_classes, n_features : int
        At least 1 each; one class for the mean and covariance of plain rows.
    device : str
        A torch device.

    Attributes
    ----------
    counts : (K,) int64 tensor
    means : (K, d) float64 tensor
        Zero for a class without rows.
    within : (d, d) float64 tensor
        Sum over the rows of ``(x - mean of its class)(x - mean of its class)'``.

    Examples
    --------
    >>> scatter = ClassScatter(2, 1).partial_fit([[0.0], [2.0], [5.0]], [0, 0, 1])
    >>> scatter.merge(ClassScatter(2, 1).partial_fit([[7.0]], [1])).means[:, 0], scatter.within
    (tensor([1., 6.], dtype=torch.float64), tensor([[4.]], dtype=torch.float64))
    >>> scatter.mean, scatter.total
    (tensor([3.5000], dtype=torch.float64), tensor([[29.]], dtype=torch.float64))
    """

    def __init__(self, n_classes: int, n_features: int, *, device: str = "cpu") -> None:
        for name, value in (("n_classes", n_classes), ("n_features", n_features)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.device = device
        self.counts = torch.zeros(n_classes, dtype=torch.int64, device=device)
        self.means = torch.zeros((n_classes, n_features), dtype=torch.float64, device=device)
        self.within = torch.zeros((n_features, n_features), dtype=torch.float64, device=device)

    @property
    def count(self) -> int:
        """Rows seen."""
        return int(self.counts.sum())

    @property
    def mean(self) -> torch.Tensor:
        """(d,) mean of all rows."""
        weights = self.counts.double() / max(1, self.count)
        return weights @ self.means

    @property
    def total(self) -> torch.Tensor:
        """(d, d) sum over the rows of ``(x - mean)(x - mean)'``: within the classes and between them."""
        away = self.means - self.mean
        return self.within + (away * self.counts.double()[:, None]).T @ away

    def partial_fit(
        self, features: FloatArray | torch.Tensor | list[list[float]], labels: ArrayLike | None = None
    ) -> Self:
        """Add rows.

        Parameters
        ----------
        features : (n, d) float
            Finite.
        labels : (n,) int codes 0..K-1, optional
            -1 leaves a row out. May be left away where there is one class.

        Raises
        ------
        InputError
            Shapes or codes do not fit, or a row that is not left out holds NaN or infinity.
        """
        given = torch.tensor(features, dtype=torch.float64) if isinstance(features, list) else features
        rows = feature_block(given, self.means.shape[1], self.device)
        codes = self._codes(labels, len(rows))
        is_bad = (codes >= 0) & ~torch.isfinite(rows).all(dim=1)
        if bool(is_bad.any()):
            row = int(is_bad.nonzero()[0, 0])
            raise InputError(f"features row {row} holds NaN or infinity; leave such rows out (label -1)")
        rows, codes = rows[codes >= 0], codes[codes >= 0]
        if len(rows) == 0:
            return self
        block = ClassScatter(len(self.counts), rows.shape[1], device=self.device)
        block.counts = torch.bincount(codes, minlength=len(self.counts))
        block.means.index_add_(0, codes, rows)
        block.means /= block.counts.clamp(min=1)[:, None]
        rows = rows - block.means[codes]
        block.within = rows.T @ rows
        if not bool(torch.isfinite(block.within).all()):
            raise InputError("features are too large to be squared in float64; divide them by a constant")
        return self.merge(block)

    def merge(self, other: ClassScatter) -> Self:
        """Add the rows of another state, which stays as it is.

        Raises
        ------
        InputError
            Other numbers of classes or features.
        """
        if other.means.shape != self.means.shape:
            raise InputError(
                f"the other state has (classes, features) {tuple(other.means.shape)}, this one "
                f"{tuple(self.means.shape)}; both must be made for the same"
            )
        # Pairwise update of centred sums: Chan, Golub, LeVeque 1979.
        counts, means = other.counts.to(self.device), other.means.to(self.device)
        touched = (counts > 0).nonzero()[:, 0]
        mine, theirs = self.counts[touched].double(), counts[touched].double()
        away = means[touched] - self.means[touched]
        share = theirs / (mine + theirs)
        self.within += other.within.to(self.device) + (away * (mine * share)[:, None]).T @ away
        self.means[touched] += away * share[:, None]
        self.counts = self.counts + counts
        return self

    def reindexed(self, codes: torch.Tensor, n_classes: int) -> ClassScatter:
        """Return a new state of ``n_classes`` classes in which class ``k`` has become ``codes[k]``."""
        grown = ClassScatter(n_classes, self.means.shape[1], device=self.device)
        grown.counts[codes], grown.means[codes] = self.counts, self.means
        grown.within = self.within.clone()
        return grown

    def _codes(self, labels: ArrayLike | None, n_rows: int) -> torch.Tensor:
        if labels is None:
            if len(self.counts) > 1:
                raise InputError(f"labels are missing; there are {len(self.counts)} classes")
            return torch.zeros(n_rows, dtype=torch.int64, device=self.device)
        return as_codes(labels, n_rows, len(self.counts), lowest=-1, device=self.device)
