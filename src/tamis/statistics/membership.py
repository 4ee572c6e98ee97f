"""How well rows fit classes of few members, each row taken out first: the features of a misfit model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_LEAST_SPREAD = 0.05
_BLOCK_ROWS = 8192  # whatever else is blocked: a sum does not depend on it but for rounding
_N_BEST = 3
"""Two classes may be ruled out (the one looked at, the given one); one more must be left."""


@dataclass(frozen=True)
class ClassPrototypes:
    """Weighted sums of unit rows by class, and what each row adds to its own.

    Attributes
    ----------
    units : (n, d) float64 tensor
        Centred rows of length 1.
    codes : (n,) int64 tensor
        Their classes, 0..C-1.
    trust : (n,) float64 tensor
        Weight of each row in the sums.
    groups : (n,) int64 tensor
        Rows with the same number leave their class together.
    group_sums : (G, d) float64 tensor or None
        What each group puts into its class; None where every row is its own group.
    own_weight : (n,) float64 tensor
        The weights in it.
    own_square : (n,) float64 tensor
        Their squares.
    sums : (C, d) float64 tensor
    weights, squares : (C,) float64 tensor
        Sums of the weights, and of their squares.
    """

    units: torch.Tensor
    codes: torch.Tensor
    trust: torch.Tensor
    groups: torch.Tensor
    group_sums: torch.Tensor | None
    own_weight: torch.Tensor
    own_square: torch.Tensor
    sums: torch.Tensor
    weights: torch.Tensor
    squares: torch.Tensor

    def own(self, start: int, stop: int) -> torch.Tensor:
        """Return (b, d), what some rows and their groups put into their classes."""
        if self.group_sums is None:
            return self.units[start:stop] * self.trust[start:stop, None]
        return self.group_sums[self.groups[start:stop]]


def class_prototypes(
    units: torch.Tensor, codes: torch.Tensor, n_classes: int, weights: torch.Tensor, groups: torch.Tensor
) -> ClassPrototypes:
    """Sum the rows of each class.

    Parameters
    ----------
    units : (n, d) float64 tensor
    codes : (n,) int64 tensor
    n_classes : int
    weights : (n,) float64 tensor
        Trust in each row, 0 to 1.
    groups : (n,) int64 tensor
        Rows with the same number never vouch for each other; 0..G-1, rows of different classes have
        different numbers.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> found = class_prototypes(x, torch.tensor([0, 0]), 1, torch.ones(2).double(), torch.tensor([0, 1]))
    >>> found.sums, found.weights
    (tensor([[1., 1.]], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """
    squared = weights.square()
    n_groups = int(groups.max()) + 1
    alone, square, group_sums = weights, squared, None
    if n_groups < len(units):
        group_sums = _weighted_sums(units, groups, n_groups, weights)
        alone = weights.new_zeros(n_groups).index_add_(0, groups, weights)[groups]
        square = weights.new_zeros(n_groups).index_add_(0, groups, squared)[groups]
    return ClassPrototypes(
        units=units,
        codes=codes,
        trust=weights,
        groups=groups,
        group_sums=group_sums,
        own_weight=alone,
        own_square=square,
        sums=_weighted_sums(units, codes, n_classes, weights),
        weights=weights.new_zeros(n_classes).index_add_(0, codes, weights),
        squares=weights.new_zeros(n_classes).index_add_(0, codes, squared),
    )


def _weighted_sums(
    units: torch.Tensor, codes: torch.Tensor, n_classes: int, weights: torch.Tensor
) -> torch.Tensor:
    sums = units.new_zeros(n_classes, units.shape[1])
    for start in range(0, len(units), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        sums.index_add_(0, codes[rows], units[rows] * weights[rows, None])
    return sums


def best_classes(
    prototypes: ClassPrototypes, start: int, stop: int, class_block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest prototypes of some rows: (b, 3) cosines and classes, best first, own left out of."""
    units, codes = prototypes.units[start:stop], prototypes.codes[start:stop]
    rest = prototypes.sums[codes] - prototypes.own(start, stop)
    own = _ratio((units * rest).sum(1), rest.norm(dim=1))
    values = units.new_full((len(units), 0), 0.0)
    classes = codes.new_zeros((len(units), 0))
    n_classes = len(prototypes.sums)
    for first in range(0, n_classes, class_block):
        last = min(first + class_block, n_classes)
        sums = prototypes.sums[first:last]
        cosines = _ratio(units @ sums.T, sums.norm(dim=1))  # (b, last - first)
        inside = ((codes >= first) & (codes < last)).nonzero()[:, 0]
        cosines[inside, codes[inside] - first] = own[inside]
        top = cosines.topk(min(_N_BEST, last - first), dim=1)
        values = torch.cat([values, top.values], dim=1)
        classes = torch.cat([classes, top.indices + first], dim=1)
        kept = values.topk(min(_N_BEST, values.shape[1]), dim=1)
        values, classes = kept.values, classes.gather(1, kept.indices)
    return values, classes


def membership_features(
    prototypes: ClassPrototypes,
    start: int,
    stop: int,
    looked_at: torch.Tensor,
    is_open: torch.Tensor,
    best: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return what speaks for each class that a row might carry, (b, p, 3).

    The three are the cosine with the class's prototype as if the row were a member with full trust, the
    mean cosine among the others of the class (its spread), and the cosine with the best other class.

    Parameters
    ----------
    prototypes : ClassPrototypes
    start, stop : int
        Rows.
    looked_at : (b, p) int64 tensor
        Classes to look at; the first column is the given class.
    is_open : (p,) bool tensor
        Columns where the given class does not count among the others: as if the true class were unknown.
    best : pair of (b, 3) tensors
        From `best_classes`.
    """
    units, codes = prototypes.units[start:stop], prototypes.codes[start:stop]
    is_own = (looked_at == codes[:, None]).double()  # (b, p)
    with_class = torch.stack(
        [(units * prototypes.sums[column]).sum(1) for column in looked_at.unbind(1)], dim=1
    )
    own = prototypes.own(start, stop)
    lengths = prototypes.sums.square().sum(1)[looked_at]
    dot = with_class - is_own * (units * own).sum(1, keepdim=True)
    rest = prototypes.sums[codes] - own
    square = torch.where(is_own > 0, rest.square().sum(1, keepdim=True), lengths)
    length = units.square().sum(1, keepdim=True)
    cosine = _ratio(dot + length, (square + 2 * dot + length).clamp(min=0).sqrt())
    weight = prototypes.weights[looked_at] - is_own * prototypes.own_weight[start:stop, None]
    squares = prototypes.squares[looked_at] - is_own * prototypes.own_square[start:stop, None]
    spread = mean_cosine(square, weight, squares)
    values, classes = best
    is_out = classes[:, None, :] == looked_at[:, :, None]
    is_out |= (classes == codes[:, None])[:, None, :] & is_open[None, :, None]
    other = torch.where(is_out, -1.0, values[:, None, :]).amax(dim=2)
    return torch.stack([cosine, spread, other], dim=2)


def mean_cosine(square: torch.Tensor, weight: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Return the root of the mean cosine between different members, from squared lengths of class sums.

    Parameters
    ----------
    square : tensor
        Squared length of the sum of weighted unit rows.
    weight, squares : tensor
        Sums of the weights and of their squares.

    Returns
    -------
    tensor
        The length that the mean would have with endless members, at least 0.05.

    Examples
    --------
    >>> mean_cosine(torch.tensor([4.0, 2.0]), torch.tensor([2.0, 2.0]), torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.0500])
    """
    pairs = (weight.square() - squares).clamp(min=1e-9)
    found = torch.where(weight.square() - squares > 1e-9, (square - squares) / pairs, 0.0)
    return found.clamp(_LEAST_SPREAD**2, 1.0).sqrt()


def _ratio(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return values / torch.where(lengths > 1e-12, lengths, torch.inf)
