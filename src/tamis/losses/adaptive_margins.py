"""Margins for classes and for pairs of classes that follow from how similar their members are."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows
from tamis.losses.relation_weights import check_number
from tamis.statistics.class_similarity import PairSimilarity, class_similarities, least_class_similarities
from tamis.statistics.hyperbolic import exp_map_origin, geodesic_distances
from tamis.statistics.labelled_embeddings import labelled_embeddings

Geometry: TypeAlias = Literal["cosine", "hyperbolic"]
"""Similarity of two embeddings: their cosine, or exp of minus their distance in the Poincare ball."""


class AdaptiveMargins(NamedTuple):
    """Margins that follow from how similar classes are; without gradient.

    Attributes
    ----------
    class_similarity : (K, K) tensor
        Mean similarity of the pairs of two classes, and of one; NaN where there is no pair.
    positive : (K,) tensor
        Of positive pairs: a class whose members are alike must draw them closer.
    negative : (K, K) tensor
        Of negative pairs: similar classes are pushed further apart.
    augmented : (K,) tensor
        Of a sample and its other view: they must be closer than the least similar members of its class.
    """

    class_similarity: Tensor
    positive: Tensor
    negative: Tensor
    augmented: Tensor


def mapped_similarities(table: Tensor, map_range: tuple[float, float] = (0.0, 0.2)) -> Tensor:
    """Return class similarities scaled to a range: the least becomes its low end, the largest its high end.

    Parameters
    ----------
    table : (K, K) float tensor
        NaN, where a class has no pair, does not count and becomes the low end.
    map_range : (float, float)

    Returns
    -------
    (K, K) tensor
        The low end everywhere where all entries are equal.

    Examples
    --------
    >>> mapped_similarities(torch.tensor([[0.9, -0.1], [-0.1, torch.nan]]))
    tensor([[0.2000, 0.0000],
            [0.0000, 0.0000]])
    """
    low, high = checked_range(map_range)
    is_known = table.isfinite()
    if not table.numel():
        return table
    least = table.masked_fill(~is_known, torch.inf).amin()
    spread = table.masked_fill(~is_known, -torch.inf).amax() - least
    shares = ((table - least) / spread).masked_fill(~is_known | ~(spread > 0), 0.0)
    return low + (high - low) * shares


@torch.no_grad()
def adaptive_margins(
    embeddings: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    gamma: float = 0.5,
    map_range: tuple[float, float] = (0.0, 0.2),
    geometry: Geometry = "cosine",
    curvature: float = 1.0,
) -> AdaptiveMargins:
    """Return the margins that follow from a batch, a memory, or a pass over the data.

    Estimates from a few samples of a class are noisy: once an epoch from a memory is better than from each
    batch. The table takes ``K * K`` numbers.

    Parameters
    ----------
    embeddings : (N, d) float tensor
        Scaled to length 1 here for cosines, used as they are in the hyperbolic geometry.
    labels : (N,) integer tensor
        Codes 0..K-1.
    n_classes : int
    gamma : float
        The margin that they are added to and taken from.
    map_range : (float, float)
        Range that class similarities are scaled to.
    geometry : {"cosine", "hyperbolic"}
    curvature : float
        Above 0; of the hyperbolic geometry.

    Returns
    -------
    AdaptiveMargins
        A class with less than two members gets the least positive margin and the median of the others'
        augmented margins; ``gamma`` where no class has two.

    Raises
    ------
    InputError
        Embeddings or labels do not fit, or a parameter is out of its range.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.0, 2.0]])
    >>> margins = adaptive_margins(rows, torch.tensor([0, 0, 1, 1]), 2)
    >>> margins.positive, margins.augmented
    (tensor([0.6429, 0.7000]), tensor([0.8000, 1.0000]))
    """
    check_number("gamma", gamma)
    rows, codes = labelled_embeddings(embeddings, labels, n_classes)
    points, similarity = geometry_points(rows, geometry, curvature), pair_similarity(geometry, curvature)
    table = class_similarities(points, codes, n_classes, similarity=similarity)
    least = least_class_similarities(points, codes, n_classes, similarity=similarity)
    mapped = mapped_similarities(table, map_range).to(points.dtype)
    return AdaptiveMargins(
        table.to(points.dtype), gamma + mapped.diagonal(), gamma - mapped, _median_filled(least, gamma)
    )


def geometry_points(rows: Tensor, geometry: Geometry, curvature: float) -> Tensor:
    """Return rows of length 1 for cosines, and points of the ball for the hyperbolic geometry."""
    check_geometry(geometry)
    return unit_rows(rows) if geometry == "cosine" else exp_map_origin(rows, curvature)


def pair_similarity(geometry: Geometry, curvature: float) -> PairSimilarity | None:
    """Return the similarity of two sets of points, or None for the dot product."""
    return None if geometry == "cosine" else partial(_hyperbolic_similarity, curvature=curvature)


def check_geometry(geometry: str) -> None:
    """Raise `InputError` where a word is no geometry."""
    if geometry not in get_args(Geometry):
        raise InputError(f"geometry is {geometry!r}; expected 'cosine' or 'hyperbolic'")


def checked_range(map_range: tuple[float, float]) -> tuple[float, float]:
    """Return the two ends; `InputError` where they are not 0 or more, in this order."""
    low, high = map_range
    check_number("map_range[0]", low)
    check_number("map_range[1]", high)
    if high < low:
        raise InputError(f"map_range is {map_range!r}; expected the low end first")
    return low, high


def _hyperbolic_similarity(left: Tensor, right: Tensor, *, curvature: float) -> Tensor:
    return (-geodesic_distances(left, right, curvature)).exp()


def _median_filled(values: Tensor, otherwise: float) -> Tensor:
    """Return values with NaN replaced by the median of the others, the mean of the middle two."""
    is_known = ~values.isnan()
    if not is_known.any():
        return torch.full_like(values, otherwise)
    known = values[is_known].sort().values
    median = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    return torch.where(is_known, values, median)
