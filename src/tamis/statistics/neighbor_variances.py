"""Variances of small classes, corrected by those of similar classes (IAA's neighbour correction)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.class_moments import ClassMoments
from tamis.statistics.labelled_logits import widest
from tamis.statistics.schedules import refuse_rate

_BLOCK = 2**22
"""Distances at a time: 32 MiB in float64."""


@dataclass(frozen=True, kw_only=True)
class NeighborCorrection:
    """How much small classes borrow, and from whom.

    Parameters
    ----------
    n_neighbors : int, default=25
        Classes to borrow from.
    beta : float, default=0.1
        How fast trust in a class's own variance grows with its number of rows.
    gamma : float in [0, 1], default=0.1
        Share of the variance of all classes in what is borrowed.
    tau : float, default=40
        Classes of more rows borrow nothing.
    sigma_mean, sigma_variance : float, default=1.0, 1.0
        Width of the weights over distances of means and of variances; infinity = distances do not matter.
    normalize : {"none", "minmax"}, default="none"
        Distances as they are, or for each class scaled to [0, 1] over those it may borrow from: the widths
        then do not depend on the scale of the embeddings.

    Raises
    ------
    InputError
        A value out of its range.
    """

    n_neighbors: int = 25
    beta: float = 0.1
    gamma: float = 0.1
    tau: float = 40.0
    sigma_mean: float = 1.0
    sigma_variance: float = 1.0
    normalize: Literal["none", "minmax"] = "none"

    def __post_init__(self) -> None:
        """Check the ranges."""
        refuse_rate(self.gamma, "gamma")
        if self.n_neighbors < 1:
            raise InputError(f"n_neighbors is {self.n_neighbors}; expected at least 1 class")
        if not (self.beta >= 0 and self.tau >= 0):
            raise InputError(f"beta is {self.beta} and tau {self.tau}; expected at least 0 each")
        if not (self.sigma_mean > 0 and self.sigma_variance > 0):
            raise InputError(
                f"sigma_mean is {self.sigma_mean}, sigma_variance {self.sigma_variance}; expected above 0"
            )
        if self.normalize not in ("none", "minmax"):
            raise InputError(f"normalize is {self.normalize!r}; expected 'none' or 'minmax'")


class CorrectedVariances(NamedTuple):
    """What `corrected_variances` finds.

    Attributes
    ----------
    corrected : (C, d) float tensor
        What to use.
    borrowed : (C, d) float tensor
        Weighted mean of the variances of the neighbours.
    overall : (d,) float tensor
        Mean variance of all classes with two rows or more, by their rows.
    alpha : (C,) float tensor
        Share of what is borrowed in `corrected`.
    neighbors : (C, K) int64 tensor
        The neighbours of each class, nearest first; -1 where there are fewer.
    """

    corrected: Tensor
    borrowed: Tensor
    overall: Tensor
    alpha: Tensor
    neighbors: Tensor


def borrowing_share(counts: Tensor, beta: float = 0.1, tau: float = 40.0) -> Tensor:
    """Return ``1 / (1 + log(1 + beta (n - 1)))`` for classes of n rows, 0 above ``tau`` of them.

    Parameters
    ----------
    counts : (C,) integer tensor
        A class without rows counts like one with a single row: it borrows everything.

    Returns
    -------
    (C,) float64 tensor in [0, 1]

    Examples
    --------
    >>> borrowing_share(torch.tensor([0, 1, 11, 40, 41])).round(decimals=3)
    tensor([1.0000, 1.0000, 0.5910, 0.3860, 0.0000], dtype=torch.float64)
    """
    share = 1.0 / (1.0 + (beta * widest(counts - 1).clamp(min=0)).log1p())
    return share.where(counts <= tau, share.new_zeros(()))


def corrected_variances(
    moments: ClassMoments, correction: NeighborCorrection | None = None
) -> CorrectedVariances:
    """Return variances of which small classes have borrowed a part from similar ones.

    The K classes whose squared means are nearest lend, those of a single row never; a class that no other
    can lend to takes the variance of all. Means and variances are computed with in float64; the numbering of
    the classes has no part in the result. Time ``O(C^2 d)``, in blocks of rows.

    Parameters
    ----------
    moments : ClassMoments
    correction : NeighborCorrection, optional
        The paper's by default. Made for data of few rows a class; the authors use it above 1,000 classes.

    Returns
    -------
    CorrectedVariances

    References
    ----------
    .. [1] Z. Fu, Z. Mao, B. Hu, A.-A. Liu, Y. Zhang. "Intra-class adaptive augmentation with neighbor
       correction for deep metric learning", IEEE TMM 2022, equations 11 to 16.

    Examples
    --------
    >>> means = torch.tensor([[0.0], [0.1], [5.0]])
    >>> moments = ClassMoments(means, torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([1, 8, 8]))
    >>> found = corrected_variances(moments, NeighborCorrection(n_neighbors=1, gamma=0.0))
    >>> float(found.corrected[0]), found.neighbors[0]  # a single row: the variance of its neighbour
    (2.0, tensor([1]))
    """
    rule = correction or NeighborCorrection()
    order = _canonical_order(moments)
    means, variances = widest(moments.means)[order], widest(moments.variances)[order]
    counts = moments.counts[order]
    rows = counts.to(variances).where(counts > 1, variances.new_zeros(()))  # (C,) weight of each class
    overall = rows @ variances / rows.sum().clamp(min=1.0)
    squares = means.square()
    squares -= squares.mean(dim=0)  # about the centre, so that little cancels in their distances
    borrowed = torch.empty_like(variances)
    neighbors = counts.new_full((len(counts), min(rule.n_neighbors, len(counts) - 1)), -1)
    for block in _blocks(len(counts)):
        near, weights = _neighbors(block, squares, variances, rows, rule)
        total = weights.sum(dim=1, keepdim=True)  # (b, 1), 0 where nobody can lend
        lent = torch.einsum("bk,bkd->bd", weights / total.where(total > 0, 1.0), variances[near])
        borrowed[block] = lent.where(total > 0, overall)
        neighbors[block] = order[near].where(near >= 0, -1)
    alpha = borrowing_share(counts, rule.beta, rule.tau)
    taken = (1.0 - rule.gamma) * borrowed + rule.gamma * overall
    corrected = variances + alpha[:, None] * (taken - variances)
    back = order.argsort()
    return CorrectedVariances(corrected[back], borrowed[back], overall, alpha[back], neighbors[back])


def _neighbors(
    block: slice, squares: Tensor, variances: Tensor, rows: Tensor, rule: NeighborCorrection
) -> tuple[Tensor, Tensor]:
    """Return the nearest lenders of a block of classes, (b, K), and their weights; -1 and 0 for no lender."""
    is_lender = (rows > 0).expand(len(squares[block]), -1).clone()  # (b, C)
    is_lender[:, block].fill_diagonal_(False)
    by_mean = _scaled(_squared_distances(squares[block], squares), is_lender, rule.normalize)
    n_neighbors = min(rule.n_neighbors, len(squares) - 1)
    near = by_mean.masked_fill(~is_lender, torch.inf).topk(n_neighbors, dim=1, largest=False).indices
    lends = is_lender.gather(1, near)
    exponent = -by_mean.gather(1, near) / (2.0 * rule.sigma_mean**2)
    if rule.normalize == "none":
        by_variance = (variances[near] - variances[block][:, None]).square().sum(dim=2)
    else:
        distances = _squared_distances(variances[block], variances)
        by_variance = _scaled(distances, is_lender, rule.normalize).gather(1, near)
    exponent = exponent - by_variance / (2.0 * rule.sigma_variance**2)
    exponent = exponent.masked_fill(~lends, -torch.inf)
    # Without the shift all weights vanish where distances are large; it cancels in the mean.
    shift = exponent.amax(dim=1, keepdim=True) if n_neighbors else exponent.sum(dim=1, keepdim=True)
    weights = (exponent - shift.nan_to_num(neginf=0.0)).exp() * rows[near]
    return near.where(lends, -1), weights


def _squared_distances(block: Tensor, rows: Tensor) -> Tensor:
    """Return (b, C) squared distances, by one product."""
    lengths = block.square().sum(dim=1)[:, None] + rows.square().sum(dim=1)
    return lengths.addmm_(block, rows.T, alpha=-2.0).clamp_(min=0.0)


def _scaled(squared: Tensor, is_lender: Tensor, normalize: str) -> Tensor:
    """Return squared distances; for ``"minmax"`` those of distances scaled to [0, 1] over the lenders."""
    if normalize == "none":
        return squared
    distances = squared.sqrt()
    lowest = distances.masked_fill(~is_lender, torch.inf).amin(dim=1, keepdim=True)
    highest = distances.masked_fill(~is_lender, 0.0).amax(dim=1, keepdim=True)
    spread = highest - lowest  # minus infinity without lenders
    scaled = (distances - lowest) / spread.where(spread > 0, 1.0)
    return scaled.where((spread > 0) & is_lender, 0.0).square()


def _canonical_order(moments: ClassMoments) -> Tensor:
    """Return the classes in an order that their numbers decide, not their codes: ties then fall alike."""
    parts = moments.counts[:, None], moments.means, moments.variances
    keys = torch.cat([part.detach().cpu().double() for part in parts], dim=1)
    table = [row.tobytes() for row in (keys + 0.0).numpy()]  # one zero, not two
    return torch.tensor(sorted(range(len(table)), key=table.__getitem__), device=moments.counts.device)


def _blocks(n_classes: int) -> Iterator[slice]:
    size = max(1, _BLOCK // max(1, n_classes))
    for start in range(0, n_classes, size):
        yield slice(start, min(start + size, n_classes))
