"""Contrastive loss on cosines with a margin for either kind of pair, summed for each anchor (IAA's form)."""

from __future__ import annotations

from torch import Tensor, nn

from tamis.losses.labelled_pairs import (
    IndicesTuple,
    LabelledPairs,
    labelled_pairs,
    without_duplicates,
)


def margin_contrastive(
    pairs: LabelledPairs, positive_margin: float = 0.8, negative_margin: float = 0.5
) -> Tensor:
    """Return for each anchor how far positives fall short of one margin and negatives exceed the other.

    Parameters
    ----------
    pairs : LabelledPairs
    positive_margin, negative_margin : float

    Returns
    -------
    (B,) tensor

    Examples
    --------
    >>> import torch
    >>> is_positive = torch.tensor([[True, True, False, False]])
    >>> pairs = LabelledPairs(torch.tensor([[0.9, 0.5, 0.7, 0.1]]), is_positive, ~is_positive)
    >>> margin_contrastive(pairs)  # 0.3 from the second, 0.2 from the third
    tensor([0.5000])
    """
    pairs = without_duplicates(pairs)
    zero = pairs.similarities.new_zeros(())
    short = (positive_margin - pairs.similarities).relu().where(pairs.is_positive, zero)
    excess = (pairs.similarities - negative_margin).relu().where(pairs.is_negative, zero)
    return (short + excess).sum(dim=1)


class MarginContrastiveLoss(nn.Module):
    """`margin_contrastive` over a batch, divided by its number of rows.

    The call is that of pytorch-metric-learning; similarities are dot products of the rows as they come. All
    pairs count, so the value grows with the number of rows per class and of references.

    Parameters
    ----------
    positive_margin : float, default=0.8
        Positives above it are near enough.
    negative_margin : float, default=0.5
        Negatives below it are far enough.

    References
    ----------
    .. [1] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.

    Examples
    --------
    >>> import torch
    >>> loss = MarginContrastiveLoss()
    >>> loss(torch.eye(3), torch.tensor([0, 0, 1]))  # two of three anchors have a positive at cosine 0
    tensor(0.5333)
    """

    def __init__(self, *, positive_margin: float = 0.8, negative_margin: float = 0.5) -> None:
        super().__init__()
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; arguments as for `labelled_pairs`."""
        pairs = labelled_pairs(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        values = margin_contrastive(pairs, self.positive_margin, self.negative_margin)
        return values.sum() / max(1, len(values))
