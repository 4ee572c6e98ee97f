"""CBML: a pair loss from contrastive Bayesian analysis, with a constraint on the spread of negatives."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.labelled_pairs import (
    IndicesTuple,
    LabelledPairs,
    anchor_mean,
    labelled_pairs,
    log_one_plus_sum,
    mined,
    of_different_rows,
    without_duplicates,
)
from tamis.losses.pair_loss import Normalize, refuse_normalize
from tamis.losses.reduction import Reduction, refuse_reduction

Growth: TypeAlias = Literal["log", "sqrt", "constant"]


class CBMLTerms(NamedTuple):
    """The parts of the loss, one value an anchor.

    Attributes
    ----------
    pairs : (B,) tensor
        Of the mined positives and negatives.
    variance : (B,) tensor
        Of all negatives around the reference similarity.
    is_used : (B,) bool tensor
        False: the anchor is skipped, and its values mean nothing.
    """

    pairs: Tensor
    variance: Tensor
    is_used: Tensor


def cbml_terms(
    pairs: LabelledPairs,
    *,
    growth: Growth = "log",
    positive: tuple[float, float] = (0.5, 0.5),
    negative: tuple[float, float] = (1.0, 0.01),
    margin: float = 0.1,
    reference: float = 0.1,
    scales: tuple[float, float] = (0.25, 0.25),
    n_hardest: int | None = None,
    variance_reduction: Literal["sum", "mean"] = "sum",
) -> CBMLTerms:
    """Return the pair term and the variance term of every anchor; parameters as for `CBMLLoss`.

    Examples
    --------
    >>> similarities = torch.tensor([[0.5, 0.5]])
    >>> is_positive = torch.tensor([[True, False]])
    >>> cbml_terms(LabelledPairs(similarities, is_positive, ~is_positive)).pairs  # log 2, and almost 0
    tensor([0.6931])
    """
    pairs = without_duplicates(pairs)
    found = mined(pairs, margin)
    similarities, zero = pairs.similarities, pairs.similarities.new_zeros(())
    n_negative = pairs.is_negative.sum(dim=1).clamp(min=1)
    # (B,) each; the self pair and exact copies count in neither mean.
    mean_positive = similarities.where(pairs.is_positive, zero).sum(dim=1) / pairs.is_positive.sum(
        dim=1
    ).clamp(min=1)
    mean_negative = similarities.where(pairs.is_negative, zero).sum(dim=1) / n_negative
    center = reference * mean_positive + (1.0 - reference) * mean_negative
    variance = (similarities - center[:, None]).square().where(pairs.is_negative, zero).sum(dim=1)
    if variance_reduction == "mean":
        variance = variance / n_negative
    # The adaptive rule also says which anchors have positives to mine.
    hard, is_used = found.is_negative, found.is_used
    if n_hardest is not None:
        hard = _hardest(pairs, n_hardest)
        is_used = found.is_positive.any(dim=1) & hard.any(dim=1)
    log_positive = log_one_plus_sum((positive[0] - similarities) / positive[1], found.is_positive)
    log_negative = log_one_plus_sum((similarities - negative[0]) / negative[1], hard)
    grown = _grown(log_positive, growth, scales[0]) + _grown(log_negative, growth, scales[1])
    return CBMLTerms(grown, variance, is_used)


def _hardest(pairs: LabelledPairs, count: int) -> Tensor:
    """Return the mask of the ``count`` most similar negatives of each anchor."""
    negatives = pairs.similarities.detach().masked_fill(~pairs.is_negative, -torch.inf)
    nearest = negatives.topk(min(count, negatives.shape[1]), dim=1).indices
    return torch.zeros_like(pairs.is_negative).scatter_(1, nearest, True) & pairs.is_negative


def _grown(log_total: Tensor, growth: Growth, scale: float) -> Tensor:
    if growth == "log":
        return log_total
    if growth == "sqrt":
        return (0.5 * log_total).exp()
    return 1.0 + scale * log_total.expm1()


class CBMLLoss(nn.Module):
    """Contrastive Bayesian loss over the hard pairs of a batch plus the spread of all negatives.

    Draws the negatives of an anchor to one similarity, which helps on classes never seen; not made against
    wrong labels, so put a selector before it where there are any. The call is that of
    pytorch-metric-learning; similarity is the cosine.

    Parameters
    ----------
    growth : {"log", "sqrt", "constant"}, default="log"
        How a pair term grows with the sum E over pairs: ``log(1 + E)``, ``sqrt(1 + E)`` or ``1 + scale E``.
        The last can exceed float32 where ``negative_center`` is small.
    positive_center, positive_scale : float, default=0.5, 0.5
        ``E = sum of exp(-(s - center) / scale)`` over hard positives.
    negative_center, negative_scale : float, default=1.0, 0.01
        ``E = sum of exp((s - center) / scale)`` over hard negatives.
    margin : float, default=0.1
        Positives below the nearest negative plus this are hard; negatives above the farthest positive minus
        this.
    variance_weight : float, default=1.0
    reference : float in [0, 1], default=0.1
        Share of the mean positive similarity in the point the negatives are drawn to; the rest is the mean
        negative one. The authors' runs on CUB: 0.2.
    positive_share, negative_share : float, default=0.25, 0.25
        Scales of ``growth="constant"``.
    n_hardest : int, optional
        Take this many most similar negatives (100 in the authors' code) instead of the hard ones.
    variance_reduction : {"sum", "mean"}, default="sum"
        The sum grows with the batch; with the mean, weigh it about as many times more as there are negatives.
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"``: the references have unit length already. ``"none"``: dot products of the rows as they
        are, as in the authors' code.
    reduction : {"mean", "none"}, default="mean"
        Over all anchors, the skipped ones counted as 0.

    Raises
    ------
    InputError
        A parameter out of its range; in a call, tensors that do not fit together.

    References
    ----------
    .. [1] S. Kan, Z. He, Y. Cen, Y. Li, V. Mladenovic, Z. He. "Contrastive Bayesian analysis for deep metric
       learning", IEEE TPAMI 2022, and the authors' code.

    Examples
    --------
    >>> network, inputs, labels = torch.nn.Linear(5, 3), torch.eye(5)[:4], torch.tensor([0, 0, 1, 1])
    >>> CBMLLoss()(network(inputs), labels).backward()
    """

    def __init__(
        self,
        *,
        growth: Growth = "log",
        positive_center: float = 0.5,
        positive_scale: float = 0.5,
        negative_center: float = 1.0,
        negative_scale: float = 0.01,
        margin: float = 0.1,
        variance_weight: float = 1.0,
        reference: float = 0.1,
        positive_share: float = 0.25,
        negative_share: float = 0.25,
        n_hardest: int | None = None,
        variance_reduction: Literal["sum", "mean"] = "sum",
        normalize: Normalize = "both",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if growth not in get_args(Growth):
            raise InputError(f"growth is {growth!r}; expected 'log', 'sqrt' or 'constant'")
        if variance_reduction not in ("sum", "mean"):
            raise InputError(f"variance_reduction is {variance_reduction!r}; expected 'sum' or 'mean'")
        if not (positive_scale > 0 and negative_scale > 0):
            raise InputError(
                f"positive_scale is {positive_scale}, negative_scale {negative_scale}; expected above 0"
            )
        if not 0 <= reference <= 1:
            raise InputError(f"reference is {reference}; expected a share from 0 to 1")
        if n_hardest is not None and n_hardest < 1:
            raise InputError(f"n_hardest is {n_hardest}; expected at least 1, or None for the hard negatives")
        refuse_normalize(normalize)
        refuse_reduction(reduction)
        self.growth: Growth = growth
        self.positive = (positive_center, positive_scale)
        self.negative = (negative_center, negative_scale)
        self.margin = margin
        self.variance_weight = variance_weight
        self.reference = reference
        self.scales = (positive_share, negative_share)
        self.n_hardest = n_hardest
        self.variance_reduction: Literal["sum", "mean"] = variance_reduction
        self.normalize: Normalize = normalize
        self.reduction: Reduction = reduction

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        index: Tensor | None = None,
        ref_index: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; arguments as for `labelled_pairs`.

        ``index`` and ``ref_index``, (B,) and (M,) rows of the data set, leave out pairs of one row: of an
        anchor and what a memory holds of the same sample.

        Anchors without hard pairs of both kinds count 0, and so do those without any: a batch of one class
        gives 0 with a gradient of zeros. References that contain an anchor's own row, such as a memory, are
        fine: a positive pair of similarity above ``1 - 1e-5`` does not count.
        """
        pairs = labelled_pairs(
            embeddings, labels, indices_tuple, ref_emb, ref_labels, normalize=self.normalize
        )
        terms = cbml_terms(
            of_different_rows(pairs, index, ref_index),
            growth=self.growth,
            positive=self.positive,
            negative=self.negative,
            margin=self.margin,
            reference=self.reference,
            scales=self.scales,
            n_hardest=self.n_hardest,
            variance_reduction=self.variance_reduction,
        )
        values = terms.pairs + self.variance_weight * terms.variance  # (B,)
        if self.reduction == "none":
            return values.where(terms.is_used, values.new_zeros(()))
        return anchor_mean(values, terms.is_used)
