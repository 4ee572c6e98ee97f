"""The likelihood of given labels under a noise model, with its gradient written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tamis.statistics.noise_model import LEAST_LEAN, NoiseModel


@dataclass(frozen=True)
class NoiseGradient:
    """Derivatives by the fields of a `NoiseModel` of the same names; tensors of their shapes, float64."""

    weights: torch.Tensor
    mixing: torch.Tensor
    bias: torch.Tensor
    affinity: torch.Tensor
    uniform_logit: torch.Tensor


@torch.no_grad()
def log_likelihood(
    model: NoiseModel, pieces: Sequence[torch.Tensor], labels: torch.Tensor
) -> tuple[float, NoiseGradient]:
    """Return the mean of log P(given label) over rows, and its gradient.

    By hand, because fits of a few hundred rows spend their time in bookkeeping otherwise.

    Parameters
    ----------
    model : NoiseModel
    pieces : sequence of (n, K) float64 tensors
        The evidence, centred row by row.
    labels : (n,) int64 tensor
    """
    n_rows, n_classes = pieces[0].shape
    cells = torch.arange(n_rows), labels
    # Forward, as NoiseModel.log_joint, but not in logarithms; (n, K) each. No norm gets to 0 or overflows:
    # powers are at least e^LEAST_LEAN, and the largest of a row of A is 1 (the norms take out its scale).
    logits = torch.addmm(model.bias, pieces[0], model.mixing)
    for weight, values in zip(model.weights.tolist(), pieces, strict=True):
        logits.add_(values, alpha=weight)
    log_q = torch.log_softmax(logits, 1)
    lean = log_q.mul(model.ambiguity).clamp_(min=LEAST_LEAN)
    q, powers = log_q.exp_(), lean.exp()
    strength = (model.affinity - model.affinity.amax(1, keepdim=True)).exp()
    norms = powers @ strength.T
    drawn = model.uniform_share
    looked = (1 - drawn) * (strength.T[labels] * powers[cells][:, None]).div_(norms)
    given = looked + drawn / n_classes
    joint = q * given
    totals = joint.sum(1)

    # Backward: the derivative by log q, and by the logarithm of `looked`, which accounts for a part of it.
    by_log_q = joint.div_((n_rows * totals)[:, None])
    by_looked = looked.mul_(by_log_q).div_(given)
    share = float(by_looked.sum())
    by_uniform = (1 - drawn) * (1 - share) - drawn * share
    by_norms = norms.reciprocal_().mul_(by_looked)
    by_affinity = torch.zeros_like(strength).index_add_(0, labels, by_looked).T
    by_affinity -= (by_norms.T @ powers).mul_(strength)
    by_lean = (by_norms @ strength).mul_(powers).neg_()
    by_lean[cells] += by_looked.sum(1)
    by_log_q.addcmul_(by_lean, lean > LEAST_LEAN, value=model.ambiguity)
    by_logits = by_log_q - q.mul_(by_log_q.sum(1, keepdim=True))
    return float(totals.log_().mean()), NoiseGradient(
        torch.stack([torch.dot(by_logits.view(-1), values.reshape(-1)) for values in pieces]),
        pieces[0].T @ by_logits,
        by_logits.sum(0),
        by_affinity,
        torch.tensor(by_uniform, dtype=torch.float64),
    )
