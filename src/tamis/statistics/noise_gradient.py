"""The likelihood of given labels under a noise model, with its gradient written out."""

from __future__ import annotations

import math
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
    rows = torch.arange(n_rows)
    # Forward, as NoiseModel.log_joint; (n, K) each.
    logits = torch.addmm(model.bias, pieces[0], model.mixing)
    for weight, values in zip(model.weights, pieces, strict=True):
        logits.addcmul_(values, weight)
    log_q = torch.log_softmax(logits, 1)
    lean = (model.ambiguity * log_q).clamp_(min=LEAST_LEAN)
    strength, powers = model.affinity.exp(), lean.exp()
    norms = powers @ strength.T
    structured = model.affinity[:, labels].T + lean[rows, labels][:, None] - norms.log()
    keep = torch.nn.functional.logsigmoid(-model.uniform_logit)
    uniform = torch.nn.functional.logsigmoid(model.uniform_logit) - math.log(n_classes)
    given = torch.logaddexp(keep + structured, uniform)
    joint = log_q + given
    totals = torch.logsumexp(joint, 1)

    # Backward: the derivative by log q, and by `keep + structured`, which accounts for a part of it.
    by_log_q = (joint - totals[:, None]).exp_().div_(n_rows)
    by_structured = by_log_q * (keep + structured - given).exp_()
    looked = float(by_structured.sum())
    drawn = float(torch.sigmoid(model.uniform_logit))
    by_uniform = (1 - drawn) * (1 - looked) - drawn * looked
    by_norms = -by_structured / norms
    by_affinity = (by_norms.T @ powers).mul_(strength)
    by_affinity += torch.zeros_like(by_affinity).index_add_(0, labels, by_structured).T
    by_lean = (by_norms @ strength).mul_(powers)
    by_lean[rows, labels] += by_structured.sum(1)
    by_log_q += model.ambiguity * by_lean.mul_(lean > LEAST_LEAN)
    by_logits = by_log_q - log_q.exp_() * by_log_q.sum(1, keepdim=True)
    return float(totals.mean()), NoiseGradient(
        torch.stack([(by_logits * values).sum() for values in pieces]),
        pieces[0].T @ by_logits,
        by_logits.sum(0),
        by_affinity,
        torch.tensor(by_uniform, dtype=torch.float64),
    )
