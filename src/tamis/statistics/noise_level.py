"""How much noise, where few rows leave it nearly open: the mean of what is possible, not the likeliest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from tamis.statistics.noise_fit import Prior, maximise, objective, with_level
from tamis.statistics.noise_model import NoiseModel, centred

_SHARES = (0.003, 0.02, 0.07, 0.18, 0.35, 0.55)
_MAX_ITER = 20


def at_mean_level(
    model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor, prior: Prior
) -> NoiseModel:
    """Return the model fitted with the noise level that has the mean number of wrong labels.

    Few rows cannot tell flat evidence with right labels from sharp evidence with wrong ones: over a wide
    range of levels the posterior hardly changes, and its maximum lies anywhere in it, mostly at an end. Here
    the level is held at several values, everything else fitted at each, and the expected number of wrong
    labels averaged with the (profile) posterior as weights. The uniform part of the noise is left out: a
    table with one value beside the diagonal says nearly the same.

    Parameters
    ----------
    model : NoiseModel
        At the posterior's maximum; where the fits start from.
    evidence : sequence of (n, K) float64 tensors
    labels : (n,) int64 tensor
    prior : Prior
    """
    n_classes = len(model.affinity)
    levels = [math.log((n_classes - 1) * (1 - share) / share) for share in _SHARES]
    fits = [
        maximise(with_level(model, level), evidence, labels, prior, _MAX_ITER, level_is_known=True)
        for level in levels
    ]
    costs = np.array([len(labels) * objective(fit, evidence, labels, prior) for fit in fits])
    chances = np.exp(costs.min() - costs)
    rates = np.array([_wrong_share(fit, evidence, labels) for fit in fits])
    mean = float(chances @ rates / chances.sum())
    # Rates rise with the share but for rounding and other optima; a running maximum can be inverted.
    level = float(np.interp(mean, np.maximum.accumulate(rates), levels))
    nearest = fits[int(np.abs(rates - mean).argmin())]
    return maximise(with_level(nearest, level), evidence, labels, prior, _MAX_ITER, level_is_known=True)


def _wrong_share(model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> float:
    posterior = torch.softmax(model.log_joint([centred(e) for e in evidence], labels), 1)
    return 1 - float(posterior.gather(1, labels[:, None]).mean())
