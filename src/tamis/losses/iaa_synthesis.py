"""Synthetic embeddings around the real ones, as wide as their class (IAA)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tamis.errors import InputError
from tamis.losses.cosine import without_autocast
from tamis.statistics.class_sums import as_codes
from tamis.statistics.labelled_logits import at_least_float32, can_read_values


class Synthetics(NamedTuple):
    """M synthetic embeddings of each of B rows.

    Attributes
    ----------
    embeddings : (M B, d) float tensor
        Row ``m B + i`` is copy m of row i; not scaled to unit length.
    labels : (M B,) int64 tensor
    """

    embeddings: Tensor
    labels: Tensor


def synthesize(
    embeddings: Tensor, labels: Tensor, variances: Tensor, noise: Tensor, strength: float = 0.8
) -> Synthetics:
    """Return ``z + sqrt(strength * variance of its class) * noise`` for every row and every copy.

    The gradient reaches the embeddings as if the copies were these themselves; none reaches the variances.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        As the network gives them, **not** scaled to unit length.
    labels : (B,) integer tensor
        Class codes 0..C-1.
    variances : (C, d) float tensor
        At least 0: `tamis.memory.ClassVariances.effective`.
    noise : (M, B, d) float tensor
        Standard normal, independent for each copy; no copies for M = 0. ``tamis.augment.normals(seed, step,
        index, M * d, stream="iaa").view(B, M, d).transpose(0, 1)`` depends on nothing but seed, step and
        sample.
    strength : float, default=0.8
        At least 0, from `tamis.statistics.schedules.synthesis_strength`; 0 gives plain copies.

    Raises
    ------
    InputError
        Shapes or codes do not fit, or a negative strength or variance.

    References
    ----------
    .. [1] Z. Fu, Z. Mao, B. Hu, A.-A. Liu, Y. Zhang. "Intra-class adaptive augmentation with neighbor
       correction for deep metric learning", IEEE TMM 2022, equation 17. (Their code takes the root of the
       variance once more for every further copy.)

    Examples
    --------
    >>> import torch
    >>> variances = torch.tensor([[4.0, 0.0]])
    >>> synthesize(torch.zeros(1, 2), torch.tensor([0]), variances, torch.ones(1, 1, 2), strength=1.0)
    Synthetics(embeddings=tensor([[2., 0.]]), labels=tensor([0]))
    """
    if embeddings.ndim != 2 or variances.ndim != 2 or embeddings.shape[1] != variances.shape[1]:
        raise InputError(
            f"embeddings has shape {tuple(embeddings.shape)}, variances {tuple(variances.shape)}; expected "
            "(B, d) and (C, d)"
        )
    if noise.ndim != 3 or noise.shape[1:] != embeddings.shape:
        raise InputError(
            f"noise has shape {tuple(noise.shape)}; expected (M, {len(embeddings)}, {embeddings.shape[1]}): "
            "M copies of embeddings"
        )
    if not 0 <= strength < float("inf"):
        raise InputError(f"strength is {strength}; expected at least 0 (0 = plain copies)")
    rows = at_least_float32(embeddings)
    can_check = can_read_values()
    codes = as_codes(labels, len(rows), len(variances), device=rows.device) if can_check else labels.long()
    spread = variances.detach().to(rows)[codes]  # (B, d)
    if can_check and bool((spread < 0).any()):
        row = int((spread < 0).any(dim=1).nonzero()[0, 0])
        raise InputError(f"variances of class {int(codes[row])} are negative; expected at least 0")
    with without_autocast(rows):
        copies = rows + (strength * spread).sqrt() * noise.detach().to(rows)  # (M, B, d)
    return Synthetics(copies.flatten(0, 1), codes.repeat(len(noise)))
