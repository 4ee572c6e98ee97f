"""Where the fit of the noise model starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tamis.statistics.noise_model import NoiseModel

_CLEAN_SHARE = 0.02  # of wrong labels


def nearly_clean_start(model: NoiseModel) -> NoiseModel:
    """Return the model with noise that leaves nearly all labels right."""
    n_classes = len(model.affinity)
    odds = (n_classes - 1) * (1 - _CLEAN_SHARE) / _CLEAN_SHARE
    return replace(
        model,
        affinity=torch.eye(n_classes, dtype=torch.float64) * math.log(odds),
        uniform_logit=torch.tensor(math.log(0.01 / 0.99), dtype=torch.float64),
    )


def confident_joint_start(
    evidence: Sequence[torch.Tensor], labels: torch.Tensor, ambiguity: float
) -> NoiseModel:
    """Return the model whose noise is the confident joint.

    Samples that a class is unusually sure of are counted by given label.

    Parameters
    ----------
    evidence : sequence of (n, K) float64 tensors
        Log-probabilities; the first one is counted.
    labels : (n,) int64 tensor
    ambiguity : float
    """
    n_classes = evidence[0].shape[1]
    probs = torch.softmax(evidence[0], 1)
    counts = torch.bincount(labels, minlength=n_classes).double()
    own = probs.gather(1, labels[:, None])[:, 0]
    thresholds = torch.zeros(n_classes, dtype=torch.float64).index_add_(0, labels, own) / counts.clamp(min=1)
    thresholds = torch.where(counts > 0, thresholds, torch.full_like(thresholds, 2.0))
    confident = probs >= thresholds - 1e-6
    guess = torch.where(confident, probs, -torch.ones_like(probs)).argmax(1)
    used = confident.any(1)
    # joint[y, s], one pseudo-count spread over each row and a diagonal that cannot be empty
    joint = torch.full((n_classes, n_classes), 1 / n_classes, dtype=torch.float64) + torch.eye(n_classes)
    index = guess[used] * n_classes + labels[used]
    joint += torch.bincount(index, minlength=n_classes**2).reshape(n_classes, n_classes)
    given = joint.sum(0)
    joint = joint / given * counts.clamp(min=1)
    transition = joint / joint.sum(1, keepdim=True)
    off = transition[~torch.eye(n_classes, dtype=torch.bool)]
    share = (
        float((0.9 * n_classes * torch.quantile(off, 0.25)).clamp(1e-3, 0.9)) if len(off) < 10**6 else 0.02
    )
    structured = (transition - share / n_classes).clamp(min=1e-3)
    affinity = torch.log(structured / structured.sum(1, keepdim=True))
    zeros = torch.zeros(n_classes, dtype=torch.float64)
    return NoiseModel(
        weights=torch.tensor([1.0] + [0.4] * (len(evidence) - 1), dtype=torch.float64),
        mixing=torch.zeros_like(affinity),
        bias=zeros,
        affinity=affinity - _off_diagonal_mean(affinity),
        uniform_logit=torch.tensor(math.log(share / (1 - share)), dtype=torch.float64),
        ambiguity=ambiguity,
    )


def _off_diagonal_mean(matrix: torch.Tensor) -> torch.Tensor:
    return (matrix.sum(1, keepdim=True) - matrix.diagonal()[:, None]) / (len(matrix) - 1)
