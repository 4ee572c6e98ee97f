"""Multi-similarity loss with its own mining, as IAA uses it beside synthetic embeddings."""

from __future__ import annotations

from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.labelled_pairs import (
    IndicesTuple,
    LabelledPairs,
    labelled_pairs,
    log_one_plus_sum,
    mined,
    without_duplicates,
)


def mined_multi_similarity(
    pairs: LabelledPairs,
    *,
    alpha: float = 2.0,
    beta: float = 40.0,
    base: float = 0.5,
    margin: float = 0.1,
) -> Tensor:
    """Return the multi-similarity loss of each anchor over its hard pairs; 0 without any.

    Parameters
    ----------
    pairs : LabelledPairs
    alpha, beta, base, margin : float
        As for `MinedMultiSimilarityLoss`.

    Returns
    -------
    (B,) tensor

    Examples
    --------
    >>> import torch
    >>> is_positive = torch.tensor([[True, False]])
    >>> pairs = LabelledPairs(torch.tensor([[0.5, 0.5]]), is_positive, ~is_positive)
    >>> mined_multi_similarity(pairs, alpha=1.0, beta=1.0)  # twice log 2
    tensor([1.3863])
    """
    pairs = without_duplicates(pairs)
    hard = mined(pairs, margin)
    away = pairs.similarities - base
    near = log_one_plus_sum(-alpha * away, hard.is_positive) / alpha
    far = log_one_plus_sum(beta * away, hard.is_negative) / beta
    return (near + far).where(hard.is_used, away.new_zeros(()))


class MinedMultiSimilarityLoss(nn.Module):
    """`mined_multi_similarity` over a batch, divided by its number of rows.

    The call is that of pytorch-metric-learning, where the same is ``MultiSimilarityLoss`` with
    ``MultiSimilarityMiner``; here the pairs of an ``indices_tuple`` are mined too, and positives of a
    similarity above ``1 - 1e-5`` do not count. Similarities are dot products of the rows as they come.

    Parameters
    ----------
    alpha, beta : float, above 0, default=2.0, 40.0
        Sharpness over positives and over negatives.
    base : float, default=0.5
        The similarity from which pairs count.
    margin : float, default=0.1
        Positives below the nearest negative plus this are hard; negatives above the farthest positive minus
        this.

    Raises
    ------
    InputError
        ``alpha`` or ``beta`` not above 0.

    References
    ----------
    .. [1] X. Wang et al. "Multi-similarity loss with general pair weighting for deep metric learning",
       CVPR 2019.
    .. [2] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.

    Examples
    --------
    >>> import torch
    >>> embeddings = torch.eye(4, requires_grad=True)
    >>> MinedMultiSimilarityLoss()(embeddings, torch.tensor([0, 0, 1, 1])).backward()
    """

    def __init__(
        self, *, alpha: float = 2.0, beta: float = 40.0, base: float = 0.5, margin: float = 0.1
    ) -> None:
        super().__init__()
        if not (alpha > 0 and beta > 0):
            raise InputError(f"alpha is {alpha} and beta {beta}; expected above 0 each")
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.margin = margin

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
        values = mined_multi_similarity(
            pairs, alpha=self.alpha, beta=self.beta, base=self.base, margin=self.margin
        )
        return values.sum() / max(1, len(values))
