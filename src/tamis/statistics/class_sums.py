"""Sums of unit vectors per class: all that prototype scores need to know about the rows seen."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from tamis.errors import InputError
from tamis.statistics.probabilities import ArrayLike

_USUAL = 1e15
"""Lengths up to this, and down to one over it, have squares that neither overflow nor vanish in float32."""


def unit_rows(embeddings: torch.Tensor) -> torch.Tensor:
    """Return rows scaled to length 1, without gradient; rows of zeros, NaN or infinity become zeros.

    Parameters
    ----------
    embeddings : (n, d) tensor
        Half precision is widened to float32.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [float("nan"), 1.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000],
            [0.0000, 0.0000]])
    """
    return fit_unit_rows(embeddings)[0]


def fit_unit_rows(embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `unit_rows` returns, and which rows hold neither NaN nor infinity, (n,) bool.

    Examples
    --------
    >>> fit_unit_rows(torch.tensor([[0.0, 0.0], [float("nan"), 1.0]]))[1]
    tensor([ True, False])
    """
    rows = embeddings.detach()
    rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    is_usual = (length > 1.0 / _USUAL) & (length < _USUAL)  # NaN is not
    if bool(is_usual.all()):
        return rows / length, is_usual[:, 0]
    units, is_fit = _extreme_unit_rows(rows)
    return torch.where(is_usual, rows / length, units), is_fit


def _extreme_unit_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    largest = rows.abs().amax(dim=1, keepdim=True)
    is_fit = largest < torch.inf  # NaN in a row makes its largest entry NaN
    rows, largest = torch.where(is_fit, rows, 0.0), torch.where(is_fit, largest, 0.0)
    # Division by the largest entry first: squares of extreme values would overflow or vanish.
    tiny = torch.finfo(rows.dtype).tiny
    scaled = rows / largest.clamp_(min=tiny)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt_().clamp_(min=tiny)
    return scaled.div_(length), is_fit[:, 0]


class ClassSums:
    """Sum and number of the unit vectors of each class; rows can be added, removed and merged.

    The mean resultant vector of a class, its length and its direction follow from these two.

    Parameters
    ----------
    n_classes, n_features : int
        At least 1 each.
    dtype : torch.dtype
        float64, or float32 where float64 is slow (scores then agree to about 1e-6 only).
    device : str or torch.device

    Attributes
    ----------
    sums : (K, d) tensor
        Exactly zero for a class without rows.
    counts : (K,) int64 tensor
        Rows of each class; a row of zeros, which has no direction, counts too.

    Examples
    --------
    >>> sums = ClassSums(2, 2).partial_fit([[2.0, 0.0], [0.0, 3.0]], [0, 0])
    >>> sums.means[0], sums.merge(ClassSums(2, 2).partial_fit([[1.0, 0.0]], [1])).counts
    (tensor([0.5000, 0.5000], dtype=torch.float64), tensor([2, 1]))
    """

    def __init__(
        self,
        n_classes: int,
        n_features: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        for name, value in (("n_classes", n_classes), ("n_features", n_features)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype is {dtype}; sums need torch.float64 or torch.float32")
        self.sums = torch.zeros((n_classes, n_features), dtype=dtype, device=device)
        self.counts = torch.zeros(n_classes, dtype=torch.int64, device=device)

    @property
    def n_classes(self) -> int:
        """Number of classes, those without rows too."""
        return int(self.sums.shape[0])

    @property
    def n_features(self) -> int:
        """Length of the vectors."""
        return int(self.sums.shape[1])

    @property
    def means(self) -> torch.Tensor:
        """(K, d) mean unit vectors, not of unit length themselves; zero for a class without rows."""
        return self.sums / self.counts.clamp(min=1)[:, None]

    @property
    def is_present(self) -> torch.Tensor:
        """(K,) bool, True where a class has rows."""
        return self.counts > 0

    def partial_fit(self, features: ArrayLike, labels: ArrayLike) -> Self:
        """Add rows.

        Parameters
        ----------
        features : (n, d) float
            Finite; scaled to unit length here.
        labels : (n,) int
            Codes 0..K-1; -1 leaves a row out.

        Raises
        ------
        InputError
            Shapes or codes do not fit, or a row that is not left out holds NaN or infinity.
        """
        units, codes = self._checked(features, labels)
        self.sums.index_add_(0, codes, units)
        self.counts += torch.bincount(codes, minlength=self.n_classes)
        return self

    def remove(self, features: ArrayLike, labels: ArrayLike) -> Self:
        """Take out rows that were added before, given exactly as they were then.

        Raises
        ------
        InputError
            As for `partial_fit`, or more rows of a class than it has.
        """
        units, codes = self._checked(features, labels)
        counts = self.counts - torch.bincount(codes, minlength=self.n_classes)
        if bool((counts < 0).any()):
            worst = int(counts.argmin())
            raise InputError(
                f"class {worst} has {int(self.counts[worst])} rows, "
                f"{int(self.counts[worst] - counts[worst])} of them were to be removed; "
                "remove only rows that were added"
            )
        self.sums.index_add_(0, codes, units, alpha=-1)
        self.sums[counts == 0] = 0.0
        self.counts = counts
        return self

    def merge(self, other: ClassSums) -> Self:
        """Add the rows of other sums, which stay as they are.

        Raises
        ------
        InputError
            Other numbers of classes or features.
        """
        if other.sums.shape != self.sums.shape:
            raise InputError(
                f"other sums have (classes, features) {tuple(other.sums.shape)}, these "
                f"{tuple(self.sums.shape)}; both must be made for the same"
            )
        self.sums += other.sums.to(self.sums)
        self.counts += other.counts.to(self.counts.device)
        return self

    def reindexed(self, codes: torch.Tensor, n_classes: int) -> ClassSums:
        """Return new sums of ``n_classes`` classes in which class ``k`` has become ``codes[k]``."""
        grown = ClassSums(n_classes, self.n_features, dtype=self.sums.dtype, device=self.sums.device)
        grown.sums[codes], grown.counts[codes] = self.sums, self.counts
        return grown

    def _checked(self, features: ArrayLike, labels: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
        rows = as_rows(features, self)
        codes = as_codes(labels, len(rows), self.n_classes, lowest=-1, device=self.sums.device)
        is_used = codes >= 0
        is_bad = is_used & ~torch.isfinite(rows).all(dim=1)
        if bool(is_bad.any()):
            row = int(is_bad.nonzero()[0, 0])
            raise InputError(f"features row {row} holds NaN or infinity; leave such rows out (label -1)")
        return unit_rows(rows[is_used]), codes[is_used]


def as_rows(features: ArrayLike, sums: ClassSums) -> torch.Tensor:
    """Return features as an (n, d) tensor in the dtype and on the device of ``sums``, without gradient.

    Raises
    ------
    InputError
        Not a table of real numbers with as many columns as ``sums``.
    """
    try:
        rows = features.detach() if isinstance(features, torch.Tensor) else np.asarray(features)
    except ValueError as error:
        raise InputError(f"features is not a table of numbers ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != sums.n_features:
        raise InputError(f"features has shape {tuple(rows.shape)}; expected (rows, {sums.n_features})")
    is_real = not rows.is_complex() if isinstance(rows, torch.Tensor) else rows.dtype.kind in "fiub"
    if not is_real:
        raise InputError(f"features has dtype {rows.dtype}; expected real numbers")
    if isinstance(rows, np.ndarray):
        # A read-only array (a memory map) must not become a writable tensor: only then is it copied.
        kind = np.float32 if rows.dtype.kind == "f" and rows.dtype.itemsize <= 4 else np.float64
        rows = torch.from_numpy(np.require(rows, dtype=kind, requirements=["C", "W"]))
    return rows.to(dtype=sums.sums.dtype, device=sums.sums.device)


def as_codes(
    labels: ArrayLike,
    n_rows: int,
    n_classes: int,
    *,
    lowest: int = 0,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return class codes as an (n,) int64 tensor.

    Raises
    ------
    InputError
        Another number of labels than rows, no whole numbers, or codes outside ``lowest`` .. K-1.
    """
    codes = labels if isinstance(labels, torch.Tensor) else torch.as_tensor(np.asarray(labels))
    if codes.shape == (0,):
        codes = codes.long()
    if codes.shape != (n_rows,) or codes.is_floating_point() or codes.is_complex():
        raise InputError(
            f"labels has shape {tuple(codes.shape)} and dtype {codes.dtype}; expected ({n_rows},) int codes"
        )
    codes = codes.to(device=device, dtype=torch.int64)
    if not len(codes):
        return codes
    least, most = codes.aminmax()
    if int(least) < lowest or int(most) >= n_classes:
        row = int(((codes < lowest) | (codes >= n_classes)).nonzero()[0, 0])
        raise InputError(f"labels row {row} is {int(codes[row])}; legal are {lowest} to {n_classes - 1}")
    return codes
