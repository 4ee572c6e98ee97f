"""InsCLR's contrastive loss: positive pairs that are not yet alike, negative pairs above a margin."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows, without_autocast
from tamis.statistics.labelled_logits import at_least_float32

IndexTuple: TypeAlias = tuple[Tensor, ...]
"""Anchors and positives, anchors and negatives (four tensors), or triplets (three): row numbers."""


def thresholded_contrastive(
    embeddings: Tensor,
    labels: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 0.4,
    positive_margin: float = 0.0,
    eps: float = 1e-6,
) -> Tensor:
    """Return the mean over rows of ``sum(1 - s)`` over unlike positives plus ``sum(s)`` over like negatives.

    A positive counts where its similarity is below ``1 - eps - positive_margin``, a negative where it is
    above ``margin``. Without references all rows are compared with all others; with them only rows with a
    positive label are anchors: a negative pseudo label says that nothing is known to be like the row.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        Unit rows: similarity is the inner product.
    labels : (B,) int64 tensor
        Equal labels are positives, negative ones too.
    ref_emb, ref_labels : (G, d) and (G,) tensor, optional
        Such as rows of a memory; no gradient is kept from them if they have none.
    margin, positive_margin, eps : float, at least 0

    Returns
    -------
    scalar tensor
        Over the mean of B rows, or of the anchors among them; 0 without any.

    Raises
    ------
    InputError
        Shapes that do not fit, references without labels, or a negative margin.

    References
    ----------
    .. [1] Z. Deng, Y. Zhong, S. Guo, W. Huang. "InsCLR: Improving Instance Retrieval with Self-Supervision",
       AAAI 2022, and the authors' code.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> # Pair 0-1 misses 0.4; 0-2 has 0.8 and 1-2 has 0.96, both above the margin; each counts in two rows.
    >>> round(float(thresholded_contrastive(rows, torch.tensor([1, 1, 2]))), 4)
    1.44
    """
    _refuse_margins(margin, positive_margin, eps)
    embeddings, references, ref_labels = _rows(embeddings, labels, ref_emb, ref_labels)
    is_anchor = labels > 0 if ref_emb is not None else torch.ones_like(labels, dtype=torch.bool)
    anchors, anchor_labels = embeddings[is_anchor], labels[is_anchor]
    with without_autocast(anchors):
        similarity = anchors @ references.T  # (anchors, references)
    is_positive = anchor_labels[:, None] == ref_labels[None, :]
    misses = is_positive & (similarity < 1.0 - eps - positive_margin)
    offends = ~is_positive & (similarity > margin)
    if ref_emb is None:
        # In half precision 1 - eps is 1, and a row would be its own unlike positive.
        misses = misses.fill_diagonal_(False)
        offends = offends.fill_diagonal_(False)
    total = (1.0 - similarity)[misses].sum() + similarity[offends].sum()
    return total / max(1, len(anchors))


class ThresholdedContrastiveLoss(nn.Module):
    """`thresholded_contrastive` with its parameters and the call of pytorch-metric-learning.

    Parameters
    ----------
    margin : float, default=0.4
        Negatives at most this similar cost nothing.
    positive_margin : float, default=0.0
    eps : float, default=1e-6
    normalize : bool, default=True
        Scale the rows to length 1 first; rows of zeros stay zeros.

    Raises
    ------
    InputError
        A parameter out of its range.

    Examples
    --------
    In a training loop of your own, against the batch and against a memory:

    >>> network, loss = nn.Linear(5, 3), ThresholdedContrastiveLoss()
    >>> inputs, labels = torch.eye(5), torch.tensor([1, 2, 1, 2, -1])
    >>> remembered, their_labels = torch.eye(3), torch.tensor([1, 2, 99])
    >>> embeddings = network(inputs)
    >>> remembering = loss(embeddings, labels, ref_emb=remembered, ref_labels=their_labels)
    >>> (loss(embeddings, labels) + remembering).backward()
    """

    def __init__(
        self,
        *,
        margin: float = 0.4,
        positive_margin: float = 0.0,
        eps: float = 1e-6,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        _refuse_margins(margin, positive_margin, eps)
        self.margin = margin
        self.positive_margin = positive_margin
        self.eps = eps
        self.normalize = normalize

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: IndexTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        embeddings : (B, d) float tensor
        labels : (B,) int64 tensor
        indices_tuple : three or four (p,) int64 tensors, optional
            Pairs that count, as anchors, positives, anchors, negatives, or triplets; whatever the labels say.
            The sum is divided by B.
        ref_emb, ref_labels : (G, d) and (G,) tensor, optional
        """
        if self.normalize:
            embeddings = unit_rows(embeddings)
            ref_emb = None if ref_emb is None else unit_rows(ref_emb)
        if indices_tuple is not None:
            return self._of_pairs(embeddings, indices_tuple, embeddings if ref_emb is None else ref_emb)
        return thresholded_contrastive(
            embeddings,
            labels,
            ref_emb,
            ref_labels,
            margin=self.margin,
            positive_margin=self.positive_margin,
            eps=self.eps,
        )

    def _of_pairs(self, embeddings: Tensor, indices_tuple: IndexTuple, references: Tensor) -> Tensor:
        if len(indices_tuple) not in (3, 4):
            raise InputError(
                f"indices_tuple holds {len(indices_tuple)} tensors; expected anchors, positives, anchors, "
                "negatives, or the three of triplets"
            )
        anchors, positives = indices_tuple[:2]
        others, negatives = indices_tuple[2:] if len(indices_tuple) == 4 else (anchors, indices_tuple[2])
        embeddings, references = at_least_float32(embeddings), at_least_float32(references)
        likeness = (embeddings[anchors] * references[positives]).sum(dim=1)
        confusion = (embeddings[others] * references[negatives]).sum(dim=1)
        misses = (1.0 - likeness)[likeness < 1.0 - self.eps - self.positive_margin].sum()
        return (misses + confusion[confusion > self.margin].sum()) / max(1, len(embeddings))


def _rows(
    embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None, ref_labels: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings, references and their labels in one precision; without references the batch."""
    if (ref_emb is None) != (ref_labels is None):
        raise InputError("ref_emb and ref_labels go together; one of them is missing")
    embeddings = at_least_float32(embeddings)
    if ref_emb is None or ref_labels is None:
        references, ref_labels = embeddings, labels
    else:
        references = ref_emb.to(embeddings.dtype)
    fits = embeddings.ndim == references.ndim == 2 and embeddings.shape[1] == references.shape[1]
    if not fits or labels.shape != embeddings.shape[:1] or ref_labels.shape != references.shape[:1]:
        raise InputError(
            f"embeddings {tuple(embeddings.shape)} with labels {tuple(labels.shape)} and references "
            f"{tuple(references.shape)} with labels {tuple(ref_labels.shape)} do not fit together; expected "
            "(B, d), (B,), (G, d), (G,)"
        )
    return embeddings, references, ref_labels


def _refuse_margins(margin: float, positive_margin: float, eps: float) -> None:
    if not (margin >= 0 and positive_margin >= 0 and eps >= 0):
        raise InputError(
            f"margin is {margin}, positive_margin {positive_margin}, eps {eps}; expected at least 0"
        )
