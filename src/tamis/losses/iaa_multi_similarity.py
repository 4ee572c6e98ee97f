"""Multi-similarity loss as IAA uses it: always mined, without copies of the anchor among the positives."""

from __future__ import annotations

from torch import Tensor

from tamis.losses.labelled_pairs import DUPLICATE
from tamis.losses.multi_similarity import MultiSimilarityLoss


class MinedMultiSimilarityLoss(MultiSimilarityLoss):
    """`MultiSimilarityLoss` in which positives of a similarity of ``1 - 1e-5`` and more do not count.

    So a synthetic embedding that has stayed where its row is teaches nothing, nor does an exact duplicate.
    Parameters, call and errors are those of `MultiSimilarityLoss`.

    References
    ----------
    .. [1] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.

    Examples
    --------
    >>> import torch
    >>> rows, labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1]]), torch.tensor([0, 0, 1])
    >>> MinedMultiSimilarityLoss()(rows, labels)  # the only positive is a duplicate
    tensor(0.)
    """

    def terms(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the anchors and the gradient of the positives; see `PairLoss.terms`."""
        # Negated comparison: NaN stays and makes the loss NaN.
        is_positive = is_positive & ~(positives >= 1.0 - DUPLICATE)
        return super().terms(positives, is_positive, negatives, is_rounded)
