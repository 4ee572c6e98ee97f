"""Mean and variance of each class and dimension, from blocks, and merged with an older estimate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.class_sums import as_codes
from tamis.statistics.labelled_logits import widest
from tamis.statistics.schedules import refuse_rate


class ClassMoments(NamedTuple):
    """What is known about the embeddings of each class.

    Attributes
    ----------
    means : (C, d) float tensor
        Zero for a class without rows.
    variances : (C, d) float tensor
        Of each dimension, divided by the number of rows; zero for a class of one row.
    counts : (C,) int64 tensor
        Rows of each class.
    """

    means: Tensor
    variances: Tensor
    counts: Tensor


def class_moments(
    blocks: Iterable[tuple[Tensor, Tensor]],
    n_classes: int,
    n_features: int,
    *,
    device: torch.device | str = "cpu",
) -> ClassMoments:
    """Return the moments of all rows of the blocks, in float64.

    State is kept about the means, so a large offset costs no precision; blocks and their order change
    nothing. Memory: ``2 C d`` numbers and a block.

    Parameters
    ----------
    blocks : iterable of (rows, labels)
        (n, d) float embeddings as the network gives them, not scaled to unit length, and (n,) integer class
        codes; -1 leaves a row out.
    n_classes, n_features : int
        C and d.
    device : torch device
        Where to compute.

    Raises
    ------
    InputError
        Shapes or codes do not fit, or a row that is not left out holds NaN or infinity.

    Examples
    --------
    >>> block = (torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]))
    >>> class_moments([block], 2, 1).variances[:, 0]
    tensor([1., 0.], dtype=torch.float64)
    """
    moments = empty_moments(n_classes, n_features, widest(torch.zeros(1, device=device)))
    for rows, labels in blocks:
        codes = as_codes(labels, len(rows), n_classes, lowest=-1, device=device)
        if rows.ndim != 2 or rows.shape[1] != n_features or not rows.is_floating_point():
            raise InputError(
                f"rows have shape {tuple(rows.shape)} and dtype {rows.dtype}; expected floats of shape "
                f"(n, {n_features})"
            )
        rows = widest(rows.detach().to(device))
        is_used = codes >= 0
        _refuse_infinite(rows, is_used)
        _add_block(moments, rows[is_used], codes[is_used])
    return moments


def empty_moments(n_classes: int, n_features: int, like: Tensor) -> ClassMoments:
    """Return the moments of no rows, in the dtype and on the device of ``like``.

    Raises
    ------
    InputError
        No classes or no dimensions.
    """
    for name, value in (("n_classes", n_classes), ("n_features", n_features)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    means = like.new_zeros(n_classes, n_features)
    counts = torch.zeros(n_classes, dtype=torch.int64, device=like.device)
    return ClassMoments(means, means.clone(), counts)


def merged_moments(old: ClassMoments, new: ClassMoments, momentum: float = 1.0) -> ClassMoments:
    """Return an estimate moved towards a new one: per class a mixture with the weight of the new rows.

    That weight is ``W = max(m / (m + n), 1 - momentum)`` for m new rows and n old ones, so 1 for the first
    rows of a class; classes without new rows stay as they are. Counts add up.

    Parameters
    ----------
    old, new : ClassMoments
    momentum : float in [0, 1]
        The largest share of the past. 1 gives the moments of all rows together; with 0.2 the new rows
        weigh at least 0.8.

    Raises
    ------
    InputError
        Other numbers of classes or features, or ``momentum`` outside [0, 1].

    References
    ----------
    .. [1] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.
    .. [2] T. Chan, G. Golub, R. LeVeque. "Updating formulae and a pairwise algorithm for computing sample
       variances", 1979: the case of momentum 1.

    Examples
    --------
    >>> old = class_moments([(torch.tensor([[0.0]]), torch.tensor([0]))], 1, 1)
    >>> new = class_moments([(torch.tensor([[4.0]]), torch.tensor([0]))], 1, 1)
    >>> merged_moments(old, new).means, merged_moments(old, new).variances
    (tensor([[2.]], dtype=torch.float64), tensor([[4.]], dtype=torch.float64))
    """
    refuse_rate(momentum, "momentum")
    if old.means.shape != new.means.shape:
        raise InputError(
            f"the new moments have (classes, features) {tuple(new.means.shape)}, the old ones "
            f"{tuple(old.means.shape)}; both must be made for the same"
        )
    means, variances = new.means.to(old.means), new.variances.to(old.means)
    counts = new.counts.to(old.counts.device)
    share = counts.to(means) / (counts + old.counts).clamp(min=1)
    weight = share.clamp(min=1.0 - momentum).where(counts > 0, share.new_zeros(()))[:, None]  # (C, 1)
    between = weight * (1.0 - weight) * (means - old.means).square()
    return ClassMoments(
        (1.0 - weight) * old.means + weight * means,
        (1.0 - weight) * old.variances + weight * variances + between,
        old.counts + counts,
    )


def _add_block(moments: ClassMoments, rows: Tensor, codes: Tensor) -> None:
    """Merge a block in place; only the classes it holds are touched."""
    if not len(rows):
        return
    touched, places = torch.unique(codes, return_inverse=True)
    block = empty_moments(len(touched), rows.shape[1], rows)
    counts = torch.bincount(places)
    means = block.means.index_add_(0, places, rows).div_(counts[:, None])
    squares = (rows - means[places]).square()
    variances = block.variances.index_add_(0, places, squares).div_(counts[:, None])
    old = ClassMoments(*(each[touched] for each in moments))
    merged = merged_moments(old, ClassMoments(means, variances, counts))
    for target, part in zip(moments, merged, strict=True):
        target[touched] = part


def _refuse_infinite(rows: Tensor, is_used: Tensor) -> None:
    is_bad = is_used & ~torch.isfinite(rows).all(dim=1)
    if bool(is_bad.any()):
        row = int(is_bad.nonzero()[0, 0])
        raise InputError(f"row {row} of a block holds NaN or infinity; leave such rows out (label -1)")
