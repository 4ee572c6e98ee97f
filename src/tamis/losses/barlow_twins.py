"""Barlow Twins loss: two views of a batch agree in each dimension, and no two dimensions say the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.cosine import without_autocast
from tamis.statistics.labelled_logits import at_least_float32


def cross_correlation(
    first: Tensor, second: Tensor, *, eps: float = 1e-5, batch_size: int | None = None
) -> Tensor:
    """Return the correlation of each dimension of one view with each of the other, over the batch.

    Each dimension is centred and divided by ``sqrt(variance + eps)``, with the biased variance of the batch,
    so a constant dimension correlates with nothing.

    Parameters
    ----------
    first, second : (B, D) float tensor
        Row b of both shows one sample; at least 2 rows.
    eps : float, above 0
    batch_size : int, optional
        Divisor of the sum over rows; B by default. The authors' code divides by the configured size even
        where a batch is smaller.

    Returns
    -------
    (D, D) tensor
        In float32 or better; entry (i, j) belongs to dimension i of ``first`` and j of ``second``.

    Raises
    ------
    InputError
        The shapes differ or are no matrices of floats, a batch of fewer than 2 rows, or a parameter that is
        not above 0.

    Examples
    --------
    >>> import torch
    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> cross_correlation(view, -view).round(decimals=3) + 0.0
    tensor([[-1.,  0.],
            [ 0., -1.]])
    """
    _refuse_views(first, second)
    if not eps > 0 or (batch_size is not None and batch_size < 1):
        raise InputError(f"eps is {eps} and batch_size {batch_size}; expected numbers above 0")
    with without_autocast(first):
        one, other = (
            functional.batch_norm(at_least_float32(view), None, None, training=True, eps=eps)
            for view in (first, second)
        )
        return one.T @ other / (len(first) if batch_size is None else batch_size)


def barlow_twins_loss(
    first: Tensor,
    second: Tensor,
    *,
    off_diagonal_weight: float = 3.9e-3,
    scale: float = 1 / 32,
    eps: float = 1e-5,
    batch_size: int | None = None,
) -> Tensor:
    """Return ``scale (sum_i (C_ii - 1)^2 + off_diagonal_weight sum_(i != j) C_ij^2)``.

    ``C`` is the `cross_correlation` of the two views. The first sum makes them agree, the second makes each
    dimension say something of its own, which rules out the constant answer without negative pairs.

    Parameters
    ----------
    first, second : (B, D) float tensor
        Row b of both shows one sample; at least 2 rows.
    off_diagonal_weight, scale : float, at least 0
    eps : float, above 0
        Added to the variances of the batch.
    batch_size : int, optional
        As for `cross_correlation`.

    Returns
    -------
    scalar tensor

    Raises
    ------
    InputError
        As for `cross_correlation`, or a negative weight.

    References
    ----------
    .. [1] J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny. "Barlow Twins: Self-Supervised Learning via
       Redundancy Reduction", ICML 2021.
    .. [2] Y. Kalantidis, C. Lassance, J. Almazan, D. Larlus. "TLDR: Twin Learning for Dimensionality
       Reduction", TMLR 2022.

    Examples
    --------
    >>> import torch
    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins_loss(view, view)), 5), round(float(barlow_twins_loss(view, -view)), 5)
    (0.0, 0.25)
    """
    _refuse_weights(off_diagonal_weight, scale)
    correlation = cross_correlation(first, second, eps=eps, batch_size=batch_size)
    width = len(correlation)
    # Without its last entry the matrix is D - 1 rows of D + 1 numbers, each beginning with a diagonal one.
    off_diagonal = correlation.flatten()[:-1].view(width - 1, width + 1)[:, 1:]
    disagreement = (correlation.diagonal() - 1.0).square().sum()
    return scale * (disagreement + off_diagonal_weight * off_diagonal.square().sum())


class BarlowTwinsLoss(nn.Module):
    """`barlow_twins_loss` with its parameters.

    Parameters
    ----------
    off_diagonal_weight : float, default=3.9e-3
    scale : float, default=1/32
    eps : float, default=1e-5

    Raises
    ------
    InputError
        A parameter out of its range.

    Examples
    --------
    In a training loop of your own:

    >>> import torch
    >>> network = nn.Linear(6, 3)
    >>> view, other_view = torch.eye(6), torch.eye(6).roll(1, dims=0)
    >>> BarlowTwinsLoss()(network(view), network(other_view)).backward()
    """

    def __init__(
        self, *, off_diagonal_weight: float = 3.9e-3, scale: float = 1 / 32, eps: float = 1e-5
    ) -> None:
        super().__init__()
        _refuse_weights(off_diagonal_weight, scale)
        if not eps > 0:
            raise InputError(f"eps is {eps}; expected a small number above 0, such as 1e-5")
        self.off_diagonal_weight = off_diagonal_weight
        self.scale = scale
        self.eps = eps

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two views of a batch, each (B, D)."""
        return barlow_twins_loss(
            first, second, off_diagonal_weight=self.off_diagonal_weight, scale=self.scale, eps=self.eps
        )


def _refuse_views(first: Tensor, second: Tensor) -> None:
    is_matrix = first.ndim == 2 and first.is_floating_point() and second.is_floating_point()
    if not is_matrix or first.shape != second.shape or first.shape[1] == 0:
        raise InputError(
            f"the views have shapes {tuple(first.shape)} and {tuple(second.shape)}, types {first.dtype} "
            f"and {second.dtype}; expected two float tensors of one shape (B, D), row b of both one sample"
        )
    if len(first) < 2:
        raise InputError(
            f"the batch has {len(first)} rows; correlations over a batch need at least 2: drop a last, "
            "smaller batch"
        )


def _refuse_weights(off_diagonal_weight: float, scale: float) -> None:
    if not (off_diagonal_weight >= 0 and scale >= 0):
        raise InputError(
            f"off_diagonal_weight is {off_diagonal_weight} and scale {scale}; expected numbers of at least 0"
        )
