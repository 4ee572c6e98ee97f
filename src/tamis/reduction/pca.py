"""Principal components, with the interface of the learned reductions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from tamis.errors import InputError
from tamis.reduction.reducer import Reducer
from tamis.types import FloatArray

_FEW, _WIDE = 8, 512
"""At most so many components of more columns than this are found one by one (Lanczos)."""


class PCA(Reducer):
    """Keep the directions along which the rows differ most.

    scikit-learn's, in float64, so that the order of rows changes nothing: from the covariance, or, for at
    most 8 components of more than 512 columns, by Lanczos from a fixed start. Takes seconds where `TLDR`
    takes minutes: the first thing to try.

    Parameters
    ----------
    n_components : int, default=32
        1 to the number of columns, and to the number of rows.
    whiten : bool, default=False
        Give every component variance 1.

    Attributes
    ----------
    mean_ : (d,) float64 array
    components_ : (n_components, d) float64 array
        With ``whiten`` already divided by the spread.
    n_features_in_ : int

    Examples
    --------
    >>> rows = np.array([[2.0, 0.0], [-2.0, 0.1], [0.0, -0.1]])
    >>> np.abs(PCA(n_components=1).fit(rows).components_).round()
    array([[1., 0.]])
    """

    mean_: FloatArray
    components_: FloatArray

    def __init__(self, *, n_components: int = 32, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def _learn(self, rows: FloatArray) -> None:
        from sklearn.decomposition import PCA as ExactPCA  # noqa: N811 (a class, named by an abbreviation)

        most = min(rows.shape)
        if isinstance(self.n_components, bool) or self.n_components not in range(1, most + 1):
            raise InputError(
                f"n_components is {self.n_components!r} of {rows.shape} features; use 1 to {most}"
            )
        rows = rows.astype(np.float64)
        n_components, solver = int(self.n_components), "covariance_eigh"
        if (
            n_components <= _FEW
            and n_components < most
            and rows.shape[1] > _WIDE
            and np.ptp(rows, axis=0).any()
        ):
            solver = "arpack"  # a few directions of wide rows, as exact, without all the others
        found = ExactPCA(n_components, svd_solver=solver, random_state=0).fit(rows)
        spread = np.sqrt(np.maximum(found.explained_variance_, 0.0))[:, None]
        # A direction without spread holds nothing but rounding errors: whitening must not blow them up.
        is_flat = spread <= 1e-12 * max(float(spread.max()), np.finfo(np.float64).tiny)
        scale = np.where(is_flat, 0.0, 1.0 / np.where(is_flat, 1.0, spread)) if self.whiten else 1.0
        self.mean_, self.components_ = found.mean_, found.components_ * scale

    def _project(self, rows: FloatArray) -> FloatArray:
        projected: FloatArray = (rows.astype(np.float64) - self.mean_) @ self.components_.T
        return projected

    def _tensors(self) -> Mapping[str, torch.Tensor]:
        return {"mean": torch.from_numpy(self.mean_), "components": torch.from_numpy(self.components_)}

    def _restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.mean_, self.components_ = tensors["mean"].numpy(), tensors["components"].numpy()
