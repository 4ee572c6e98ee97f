"""Contrastive loss on cosines, of a batch or against a memory: as PRISM and cross-batch memory train with."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, get_args

from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.labelled_pairs import DUPLICATE
from tamis.losses.pair_loss import Normalize, PairLoss
from tamis.losses.reduction import Reduction

ContrastiveForm: TypeAlias = Literal["official", "hinge"]
"""What an active negative adds to the value: its similarity, or what that exceeds the margin by."""


class ContrastiveLoss(PairLoss):
    """Pull positives together, push negatives apart that are more similar than a margin.

    The sum of ``1 - s`` over positives with ``s < 1 - 1e-5`` and of ``s`` over negatives with ``s > margin``,
    divided by the number n of anchors given. Every active pair pulls with the same force, however hard it is:
    with wrong labels put a filter before it.

    Parameters
    ----------
    margin : float in [-1, 1), default=0.5
        Negatives up to this similarity are left alone.
    form : {"official", "hinge"}, default="official"
        ``"hinge"`` adds ``s - margin`` for a negative: continuous, with the same gradient.
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"``: the references have unit length already. ``"none"``: dot products, as in the authors'
        code.
    reduction : {"mean", "none"}, default="mean"
        Mean over the anchors, or a loss for each.

    Raises
    ------
    InputError
        A parameter out of its range.

    Notes
    -----
    With ``form="hinge"`` equal to ``ContrastiveLoss(pos_margin=1, neg_margin=margin,
    distance=CosineSimilarity(), reducer=SumReducer())`` of pytorch-metric-learning divided by n, but for
    positives of a similarity over 0.99999. Against references in bfloat16, where the processor multiplies
    those, similarities are rounded to bfloat16: a negative within 0.002 of the margin may change sides, and
    copies are not left out, which changes the gradient by less than 1 % of a pair's.

    References
    ----------
    .. [1] C. Liu et al. "Noise-resistant Deep Metric Learning with Ranking-based Instance Selection",
       CVPR 2021, and the authors' code.
    .. [2] X. Wang et al. "Cross-Batch Memory for Embedding Learning", CVPR 2020.

    Examples
    --------
    In a loop of your own, on a batch and on a memory of past embeddings:

    >>> import torch
    >>> network, loss = torch.nn.Linear(4, 2), ContrastiveLoss(margin=0.5)
    >>> inputs, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> memory, memory_labels = torch.eye(2), torch.tensor([0, 1])
    >>> embeddings = network(inputs)
    >>> total = loss(embeddings, labels) + loss(embeddings, labels, ref_emb=memory, ref_labels=memory_labels)
    >>> total.backward()
    """

    is_close: ClassVar[bool] = False

    def __init__(
        self,
        margin: float = 0.5,
        *,
        form: ContrastiveForm = "official",
        normalize: Normalize = "both",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(normalize=normalize, reduction=reduction)
        if not -1.0 <= margin < 1.0:
            raise InputError(f"margin is {margin}; expected a cosine, at least -1 and below 1")
        if form not in get_args(ContrastiveForm):
            raise InputError(f"form is {form!r}; expected 'official' or 'hinge'")
        self.margin = margin
        self.form: ContrastiveForm = form

    def terms(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the anchors and the gradient of the positives; see `PairLoss.terms`."""
        # Eight bits cannot tell a copy from a neighbour; on unit rows a copy does not pull anyway.
        # Negated comparison: NaN stays and makes the loss NaN.
        is_active = is_positive if is_rounded else is_positive & ~(positives >= 1.0 - DUPLICATE)
        losses = (1.0 - positives).where(is_active, 0.0).sum(dim=1)
        losses = losses + functional.threshold(negatives, self.margin, 0.0).sum(dim=1)
        negatives.gt_(self.margin)  # 1 where active: the gradient
        if self.form == "hinge":
            losses = losses - self.margin * negatives.sum(dim=1)
        return losses, -is_active.to(positives.dtype)
