"""Classes that are one, and classes that are two: cosines between class centres freed from their spread."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tamis.statistics.membership import mean_cosine

_ROUNDS = 12
_FEWEST = 3
"""Members on each side: with fewer the spread cannot be told."""


class ClassPairs(NamedTuple):
    """Pairs of classes, the likest first.

    Attributes
    ----------
    first, second : (p,) int64 tensor
    likeness : (p,) float64 tensor
        Estimated cosine between the two centres: mean cosine between members of the two over the geometric
        mean of the mean cosines within them. 1 = one centre; with few members it may exceed 1.
    """

    first: torch.Tensor
    second: torch.Tensor
    likeness: torch.Tensor


class ClassHalves(NamedTuple):
    """Each class cut in two.

    Attributes
    ----------
    side : (n,) bool tensor
        True: second half, the smaller one.
    likeness : (C,) float64 tensor
        As of pairs, between the halves; 1 where a half has fewer than three members.
    coherence : (C,) float64 tensor
        Root of the mean cosine within the looser half.
    """

    side: torch.Tensor
    likeness: torch.Tensor
    coherence: torch.Tensor


@torch.no_grad()
def alike_classes(
    sums: torch.Tensor,
    weights: torch.Tensor,
    squares: torch.Tensor,
    *,
    least: float,
    least_spread: float = 0.0,
    block: int = 4096,
) -> ClassPairs:
    """Return pairs of classes, each the likest to the other, whose members are as alike between as within.

    Parameters
    ----------
    sums : (C, d) float64 tensor
        Of weighted unit rows.
    weights, squares : (C,) float64 tensor
        Sums of the weights and of their squares.
    least : float
        Likeness from which a pair is listed.
    least_spread : float
        Classes with a lower root of the mean cosine between members (`mean_cosine`) take no part: theirs
        cannot be told from none.
    block : int
        Classes at a time: never all pairs at once.

    Examples
    --------
    >>> sums = torch.tensor([[4.0, 0.0], [3.0, 1.0], [0.0, 4.0]], dtype=torch.float64)
    >>> ones = torch.full((3,), 4.0, dtype=torch.float64)
    >>> found = alike_classes(sums, ones, ones, least=0.7)
    >>> found.first, found.second
    (tensor([0]), tensor([1]))
    """
    spread = mean_cosine(sums.square().sum(1), weights, squares)
    scaled = sums / (weights.clamp(min=1e-9) * spread)[:, None]
    is_told = (weights >= _FEWEST) & (spread >= least_spread)
    value = sums.new_full((len(sums),), -torch.inf)
    partner = torch.full((len(sums),), -1, dtype=torch.int64)
    for start in range(0, len(sums), block):
        rows = slice(start, start + block)
        for first in range(0, len(sums), block):
            columns = slice(first, first + block)
            found = scaled[rows] @ scaled[columns].T
            found = found.masked_fill(~is_told[columns], -torch.inf)
            if first == start:
                found.fill_diagonal_(-torch.inf)
            top = found.max(dim=1)
            is_better = top.values > value[rows]
            value[rows] = torch.where(is_better, top.values, value[rows])
            partner[rows] = torch.where(is_better, top.indices + first, partner[rows])
    own = torch.arange(len(sums))
    is_mutual = (partner >= 0) & (partner[partner] == own) & (own < partner)
    chosen = (is_mutual & is_told & (value >= least)).nonzero()[:, 0]
    chosen = chosen[value[chosen].argsort(descending=True, stable=True)]
    return ClassPairs(chosen, partner[chosen], value[chosen])


@torch.no_grad()
def halved_classes(units: torch.Tensor, codes: torch.Tensor, n_classes: int) -> ClassHalves:
    """Cut every class in two by two-means on the sphere, all classes at once.

    The cut starts along the direction of the widest spread, found by power iteration from the member that is
    farthest from the centre.

    Parameters
    ----------
    units : (n, d) float64 tensor
    codes : (n,) int64 tensor
    n_classes : int

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [0.1, 1.0], [0.0, 1.0], [-0.1, 1.0]])
    >>> x = (x / x.norm(dim=1, keepdim=True)).double()
    >>> found = halved_classes(x, torch.zeros(6, dtype=torch.int64), 1)
    >>> found.side.sum(), found.likeness.round(decimals=2)
    (tensor(3), tensor([0.], dtype=torch.float64))
    """
    counts = torch.bincount(codes, minlength=n_classes).clamp(min=1).double()
    centres = units.new_zeros(n_classes, units.shape[1]).index_add_(0, codes, units) / counts[:, None]
    residuals = units - centres[codes]
    far = units.new_full((n_classes,), -1.0).scatter_reduce(0, codes, residuals.square().sum(1), "amax")
    is_far = residuals.square().sum(1) == far[codes]
    # The first of several that are equally far: opposite ones would cancel out.
    row = torch.where(is_far, torch.arange(len(codes)), len(codes))
    first = torch.full((n_classes,), len(codes)).scatter_reduce(0, codes, row, "amin")
    axis = residuals[first.clamp(max=max(0, len(codes) - 1))]
    for _ in range(_ROUNDS):
        along = (residuals * axis[codes]).sum(1)
        axis = torch.zeros_like(axis).index_add_(0, codes, along[:, None] * residuals)
        axis = torch.nn.functional.normalize(axis, dim=1)
    side = (residuals * axis[codes]).sum(1) > 0
    for _ in range(_ROUNDS):
        halves = codes * 2 + side.long()
        sums = units.new_zeros(2 * n_classes, units.shape[1]).index_add_(0, halves, units)
        directions = torch.nn.functional.normalize(sums, dim=1)
        nearness = [(units * directions[codes * 2 + number]).sum(1) for number in range(2)]
        moved = nearness[1] > nearness[0]
        if bool((moved == side).all()):
            break
        side = moved
    return _measured(units, codes, side, n_classes)


def _measured(units: torch.Tensor, codes: torch.Tensor, side: torch.Tensor, n_classes: int) -> ClassHalves:
    halves = codes * 2 + side.long()
    counts = torch.bincount(halves, minlength=2 * n_classes).double()
    sums = units.new_zeros(2 * n_classes, units.shape[1]).index_add_(0, halves, units)
    spread = mean_cosine(sums.square().sum(1), counts, counts).reshape(-1, 2)
    means = (sums / counts.clamp(min=1)[:, None]).reshape(n_classes, 2, -1)
    likeness = (means[:, 0] * means[:, 1]).sum(1) / spread.prod(dim=1)
    counts = counts.reshape(-1, 2)
    is_fair = counts.amin(dim=1) >= _FEWEST
    smaller_is_first = counts[:, 0] < counts[:, 1]
    return ClassHalves(
        side ^ smaller_is_first[codes],
        torch.where(is_fair, likeness.clamp(-1.0, 1.0), 1.0),
        torch.where(is_fair, spread.amin(dim=1), 0.0),
    )
