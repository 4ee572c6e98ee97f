"""Contrastive loss on cosines with a margin for either kind of pair: IAA's form."""

from __future__ import annotations

from torch import Tensor

from tamis.errors import InputError
from tamis.losses.labelled_pairs import DUPLICATE
from tamis.losses.pair_loss import Normalize, PairLoss
from tamis.losses.reduction import Reduction


class MarginContrastiveLoss(PairLoss):
    """How far positives fall short of one margin and negatives exceed the other, summed for each anchor.

    ``(sum of max(0, positive_margin - s) over positives, plus sum of max(0, s - negative_margin) over
    negatives) / n``, with n the number of anchors. All pairs count, so the value grows with the rows of a
    class and with the references. Unlike `ContrastiveLoss` it leaves positives alone that are near enough.

    Parameters
    ----------
    positive_margin, negative_margin : float in [-1, 1], default=0.8, 0.5
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"``: the references have unit length already. ``"none"``: dot products.
    reduction : {"mean", "none"}, default="mean"
        Mean over the anchors, or a loss for each.

    Raises
    ------
    InputError
        A parameter out of its range.

    References
    ----------
    .. [1] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.

    Examples
    --------
    >>> import torch
    >>> MarginContrastiveLoss()(torch.eye(3), torch.tensor([0, 0, 1]))  # two of three anchors lack 0.8
    tensor(0.5333)
    """

    def __init__(
        self,
        positive_margin: float = 0.8,
        negative_margin: float = 0.5,
        *,
        normalize: Normalize = "both",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(normalize=normalize, reduction=reduction)
        for name, value in (("positive_margin", positive_margin), ("negative_margin", negative_margin)):
            if not -1.0 <= value <= 1.0:
                raise InputError(f"{name} is {value}; expected a cosine, from -1 to 1")
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def terms(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the anchors and the gradient of the positives; see `PairLoss.terms`."""
        # Negated comparison: NaN stays and makes the loss NaN.
        is_short = is_positive & ~(positives >= min(self.positive_margin, 1.0 - DUPLICATE))
        losses = (self.positive_margin - positives).where(is_short, 0.0).sum(dim=1)
        losses = losses + (negatives - self.negative_margin).relu_().sum(dim=1)
        negatives.gt_(self.negative_margin)  # 1 where it exceeds the margin: the gradient
        return losses, -is_short.to(positives.dtype)
