"""How similar the members of classes are: means over pairs of two classes or of one, and the least of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from tamis.memory_budget import rows_per_block
from tamis.statistics.class_sums import as_codes
from tamis.statistics.labelled_logits import widest

PairSimilarity: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(A, d) and (B, d) points -> (A, B) similarities."""


@torch.no_grad()
def class_similarities(
    points: Tensor, labels: Tensor, n_classes: int, *, similarity: PairSimilarity | None = None
) -> Tensor:
    """Return the mean similarity of the pairs of every two classes, and within each class.

    Parameters
    ----------
    points : (N, d) float tensor
    labels : (N,) integer tensor
        Codes 0..K-1.
    n_classes : int
    similarity : callable, optional
        ``similarity(left, right)``, symmetric. By default the dot product, for which one sum a class stands
        for all its pairs: O(N d + K^2 d) instead of O(N^2 d).

    Returns
    -------
    (K, K) tensor
        Symmetric, float64; NaN for a class without members, and on the diagonal for a class with one.
        No gradient.

    Raises
    ------
    InputError
        A label is no class, or there is not one for every point.

    Examples
    --------
    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> class_similarities(points, torch.tensor([0, 0, 1]), 2)
    tensor([[0.0000, 0.7000],
            [0.7000,    nan]], dtype=torch.float64)
    """
    codes = as_codes(labels, len(points), n_classes, device=points.device)
    counts = widest(torch.bincount(codes, minlength=n_classes))
    if similarity is None:
        sums, self_sums = _dot_sums(points, codes, n_classes)
    else:
        sums, self_sums = _pair_sums(points, codes, n_classes, similarity)
    n_pairs = counts[:, None] * counts - torch.diag(counts)
    means = (sums - torch.diag(self_sums)) / n_pairs
    # Of no pairs what is left is rounding, not exactly 0.
    return means.masked_fill(n_pairs == 0, torch.nan)


@torch.no_grad()
def least_class_similarities(
    points: Tensor, labels: Tensor, n_classes: int, *, similarity: PairSimilarity | None = None
) -> Tensor:
    """Return the similarity of the least similar pair of each class.

    Parameters
    ----------
    points, labels, n_classes, similarity
        As for `class_similarities`. Time grows with the squares of the class sizes.

    Returns
    -------
    (K,) tensor
        NaN for classes with less than two members. No gradient.

    Raises
    ------
    InputError
        A label is no class, or there is not one for every point.

    Examples
    --------
    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> least_class_similarities(points, torch.tensor([0, 0, 1]), 2)
    tensor([0., nan])
    """
    codes = as_codes(labels, len(points), n_classes, device=points.device)
    least = points.new_full((n_classes,), torch.nan)
    counts = torch.bincount(codes, minlength=n_classes)
    ends, order = counts.cumsum(0).tolist(), codes.argsort(stable=True)
    for code in (counts > 1).nonzero()[:, 0].tolist():
        own = points[order[ends[code] - int(counts[code]) : ends[code]]]
        lows = []
        for start, block in _blocks(own, len(own)):
            pairs = _similarities(block, own, similarity)  # (b, n)
            # The pair of a row with itself lies on a diagonal that begins at the block.
            pairs.diagonal(start).fill_(torch.inf)
            lows.append(pairs.amin())
        least[code] = torch.stack(lows).amin()
    return least


def _similarities(left: Tensor, right: Tensor, similarity: PairSimilarity | None) -> Tensor:
    if similarity is not None:
        return similarity(left, right)
    with torch.autocast(left.device.type, enabled=False):
        return left @ right.T


def _dot_sums(points: Tensor, codes: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Return the sums over all pairs of two classes, and over those of a row with itself."""
    rows = widest(points)
    sums = rows.new_zeros(n_classes, rows.shape[1]).index_add_(0, codes, rows)
    squares = rows.new_zeros(n_classes).index_add_(0, codes, rows.square().sum(dim=1))
    with torch.autocast(rows.device.type, enabled=False):
        return sums @ sums.T, squares


def _pair_sums(
    points: Tensor, codes: Tensor, n_classes: int, similarity: PairSimilarity
) -> tuple[Tensor, Tensor]:
    sums = widest(points.new_zeros(n_classes, n_classes))
    own = widest(points.new_zeros(n_classes))
    for start, block in _blocks(points, 2 * (len(points) + n_classes)):
        pairs = widest(similarity(block, points))  # (b, N)
        by_class = sums.new_zeros(len(block), n_classes).index_add_(1, codes, pairs)
        block_codes = codes[start : start + len(block)]
        sums.index_add_(0, block_codes, by_class)
        own.index_add_(0, block_codes, pairs.diagonal(start))
    return sums, own


def _blocks(points: Tensor, n_numbers: int) -> Iterator[tuple[int, Tensor]]:
    size = rows_per_block(max(1, n_numbers) * points.element_size(), None)
    for start in range(0, len(points), size):
        yield start, points[start : start + size]
