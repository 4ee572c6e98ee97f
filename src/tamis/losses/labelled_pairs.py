"""The pairs of a batch: similarities of anchors to references, and which pairs share a label."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows, without_autocast
from tamis.statistics.labelled_logits import at_least_float32

IndicesTuple: TypeAlias = tuple[Tensor, ...]
"""Of pytorch-metric-learning: (anchor, positive, anchor, negative) or (anchor, positive, negative)."""

DUPLICATE = 1e-5
"""A positive pair more similar than 1 minus this is the anchor itself or a copy of it: nothing to learn."""


class LabelledPairs(NamedTuple):
    """Anchors against references.

    Attributes
    ----------
    similarities : (B, M) float tensor
        Dot products, in float32 or better.
    is_positive, is_negative : (B, M) bool tensor
        Pairs of one label, and of two; a pair may be neither.
    """

    similarities: Tensor
    is_positive: Tensor
    is_negative: Tensor


def labelled_pairs(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: IndicesTuple | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    normalize: Literal["both", "anchors", "none"] = "none",
) -> LabelledPairs:
    """Return all pairs of a batch, or those of ``indices_tuple``.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        Anchors.
    labels : (B,) integer tensor, or None with ``indices_tuple``
        A label below 0 says unlabelled: such rows form no pairs.
    indices_tuple : tuple of 3 or 4 integer tensors, optional
        As miners of pytorch-metric-learning give it; columns count in ``ref_emb``.
    ref_emb : (M, d) float tensor, optional
        References; without them the batch itself, each row against all others.
    ref_labels : (M,) integer tensor, optional
    normalize : {"both", "anchors", "none"}, default="none"
        Rows to bring to unit length first; of others the similarity is the dot product. Without ``ref_emb``
        anchors are references too.

    Raises
    ------
    InputError
        Types or shapes do not fit.

    Examples
    --------
    >>> pairs = labelled_pairs(torch.eye(3), torch.tensor([0, 0, 1]))
    >>> pairs.is_positive.int()
    tensor([[0, 1, 0],
            [1, 0, 0],
            [0, 0, 0]], dtype=torch.int32)
    """
    check_rows(embeddings, "embeddings")
    is_batch = ref_emb is None or ref_emb is embeddings
    references = embeddings if ref_emb is None else ref_emb
    if ref_emb is None or (is_batch and ref_labels is None):
        ref_labels = labels
    check_rows(references, "ref_emb", width=embeddings.shape[1])
    anchors = at_least_float32(embeddings) if normalize == "none" else unit_rows(embeddings)
    if references is embeddings:
        references = anchors
    else:
        references = unit_rows(references) if normalize == "both" else at_least_float32(references)
    with without_autocast(anchors):
        similarities = anchors @ references.to(anchors).T  # (B, M)
    if indices_tuple is not None:
        return LabelledPairs(similarities, *pair_masks(indices_tuple, similarities))
    left = checked_labels(labels, embeddings, "labels")
    right = checked_labels(ref_labels, references, "ref_labels")
    is_same = left[:, None] == right[None, :]
    is_pair = (left >= 0)[:, None] & (right >= 0)[None, :]
    is_positive = is_same & is_pair
    if is_batch:
        is_positive.fill_diagonal_(False)
    return LabelledPairs(similarities, is_positive, ~is_same & is_pair)


def of_different_rows(pairs: LabelledPairs, index: Tensor | None, ref_index: Tensor | None) -> LabelledPairs:
    """Return the pairs of two rows of the data set: no sample with an older embedding of itself.

    Parameters
    ----------
    pairs : LabelledPairs
    index, ref_index : (B,) and (M,) integer tensor, optional
        Rows of the data set; all pairs stay where neither is given.

    Raises
    ------
    InputError
        Only one of them is given, or another number than rows.
    """
    if index is None and ref_index is None:
        return pairs
    if index is None or ref_index is None:
        raise InputError("index and ref_index name the same rows of the data set: give both or neither")
    shape = len(index), len(ref_index)
    if shape != pairs.similarities.shape:
        raise InputError(f"index and ref_index have {shape} rows; expected {tuple(pairs.similarities.shape)}")
    device = pairs.similarities.device
    is_other = index.to(device)[:, None] != ref_index.to(device)[None, :]
    return pairs._replace(is_positive=pairs.is_positive & is_other, is_negative=pairs.is_negative & is_other)


class MinedPairs(NamedTuple):
    """What `mined` keeps.

    Attributes
    ----------
    is_positive, is_negative : (B, M) bool tensor
        The hard pairs.
    is_used : (B,) bool tensor
        Anchors with hard pairs of both kinds; all others teach nothing.
    """

    is_positive: Tensor
    is_negative: Tensor
    is_used: Tensor


def without_duplicates(pairs: LabelledPairs) -> LabelledPairs:
    """Return the pairs without positives of similarity ``1 - 1e-5`` and more."""
    # The negated comparison keeps NaN, which must not vanish from a loss.
    is_positive = pairs.is_positive & ~(pairs.similarities >= 1.0 - DUPLICATE)
    return pairs._replace(is_positive=is_positive)


def mined(pairs: LabelledPairs, margin: float) -> MinedPairs:
    """Return positives less similar than the nearest negative plus ``margin``, and negatives likewise.

    Both sides are compared with all pairs of the other kind, not with the mined ones.

    Parameters
    ----------
    pairs : LabelledPairs
    margin : float

    References
    ----------
    .. [1] X. Wang et al. "Multi-similarity loss with general pair weighting for deep metric learning",
       CVPR 2019, equations 7 and 8.

    Examples
    --------
    >>> similarities = torch.tensor([[0.9, 0.3, 0.25, -0.5]])
    >>> is_positive = torch.tensor([[True, True, False, False]])
    >>> found = mined(LabelledPairs(similarities, is_positive, ~is_positive), 0.1)
    >>> found.is_positive.int(), found.is_negative.int()
    (tensor([[0, 1, 0, 0]], dtype=torch.int32), tensor([[0, 0, 1, 0]], dtype=torch.int32))
    """
    similarities = pairs.similarities.detach()
    if similarities.shape[1] == 0:
        nothing = torch.zeros_like(pairs.is_positive)
        return MinedPairs(nothing, nothing, nothing.any(dim=1))
    nearest = similarities.masked_fill(~pairs.is_negative, -torch.inf).amax(dim=1, keepdim=True)
    farthest = similarities.masked_fill(~pairs.is_positive, torch.inf).amin(dim=1, keepdim=True)
    # Negated comparisons: where a similarity is NaN the pairs stay, and the loss says so.
    is_positive = pairs.is_positive & ~(similarities - margin >= nearest)
    is_negative = pairs.is_negative & ~(similarities + margin <= farthest)
    return MinedPairs(is_positive, is_negative, is_positive.any(dim=1) & is_negative.any(dim=1))


def log_one_plus_sum(exponents: Tensor, mask: Tensor) -> Tensor:
    """Return ``log(1 + sum of exp)`` over the masked exponents of each row, (B,); 0 for an empty row."""
    one = exponents.new_zeros(len(exponents), 1)
    return torch.cat([one, exponents.masked_fill(~mask, -torch.inf)], dim=1).logsumexp(dim=1)


def anchor_mean(values: Tensor, is_used: Tensor) -> Tensor:
    """Return the sum of the used anchors' losses over the number of all anchors: scalar, 0 for no anchors."""
    return values.where(is_used, values.new_zeros(())).sum() / max(1, len(values))


def pair_masks(indices_tuple: IndicesTuple, similarities: Tensor) -> tuple[Tensor, Tensor]:
    """Return which entries of (B, M) similarities an ``indices_tuple`` names positive, and negative.

    Raises
    ------
    InputError
        Not 3 or 4 tensors.
    """
    if len(indices_tuple) not in (3, 4):
        raise InputError(
            f"indices_tuple has {len(indices_tuple)} tensors; expected 4 (anchor, positive, anchor, "
            "negative) or 3 (anchor, positive, negative)"
        )
    anchor, positive = indices_tuple[:2]
    other, negative = indices_tuple[2:] if len(indices_tuple) == 4 else (anchor, indices_tuple[2])
    is_positive = torch.zeros_like(similarities, dtype=torch.bool)
    is_negative = torch.zeros_like(is_positive)
    is_positive[anchor.long(), positive.long()] = True
    is_negative[other.long(), negative.long()] = True
    return is_positive, is_negative


def check_rows(rows: Tensor, name: str, width: int | None = None) -> None:
    """Raise `InputError` where rows are no float matrix, or not as wide as others."""
    if not isinstance(rows, Tensor) or rows.ndim != 2 or not rows.is_floating_point():
        kind = f"shape {tuple(rows.shape)}, {rows.dtype}" if isinstance(rows, Tensor) else type(rows).__name__
        raise InputError(f"{name} is {kind}; expected a floating-point tensor of shape (rows, dimensions)")
    if width is not None and rows.shape[1] != width:
        raise InputError(f"{name} has {rows.shape[1]} columns; expected {width}, as embeddings has")


def checked_labels(labels: Tensor | None, rows: Tensor, name: str) -> Tensor:
    """Return integers, one a row, on the device of the rows; else raise `InputError`."""
    if labels is None:
        raise InputError(f"{name} is None; expected {len(rows)} integers, or all pairs as indices_tuple")
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (len(rows),):
        kind = (
            f"shape {tuple(labels.shape)}, {labels.dtype}"
            if isinstance(labels, Tensor)
            else type(labels).__name__
        )
        raise InputError(f"{name} is {kind}; expected an integer tensor of shape ({len(rows)},)")
    return labels.to(rows.device)
