"""The fit of a noise model to given labels: its free parameters, their priors, and where the fit starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.optimize
import torch

from tamis.statistics.noise_gradient import log_likelihood
from tamis.statistics.noise_model import NoiseModel, centred
from tamis.statistics.noise_starts import confident_joint_start, nearly_clean_start

_START_ROWS = 25_000  # to find out which start leads to the better optimum
_MANY_ROWS = 50  # per cell of a (K, K) matrix
_MANY_IN_ALL = 5000  # as many as that are for ten classes
_BIAS_PRIOR = 2.0
_MIXING_PRIOR = 20.0
_NOISE_PRIOR = 1.5
_FEW_NOISE_PRIOR, _FEW_NOISE_SCALE = 7.0, 0.5
_SHARPNESS_PRIOR = 4.0
_LEAST_SHARPNESS = 1e-6
_BLIND_LOGIT = -12.0  # of u where it is held at nothing


def has_few_rows(n_rows: int, n_classes: int) -> bool:
    """Say whether there are fewer than 50 rows for each cell of a (K, K) matrix, and fewer than 5,000."""
    return n_rows < min(_MANY_ROWS * n_classes**2, _MANY_IN_ALL)


@dataclass(frozen=True)
class Prior:
    """What is believed of the parameters before the labels are seen; all precisions.

    Attributes
    ----------
    mixing : float
        Of the correction of the first evidence.
    noise : float
        Of the confusions: deviations of log A from one value on the diagonal and one beside it.
    scale : float or None
        Beyond this size a deviation beside the diagonal is little less probable than at it (Student's t):
        most pairs of classes are not confused, a few may be confused often. None = normal.
    sharpness : float
        Of the logarithm of the sum of the weights, around ``log_sharpness``: at first evidence is believed
        as far as it predicts the given labels.
    log_sharpness : float
    """

    mixing: float
    noise: float
    scale: float | None = None
    sharpness: float = 0.0
    log_sharpness: float = 0.0


def prior_for(evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> Prior:
    """Return the prior for this many rows and classes.

    Parameters
    ----------
    evidence : sequence of (n, K) float64 tensors
    labels : (n,) int64 tensor
    """
    n_rows, n_classes = evidence[0].shape
    if not has_few_rows(n_rows, n_classes):
        return Prior(_MIXING_PRIOR, _NOISE_PRIOR)
    # What a matrix may correct fades with the square of the rows that each cell can be learned from.
    mixing = _MIXING_PRIOR * (_MANY_ROWS * n_classes**2 / n_rows) ** 2
    sharpness = _log_sharpness(evidence, labels)
    return Prior(mixing, _FEW_NOISE_PRIOR, _FEW_NOISE_SCALE, _SHARPNESS_PRIOR, sharpness)


def _log_sharpness(evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> float:
    """Return the logarithm of the sum of the weights with which the evidence predicts the labels best."""
    pieces = [centred(e) for e in evidence]
    weights = torch.full((len(pieces),), 1 / len(pieces), dtype=torch.float64).requires_grad_()
    solver = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        logits = sum((w * e for w, e in zip(weights, pieces, strict=True)), torch.zeros_like(pieces[0]))
        # The second term: evidence that separates the labels would have no best weight.
        value = torch.nn.functional.cross_entropy(logits, labels) + 1e-3 * (weights**2).sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return math.log(max(float(weights.detach().sum()), 1e-6))


class _Parameters:
    """The numbers that are fitted, in one vector, and the model they make."""

    def __init__(
        self, model: NoiseModel, prior: Prior, *, noise_is_known: bool = False, level_is_known: bool = False
    ) -> None:
        self._prior = prior
        self._off_diagonal = 1 - torch.eye(len(model.affinity), dtype=torch.float64)
        self._ambiguity = model.ambiguity
        level = model.affinity.diagonal().mean()  # () shared part of the diagonal
        self._parts = {
            "weights": model.weights,
            "bias": model.bias,
            "mixing": model.mixing,
            "own": model.affinity.diagonal() - level,  # (K,) deviations of classes
            "off": model.affinity * self._off_diagonal,
            "level": level,
            "uniform": model.uniform_logit,
        }
        self._free = ["weights", "bias"]
        if not noise_is_known:
            self._free += ["mixing", "own", "off"]
            self._free += [] if level_is_known else ["level", "uniform"]

    def vector(self) -> npt.NDArray[np.float64]:
        """Return the numbers to fit."""
        return self._flat(self._parts)

    def set(self, vector: npt.NDArray[np.float64]) -> None:
        """Take other values for the numbers to fit."""
        start = 0
        for name in self._free:
            shape = self._parts[name].shape
            end = start + shape.numel()
            self._parts[name] = torch.from_numpy(vector[start:end].copy()).reshape(shape)
            start = end

    def model(self) -> NoiseModel:
        """Return the model of the present values."""
        part = self._parts
        affinity = part["off"] * self._off_diagonal + torch.diag(part["level"] + part["own"])
        return NoiseModel(
            part["weights"], part["mixing"], part["bias"], affinity, part["uniform"], self._ambiguity
        )

    def penalty(self) -> float:
        """Return twice the negative logarithm of the prior."""
        prior, part = self._prior, self._parts
        off = (part["off"] * self._off_diagonal) ** 2
        if prior.scale is not None:
            off = prior.scale**2 * torch.log1p(off / prior.scale**2)
        penalty = prior.mixing * (part["mixing"] ** 2).sum() + _BIAS_PRIOR * (part["bias"] ** 2).sum()
        penalty = penalty + prior.noise * ((part["own"] ** 2).sum() + off.sum())
        if not prior.sharpness:
            return float(penalty)
        return float(penalty + prior.sharpness * self._excess() ** 2)

    def value_and_gradient(
        self, pieces: Sequence[torch.Tensor], labels: torch.Tensor
    ) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the negative log-posterior per row, and its derivative by `vector`."""
        prior, part = self._prior, self._parts
        value, by = log_likelihood(self.model(), pieces, labels)
        off = prior.noise * part["off"]
        if prior.scale is not None:
            off = off / (1 + (part["off"] / prior.scale) ** 2)
        weights = torch.zeros_like(part["weights"])
        if prior.sharpness and self._sharpness() > _LEAST_SHARPNESS:
            weights += prior.sharpness * self._excess() / self._sharpness()
        diagonal, n_rows = by.affinity.diagonal(), len(labels)
        gradients = {
            "weights": weights / n_rows - by.weights,
            "bias": _BIAS_PRIOR * part["bias"] / n_rows - by.bias,
            "mixing": prior.mixing * part["mixing"] / n_rows - by.mixing,
            "own": prior.noise * part["own"] / n_rows - diagonal,
            "off": (off / n_rows - by.affinity) * self._off_diagonal,
            "level": -diagonal.sum(),
            "uniform": -by.uniform_logit,
        }
        return self.penalty() / (2 * n_rows) - value, self._flat(gradients)

    def _sharpness(self) -> float:
        return float(self._parts["weights"].sum())

    def _excess(self) -> float:
        return math.log(max(self._sharpness(), _LEAST_SHARPNESS)) - self._prior.log_sharpness

    def _flat(self, parts: Mapping[str, torch.Tensor]) -> npt.NDArray[np.float64]:
        flat: npt.NDArray[np.float64] = torch.cat([parts[name].reshape(-1) for name in self._free]).numpy()
        return flat


def objective(
    model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor, prior: Prior
) -> float:
    """Return the negative log-posterior of a model per row; lower is better."""
    fitted = torch.logsumexp(model.log_joint([centred(e) for e in evidence], labels), 1).mean()
    return _Parameters(model, prior).penalty() / (2 * len(labels)) - float(fitted)


def maximise(
    model: NoiseModel,
    evidence: Sequence[torch.Tensor],
    labels: torch.Tensor,
    prior: Prior,
    max_iter: int,
    *,
    noise_is_known: bool = False,
    level_is_known: bool = False,
) -> NoiseModel:
    """Return the model at the posterior's maximum uphill of the given one, by L-BFGS.

    Parameters
    ----------
    model : NoiseModel
        The start; its ambiguity stays.
    evidence : sequence of (n, K) float64 tensors
    labels : (n,) int64 tensor
    prior : Prior
    max_iter : int
    noise_is_known : bool
        Fit weights and bias only.
    level_is_known : bool
        Keep the shared part of the diagonal, and u.
    """
    pieces = [centred(e) for e in evidence]
    parameters = _Parameters(model, prior, noise_is_known=noise_is_known, level_is_known=level_is_known)

    def value_and_gradient(vector: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        parameters.set(vector)
        return parameters.value_and_gradient(pieces, labels)

    found = scipy.optimize.minimize(
        value_and_gradient,
        parameters.vector(),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": max_iter, "maxfun": 2 * max_iter, "maxcor": 20, "gtol": 1e-6, "ftol": 1e-9},
    )
    parameters.set(found.x)
    return parameters.model()


def best_start(
    evidence: Sequence[torch.Tensor], labels: torch.Tensor, ambiguity: float, max_iter: int
) -> NoiseModel:
    """Return the better of two optima on a part of the rows: from nearly clean labels, or the joint.

    Without the confident joint noise between single pairs of classes is not found; without nearly clean
    labels uncertainty is taken for noise.
    """
    joint = confident_joint_start(evidence, labels, ambiguity)
    step = -(-len(labels) // _START_ROWS)
    few, values = [e[::step] for e in evidence], labels[::step]
    prior = prior_for(few, values)
    fits = [maximise(each, few, values, prior, max_iter) for each in (nearly_clean_start(joint), joint)]
    return min(fits, key=lambda fit: objective(fit, few, values, prior))


def with_level(model: NoiseModel, level: float) -> NoiseModel:
    """Return the model with another shared part of the diagonal, and without the uniform part."""
    shift = level - model.affinity.diagonal().mean()
    return replace(
        model,
        affinity=model.affinity + shift * torch.eye(len(model.affinity), dtype=torch.float64),
        uniform_logit=torch.tensor(_BLIND_LOGIT, dtype=torch.float64),
    )
