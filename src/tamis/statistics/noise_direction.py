"""Whether wrong labels go where classes look alike: a trace of someone who looked at the samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tamis.statistics.noise_model import NoiseModel

_WRONG_PER_CELL = 3.0


def directedness(model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> float | None:
    """Return the correlation between who is taken for whom and who looks like whom.

    Over ordered pairs of different classes: the share of the wrong labels of true class y that are s, and the
    share of s in what class y looks like (mean product of class probabilities). People who look confuse
    look-alikes; a script, a shifted table or a guess does not.

    Parameters
    ----------
    model : NoiseModel
    evidence : sequence of (n, K) float64 tensors
    labels : (n,) int64 tensor

    Returns
    -------
    float or None
        Pearson's correlation in [-1, 1]; None with fewer than three classes, or fewer than three wrong labels
        for a pair of classes: too few to tell.
    """
    log_joint = model.log_joint(evidence, labels)
    posterior = torch.softmax(log_joint, 1)
    n_classes = posterior.shape[1]
    wrong = torch.zeros(n_classes, n_classes, dtype=torch.float64).index_add_(1, labels, posterior.T)
    wrong.fill_diagonal_(0.0)
    if n_classes < 3 or float(wrong.sum()) < _WRONG_PER_CELL * n_classes * (n_classes - 1):
        return None
    probs = model.log_class_probs(evidence).exp()
    alike = probs.T @ probs
    alike.fill_diagonal_(0.0)
    is_off = ~torch.eye(n_classes, dtype=torch.bool)
    pair = torch.stack([_shares(wrong)[is_off], _shares(alike)[is_off]])
    if bool((pair.std(1) < 1e-12).any()):
        return None
    return float(torch.corrcoef(pair)[0, 1])


def uniform_part(model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> float:
    """Return the share of the wrong labels that the uniform part accounts for."""
    posterior = torch.softmax(model.log_joint(evidence, labels), 1)
    n_wrong = float((1 - posterior.gather(1, labels[:, None])).sum())
    n_classes = evidence[0].shape[1]
    expected = model.uniform_share * (n_classes - 1) / n_classes * len(labels)
    # With next to no wrong labels there is no share to speak of.
    return min(1.0, expected / n_wrong) if n_wrong > 1e-3 * len(labels) else 0.0


def _shares(matrix: torch.Tensor) -> torch.Tensor:
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1e-300)
