"""InsCLR's check of a batch: neighbours that an anchor brought along and that are not like it any more."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32


def reject_unlike(
    features: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.6,
    is_relative: bool = False,
    always_true: int = 0,
    official: bool = False,
) -> Tensor:
    """Return the labels, negative for neighbours that are not like the anchor of their label any more.

    The anchor of a label is the first row that carries it; the others are the neighbours it brought along.

    Parameters
    ----------
    features : (B, d) float tensor
        Of samples as they are, not augmented; unit rows.
    labels : (B,) int64 tensor, above 0
    threshold : float
        Least similarity to the anchor.
    is_relative : bool
        Take it as a share of the similarity of the anchor's most similar neighbour.
    always_true : int
        So many first neighbours of every anchor are kept in any case.
    official : bool
        Give rejected rows the negative label of their anchor, as the authors' code does, which makes them
        positives of each other; by default each gets a label of its own.

    Raises
    ------
    InputError
        A label that is not above 0, or shapes that do not fit.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> labels = torch.tensor([5, 5, 5])
    >>> reject_unlike(rows, labels), reject_unlike(rows, labels, official=True)
    (tensor([ 5,  5, -3]), tensor([ 5,  5, -5]))
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InputError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} do not fit; expected (B, d) "
            "and (B,)"
        )
    if bool((labels <= 0).any()):
        raise InputError(f"labels hold {int(labels.min())}; expected pseudo labels above 0")
    rows = at_least_float32(features.detach())
    is_same = labels[:, None] == labels[None, :]
    numbers = torch.arange(len(labels), device=labels.device)
    # Position of each row among the rows of its label: 0 is the anchor.
    position = (is_same & (numbers[None, :] < numbers[:, None])).sum(dim=1)
    anchor = is_same.int().argmax(dim=1)
    similarity = (rows * rows[anchor]).sum(dim=1)
    least = torch.full_like(similarity, threshold)
    if is_relative:
        others = similarity[None, :].masked_fill(~is_same | (position == 0)[None, :], -torch.inf)
        least = threshold * others.amax(dim=1)
    is_kept = (similarity >= least) | (position <= always_true)
    own = -labels if official else -(numbers + 1)
    return torch.where(is_kept, labels, own)
