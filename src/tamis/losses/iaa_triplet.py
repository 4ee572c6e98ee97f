"""Triplet loss on cosines over every triplet of a batch and its references."""

from __future__ import annotations

from torch import Tensor, nn

from tamis.losses.labelled_pairs import (
    IndicesTuple,
    LabelledPairs,
    labelled_pairs,
    without_duplicates,
)
from tamis.losses.pair_loss import Normalize, refuse_normalize


def all_triplets(pairs: LabelledPairs, margin: float = 0.1) -> Tensor:
    """Return the mean of ``s_negative - s_positive + margin`` over the triplets where it is above 0.

    Parameters
    ----------
    pairs : LabelledPairs
    margin : float

    Returns
    -------
    scalar tensor
        0 where no triplet violates the margin. Memory: positive pairs times references.

    Examples
    --------
    >>> import torch
    >>> is_positive = torch.tensor([[True, False, False]])
    >>> all_triplets(LabelledPairs(torch.tensor([[0.5, 0.6, 0.1]]), is_positive, ~is_positive))
    tensor(0.2000)
    """
    pairs = without_duplicates(pairs)
    anchor, positive = pairs.is_positive.nonzero(as_tuple=True)
    near = pairs.similarities[anchor, positive][:, None]
    violation = (pairs.similarities[anchor] - near + margin).relu()  # (positive pairs, M)
    violation = violation.where(pairs.is_negative[anchor], violation.new_zeros(()))
    # A NaN is no zero: it must not vanish from the loss.
    return violation.sum() / (violation != 0).sum().clamp(min=1)


class CosineTripletLoss(nn.Module):
    """`all_triplets` over a batch, in the call of pytorch-metric-learning.

    The same as its ``TripletMarginLoss(margin, distance=CosineSimilarity())`` over all triplets, without a
    list of them. Similarity is the cosine.

    Parameters
    ----------
    margin : float, default=0.1
        By how much a positive should be more similar than a negative.
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"``: the references have unit length already. ``"none"``: dot products.

    References
    ----------
    .. [1] F. Schroff, D. Kalenichenko, J. Philbin. "FaceNet: a unified embedding for face recognition and
       clustering", CVPR 2015.

    Examples
    --------
    >>> import torch
    >>> CosineTripletLoss()(torch.eye(3), torch.tensor([0, 0, 1]))
    tensor(0.1000)
    """

    def __init__(self, *, margin: float = 0.1, normalize: Normalize = "both") -> None:
        super().__init__()
        refuse_normalize(normalize)
        self.normalize: Normalize = normalize
        self.margin = margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; arguments as for `labelled_pairs`, of which all triplets are made."""
        pairs = labelled_pairs(
            embeddings, labels, indices_tuple, ref_emb, ref_labels, normalize=self.normalize
        )
        return all_triplets(pairs, self.margin)
