"""The call that losses over pairs share: that of pytorch-metric-learning, with or without references."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows
from tamis.losses.labelled_pairs import IndicesTuple, check_rows, checked_labels, pair_masks
from tamis.losses.pair_gradient import anchor_losses
from tamis.losses.pair_sources import GivenPairs, LabelPairs, PairSource
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.statistics.labelled_logits import at_least_float32

Normalize: TypeAlias = Literal["both", "anchors", "none"]
"""Which rows are brought to unit length: all, the anchors only (a memory of unit rows), or none."""

_SMALLEST_NORM = 1e-12


class References(NamedTuple):
    """What anchors are compared with.

    Attributes
    ----------
    rows : (M, d) float tensor
    scales : (M,) float tensor or None
        1 over the lengths of the rows, 0 for rows of zeros.
    """

    rows: Tensor
    scales: Tensor | None


class PairLoss(nn.Module):
    """A loss over pairs of embeddings: anchors against each other, or against references such as a memory.

    Subclasses implement `terms`. Similarity is the cosine.

    Parameters
    ----------
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"`` takes references of unit length as they are, as a memory of unit rows may vouch for;
        ``"none"`` takes dot products of all rows as they are.
    reduction : {"mean", "none"}, default="mean"
        Mean over the anchors given, or a loss for each.

    Raises
    ------
    InputError
        A word that is not in the list.
    """

    takes_memory: ClassVar[bool] = True
    is_close: ClassVar[bool] = True
    """Whether the loss needs similarities finer than bfloat16."""

    def __init__(self, *, normalize: Normalize = "both", reduction: Reduction = "mean") -> None:
        super().__init__()
        refuse_normalize(normalize)
        refuse_reduction(reduction)
        self.normalize: Normalize = normalize
        self.reduction: Reduction = reduction

    def terms(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the anchors and the gradient of the positives; see `pair_gradient.PairTerms`.

        Parameters
        ----------
        positives : (b, P) float tensor
        is_positive : (b, P) bool tensor
        negatives : (b, M) float tensor
            Minus infinity where a pair is no negative; overwritten with the gradient.
        is_rounded : bool
            Whether the similarities have the 8 bits of bfloat16.
        """
        raise NotImplementedError

    def terms_of_given(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the same as `terms` for pairs of an ``indices_tuple``: a loss that mines leaves that out."""
        return self.terms(positives, is_positive, negatives, is_rounded)

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
        """Return the loss of the anchors: a scalar, or (B,) with ``reduction="none"``.

        Without pairs the loss is 0, connected to the embeddings. NaN in an embedding makes it NaN.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            Of any length. float64 stays float64, half precision is computed in float32.
        labels : (B,) integer tensor, optional
            A label below 0 says unlabelled: such rows form no pairs. Not needed with ``indices_tuple``.
        indices_tuple : tuple of 3 or 4 integer tensors, optional
            The pairs, as miners of pytorch-metric-learning give them, instead of all; columns count in
            ``ref_emb``. A pair named several times counts once.
        ref_emb : (M, d) float tensor, optional
            References; without them the batch itself, each row against all others. References without
            gradient are not copied, whatever their precision.
        ref_labels : (M,) integer tensor, optional
            Below 0: an empty slot.
        index, ref_index : (B,) and (M,) integer tensor, optional
            Rows of the data set: an anchor and a reference of one row form no pair.

        Raises
        ------
        InputError
            Types or shapes do not fit, or one of two arguments that belong together is missing.
        """
        check_rows(embeddings, "embeddings")
        anchors = at_least_float32(embeddings) if self.normalize == "none" else unit_rows(embeddings)
        if ref_emb is None or ref_emb is embeddings:
            references, source = self._batch(anchors, labels, indices_tuple, ref_labels, index, ref_index)
        else:
            references = self._references(ref_emb, anchors)
            source = _source(anchors, labels, indices_tuple, ref_emb, ref_labels, index, ref_index)
        if source is None:
            return reduced((anchors * 0.0).sum(dim=1), self.reduction)
        terms = self.terms if indices_tuple is None else self.terms_of_given
        losses = anchor_losses(anchors, *references, source, terms, is_close=self.is_close)
        return reduced(losses, self.reduction)

    def _batch(
        self,
        anchors: Tensor,
        labels: Tensor | None,
        indices_tuple: IndicesTuple | None,
        ref_labels: Tensor | None,
        index: Tensor | None,
        ref_index: Tensor | None,
    ) -> tuple[References, PairSource | None]:
        if ref_index is not None or not (ref_labels is None or ref_labels is labels):
            raise InputError("ref_labels and ref_index belong to ref_emb, which is not given")
        rows = torch.arange(len(anchors), device=anchors.device) if index is None else index
        source = _source(anchors, labels, indices_tuple, anchors, labels, rows, rows)
        return References(anchors, None), source

    def _references(self, ref_emb: Tensor, anchors: Tensor) -> References:
        check_rows(ref_emb, "ref_emb", width=anchors.shape[1])
        if ref_emb.requires_grad and torch.is_grad_enabled():
            rows = unit_rows(ref_emb) if self.normalize == "both" else ref_emb
            return References(rows.to(anchors.dtype), None)
        rows = ref_emb.detach()
        return References(rows, _inverse_lengths(rows, anchors.dtype) if self.normalize == "both" else None)


def refuse_normalize(normalize: str) -> None:
    """Raise `InputError` where a word does not say which rows to bring to unit length."""
    if normalize not in get_args(Normalize):
        raise InputError(f"normalize is {normalize!r}; expected one of {', '.join(get_args(Normalize))}")


def _inverse_lengths(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 over the length of each row; 0 for rows of zeros."""
    # In blocks: lengths of a wide memory in half precision, taken at once, cost more than the product.
    blocks = torch.split(rows, 1024)
    lengths: Tensor = torch.cat([torch.linalg.vector_norm(block.to(dtype), dim=1) for block in blocks])
    return lengths.reciprocal().masked_fill_(lengths < _SMALLEST_NORM, 0.0)


def _source(
    anchors: Tensor,
    labels: Tensor | None,
    indices_tuple: IndicesTuple | None,
    ref_emb: Tensor,
    ref_labels: Tensor | None,
    index: Tensor | None,
    ref_index: Tensor | None,
) -> PairSource | None:
    """Return where the pairs are; None where there cannot be any."""
    if indices_tuple is not None:
        if not len(anchors) or not len(ref_emb):
            return None
        return GivenPairs(*pair_masks(indices_tuple, anchors.new_empty(len(anchors), len(ref_emb))))
    left = checked_labels(labels, anchors, "labels").long()
    right = checked_labels(ref_labels, ref_emb, "ref_labels").long()
    if (index is None) != (ref_index is None):
        raise InputError("index and ref_index name the same rows of the data set: give both or neither")
    if index is not None and ref_index is not None:
        index = checked_labels(index, anchors, "index").long()
        ref_index = checked_labels(ref_index, ref_emb, "ref_index").long()
    if not len(anchors) or not len(ref_emb):
        return None
    return LabelPairs(left, right, index, ref_index)
