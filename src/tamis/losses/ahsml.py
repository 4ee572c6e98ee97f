"""AHSML-style: Multi-Similarity with margins that follow the similarity of the classes. Experimental."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.adaptive_margins import (
    AdaptiveMargins,
    Geometry,
    adaptive_margins,
    check_geometry,
    checked_range,
    geometry_points,
    pair_similarity,
)
from tamis.losses.labelled_pairs import IndicesTuple, LabelledPairs, labelled_pairs, log_one_plus_sum
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.losses.relation_weights import check_number
from tamis.statistics.hyperbolic import geodesic_row_distances
from tamis.statistics.labelled_embeddings import finite_embeddings, labelled_embeddings


class AdaptiveHierarchicalSimilarityLoss(nn.Module):
    """Multi-Similarity with margins for classes and their pairs, and a term for two views of a sample.

    A wrong label changes the margins of a class little, since they come from averages. Two views of a sample
    are drawn together whatever its label says. Experimental: the formulas are from a secondary summary of the
    paper, and no code of the authors is known; what was decided here is marked on the method's page.

    Parameters
    ----------
    gamma : float
        The margin in the middle, at least 0.
    map_range : (float, float)
        Range that class similarities are scaled to; (0, 0) gives the fixed margin of Multi-Similarity.
    rho, beta, sigma : float
        Above 0: sharpness of the terms of the other view, of positives and of negatives.
    geometry : {"cosine", "hyperbolic"}
    curvature : float
        Above 0; of the hyperbolic geometry.
    reduction : {"mean", "none"}

    Raises
    ------
    InputError
        A parameter out of its range; when called: embeddings or labels that do not fit.

    References
    ----------
    .. [1] J. Yan, L. Luo, C. Deng, H. Huang. Adaptive Hierarchical Similarity Metric Learning with Noisy
       Labels. IEEE Transactions on Image Processing 32, 2023.
    .. [2] X. Wang et al. Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning. CVPR
       2019.

    Examples
    --------
    In a training loop of your own:

    >>> network = nn.Linear(4, 3)
    >>> loss = AdaptiveHierarchicalSimilarityLoss()
    >>> weak, strong, labels = torch.eye(4), torch.eye(4) + 0.1, torch.tensor([0, 0, 1, 1])
    >>> loss(network(weak), labels, strong_embeddings=network(strong)).backward()
    """

    def __init__(
        self,
        *,
        gamma: float = 0.5,
        map_range: tuple[float, float] = (0.0, 0.2),
        rho: float = 2.0,
        beta: float = 2.0,
        sigma: float = 40.0,
        geometry: Geometry = "cosine",
        curvature: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_number("gamma", gamma)
        for name, value in (("rho", rho), ("beta", beta), ("sigma", sigma), ("curvature", curvature)):
            check_number(name, value, above_zero=True)
        refuse_reduction(reduction)
        check_geometry(geometry)
        self.gamma, self.map_range = gamma, checked_range(map_range)
        self.rho, self.beta, self.sigma = rho, beta, sigma
        self.geometry: Geometry = geometry
        self.curvature = curvature
        self.reduction: Reduction = reduction

    def margins(self, embeddings: Tensor, labels: Tensor, n_classes: int) -> AdaptiveMargins:
        """Return the margins that follow from (N, d) embeddings with (N,) labels; see `adaptive_margins`."""
        return adaptive_margins(
            embeddings,
            labels,
            n_classes,
            gamma=self.gamma,
            map_range=self.map_range,
            geometry=self.geometry,
            curvature=self.curvature,
        )

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        strong_embeddings: Tensor | None = None,
        margins: AdaptiveMargins | None = None,
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            Of the weakly augmented view.
        labels : (B,) integer tensor
        indices_tuple : tuple of 3 or 4 integer tensors, optional
            Pairs to compare, from a miner; all by default.
        ref_emb, ref_labels : (M, d) float and (M,) integer tensor, optional
            Compare with these instead of within the batch.
        strong_embeddings : (B, d) float tensor, optional
            Of the strongly augmented view of the same samples; without it there is no such term.
        margins : AdaptiveMargins, optional
            Of classes numbered as the labels; by default from the references, or from the batch.

        Returns
        -------
        scalar tensor, or (B,) for ``reduction="none"``
        """
        rows, codes = labelled_embeddings(embeddings, labels)
        ref_rows, ref_codes = rows, codes
        if ref_emb is not None and ref_emb is not embeddings:
            ref_rows, ref_codes = labelled_embeddings(ref_emb, ref_labels, prefix="ref_")
        pairs = self._pairs(rows, codes, indices_tuple, ref_rows, ref_codes)
        if margins is None:
            # Numbers without gaps: the table has a row for each.
            both_labels = torch.cat([codes, ref_codes])
            present, both = torch.unique(both_labels, return_inverse=True)
            codes, ref_codes = both.split([len(codes), len(ref_codes)])
            margins = self.margins(ref_rows, ref_codes, len(present))
        else:
            margins = _fitting(margins, codes, ref_codes)
        losses = self._pair_losses(pairs, margins.positive[codes], margins.negative[codes][:, ref_codes])
        if strong_embeddings is not None:
            losses = losses + self._view_losses(rows, strong_embeddings, margins.augmented[codes])
        return reduced(losses, self.reduction)

    def _pairs(
        self,
        rows: Tensor,
        codes: Tensor,
        indices_tuple: IndicesTuple | None,
        ref_rows: Tensor,
        ref_codes: Tensor,
    ) -> LabelledPairs:
        points = geometry_points(rows, self.geometry, self.curvature)
        ref_points = points if ref_rows is rows else geometry_points(ref_rows, self.geometry, self.curvature)
        pairs = labelled_pairs(points, codes, indices_tuple, ref_points, ref_codes)
        similarity = pair_similarity(self.geometry, self.curvature)
        return pairs if similarity is None else pairs._replace(similarities=similarity(points, ref_points))

    def _pair_losses(self, pairs: LabelledPairs, positive: Tensor, negative: Tensor) -> Tensor:
        """Return (B,) losses; margins are (B,) of the anchors and (B, M) of the pairs."""
        pulls = -self.beta * (pairs.similarities - positive[:, None])
        pushes = self.sigma * (pairs.similarities - negative)
        pulled = log_one_plus_sum(pulls, pairs.is_positive) / self.beta
        return pulled + log_one_plus_sum(pushes, pairs.is_negative) / self.sigma

    def _view_losses(self, rows: Tensor, strong: Tensor, augmented: Tensor) -> Tensor:
        """Return (B,) losses of how far the other view of each sample is."""
        strong = finite_embeddings(strong, "strong_embeddings")
        if strong.shape != rows.shape:
            raise InputError(
                f"strong_embeddings has shape {tuple(strong.shape)}; expected {tuple(rows.shape)}, another "
                "view of every sample of the batch"
            )
        left, right = (geometry_points(each, self.geometry, self.curvature) for each in (rows, strong))
        if self.geometry == "cosine":
            similarities = (left * right).sum(dim=1)
        else:
            similarities = (-geodesic_row_distances(left, right, self.curvature)).exp()
        exponents = -self.rho * (similarities - augmented)
        return torch.logaddexp(exponents, torch.zeros_like(exponents)) / self.rho


def _fitting(margins: AdaptiveMargins, *codes: Tensor) -> AdaptiveMargins:
    """Return margins without gradient, on the device of the labels, each of which must have its own."""
    n_classes = len(margins.positive)
    for each in codes:
        if len(each) and int(each.max()) >= n_classes:
            raise InputError(
                f"margins has {n_classes} classes and a label is {int(each.max())}; expected margins of "
                "classes numbered as the labels"
            )
    return AdaptiveMargins(*(each.detach().to(codes[0].device) for each in margins))
