"""Intra-class adaptive augmentation (IAA): a pair loss that also sees synthetic embeddings."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows
from tamis.losses.labelled_pairs import IndicesTuple
from tamis.losses.pair_loss import PairLoss
from tamis.statistics.labelled_logits import can_read_values


def own_copies(n_rows: int, n_candidates: int, device: torch.device | str = "cpu") -> Tensor:
    """Return where a candidate is an anchor itself or one of its copies.

    Candidates are the batch, then its copies, each in the order of the batch.

    Returns
    -------
    (n_rows, n_candidates) bool tensor

    Examples
    --------
    >>> own_copies(2, 4).int()
    tensor([[1, 0, 1, 0],
            [0, 1, 0, 1]], dtype=torch.int32)
    """
    rows = torch.arange(n_rows, device=device)
    return rows[:, None] == torch.arange(n_candidates, device=device) % max(1, n_rows)


class IntraClassAugmentationLoss(nn.Module):
    """Any pair loss, over a batch and the synthetic embeddings made of it.

    Anchors are the rows of the batch, candidates the rows and all copies. Copies are positives and negatives
    for the rows of others; an anchor's own are left out. A regulariser: it does not find wrong labels, so
    keep rows a selector distrusts out of the variances and out of the batch.

    Parameters
    ----------
    loss : nn.Module
        A pair loss with the call of pytorch-metric-learning that takes ``indices_tuple`` and ``ref_emb``:
        `MinedMultiSimilarityLoss`, `MarginContrastiveLoss`, `CosineTripletLoss`, another `PairLoss`, or one
        of that package.
    normalize_embeddings : bool, default=True
        Scale rows and copies to unit length; rows of zeros stay zeros.

    Raises
    ------
    InputError
        In a call: references that are no copies of the batch.

    References
    ----------
    .. [1] Z. Fu, Z. Mao, B. Hu, A.-A. Liu, Y. Zhang. "Intra-class adaptive augmentation with neighbor
       correction for deep metric learning", IEEE TMM 2022.

    Examples
    --------
    >>> from tamis.augment import normals
    >>> from tamis.losses import MinedMultiSimilarityLoss, synthesize
    >>> from tamis.memory import ClassVariances
    >>> network, inputs = torch.nn.Linear(5, 3), torch.randn(4, 5)
    >>> labels, index = torch.tensor([0, 0, 1, 1]), torch.arange(4)
    >>> spread = ClassVariances(n_classes=2, n_features=3)
    >>> spread.update([(network(inputs), labels)])  # every few epochs, over the training set
    >>> loss = IntraClassAugmentationLoss(MinedMultiSimilarityLoss())
    >>> embeddings = network(inputs)
    >>> noise = normals(0, 7, index, 2 * 3, stream="iaa").view(4, 2, 3).transpose(0, 1)  # two copies, step 7
    >>> copies = synthesize(embeddings, labels, spread.effective, noise)
    >>> loss(embeddings, labels, ref_emb=copies.embeddings, ref_labels=copies.labels).backward()
    """

    def __init__(self, loss: nn.Module, *, normalize_embeddings: bool = True) -> None:
        super().__init__()
        self.loss = loss
        self.normalize_embeddings = normalize_embeddings

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            As the network gives them.
        labels : (B,) integer tensor
            A label below 0 says unlabelled: such rows form no pairs.
        indices_tuple : tuple of 3 or 4 integer tensors, optional
            Pairs or triplets to use, columns counted over the batch and then its copies; those with an own
            copy as the positive are left out. All pairs by default.
        ref_emb : (M B, d) float tensor, optional
            The copies, row ``m B + i`` made of row i, from `synthesize`. None or no rows: the plain loss.
        ref_labels : (M B,) integer tensor, optional
            By default the labels of the batch, repeated.
        """
        copies = embeddings[:0] if ref_emb is None else ref_emb
        candidate_labels = _candidate_labels(labels, len(embeddings), copies, ref_labels)
        rows, copies = (
            unit_rows(each) if self.normalize_embeddings else each for each in (embeddings, copies)
        )
        candidates = torch.cat([rows, copies.to(rows)])
        refs = {"ref_emb": candidates, "ref_labels": candidate_labels}
        if indices_tuple is None and isinstance(self.loss, PairLoss):
            # The place in the batch says whose copy a row is, without a list of pairs.
            places = torch.arange(len(rows), device=rows.device)
            copied = places.repeat(1 + len(copies) // max(1, len(rows)))
            return cast("Tensor", self.loss(rows, labels, index=places, ref_index=copied, **refs))
        is_own = own_copies(len(rows), len(candidates), rows.device)
        if indices_tuple is None:
            indices_tuple = _all_pairs(labels.to(rows.device), candidate_labels.to(rows.device), is_own)
        else:
            indices_tuple = _without_own(indices_tuple, is_own)
        return cast("Tensor", self.loss(rows, labels, indices_tuple=indices_tuple, **refs))


def _candidate_labels(labels: Tensor, n_rows: int, copies: Tensor, ref_labels: Tensor | None) -> Tensor:
    """Return the labels of the batch and of its copies, (B + M B,), after checking what was given."""
    if labels.shape != (n_rows,) or labels.is_floating_point():
        raise InputError(
            f"labels has shape {tuple(labels.shape)} and dtype {labels.dtype}; expected ({n_rows},) integers"
        )
    if len(copies) % max(1, n_rows) or (len(copies) and not n_rows):
        raise InputError(
            f"ref_emb has {len(copies)} rows; expected a multiple of {n_rows}: copies of the whole batch, in "
            "its order, from synthesize(...)"
        )
    expected = labels.repeat(1 + len(copies) // max(1, n_rows))
    if ref_labels is not None:
        wanted = expected[n_rows:]
        is_right = ref_labels.shape == wanted.shape
        if is_right and can_read_values():
            is_right = bool((ref_labels.to(wanted.device) == wanted).all())
        if not is_right:
            raise InputError(
                "ref_labels are not the labels of the batch, repeated for each copy; pass those of "
                "synthesize(...) or leave them out"
            )
    return expected


def _all_pairs(labels: Tensor, candidate_labels: Tensor, is_own: Tensor) -> IndicesTuple:
    is_pair = (labels >= 0)[:, None] & (candidate_labels >= 0)[None, :]
    is_same = labels[:, None] == candidate_labels[None, :]
    positives = (is_same & is_pair & ~is_own).nonzero(as_tuple=True)
    negatives = (~is_same & is_pair).nonzero(as_tuple=True)
    return (*positives, *negatives)


def _without_own(indices_tuple: IndicesTuple, is_own: Tensor) -> IndicesTuple:
    """Return the pairs, or the triplets, whose positive is no copy of the anchor."""
    anchor, positive, *rest = indices_tuple
    stays = ~is_own[anchor.long(), positive.long()]
    if len(indices_tuple) == 3:
        return anchor[stays], positive[stays], rest[0][stays]
    return (anchor[stays], positive[stays], *rest)
