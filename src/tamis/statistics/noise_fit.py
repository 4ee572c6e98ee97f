"""The fit of a noise model to given labels: its free parameters, their priors, and where the fit starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
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
    """The numbers of a model in one vector, those that are fitted first, with their prior."""

    def __init__(self, model: NoiseModel, prior: Prior) -> None:
        self._prior, self._ambiguity = prior, model.ambiguity
        level = model.affinity.diagonal().mean()  # () shared part of the diagonal
        parts = {
            "weights": (model.weights, 0.0),
            "bias": (model.bias, _BIAS_PRIOR),
            "mixing": (model.mixing, prior.mixing),
            "own": (model.affinity.diagonal() - level, prior.noise),  # (K,) deviations of classes
            "off": (model.affinity - torch.diag(model.affinity.diagonal()), prior.noise),
            "level": (level, 0.0),
            "uniform": (model.uniform_logit, 0.0),
        }
        self._places: dict[str, slice] = {}
        end = 0
        for name, (values, _) in parts.items():
            self._places[name] = slice(end, end := end + values.numel())
        self.vector = torch.cat([values.reshape(-1) for values, _ in parts.values()]).numpy()
        # Views: they follow the vector.
        whole = torch.from_numpy(self.vector)
        self._parts = {
            name: whole[self._places[name]].view(values.shape) for name, (values, _) in parts.items()
        }
        self._precisions = np.concatenate(
            [np.full(values.numel(), precision) for values, precision in parts.values()]
        )

    def n_free(self, *, noise_is_known: bool, level_is_known: bool) -> int:
        """Return how many numbers, from the first, are to be fitted."""
        last = "bias" if noise_is_known else "off" if level_is_known else "uniform"
        return int(self._places[last].stop)

    def model(self) -> NoiseModel:
        """Return the model of the present values."""
        part = self._parts
        affinity = part["off"] + torch.diag(part["level"] + part["own"])
        return NoiseModel(
            part["weights"], part["mixing"], part["bias"], affinity, part["uniform"], self._ambiguity
        )

    def penalty(self) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the negative logarithm of the prior, and its derivative."""
        prior, weights = self._prior, self.vector[self._places["weights"]]
        slope = self._precisions * self.vector
        terms = slope * self.vector
        if prior.scale is not None:
            place, size = self._places["off"], prior.scale**2
            ratio = self.vector[place] ** 2 / size
            terms[place] = prior.noise * size * np.log1p(ratio)
            slope[place] /= 1 + ratio
        penalty = float(terms.sum())
        if prior.sharpness:
            total = float(weights.sum())
            excess = math.log(max(total, _LEAST_SHARPNESS)) - prior.log_sharpness
            penalty += prior.sharpness * excess**2
            if total > _LEAST_SHARPNESS:
                slope[self._places["weights"]] += prior.sharpness * excess / total
        return penalty / 2, slope

    def value_and_gradient(
        self, pieces: Sequence[torch.Tensor], labels: torch.Tensor
    ) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the negative log-posterior per row, and its derivative by `vector`."""
        value, by = log_likelihood(self.model(), pieces, labels)
        penalty, slope = self.penalty()
        diagonal = by.affinity.diagonal()
        off = by.affinity - torch.diag(diagonal)
        parts = (by.weights, by.bias, by.mixing, diagonal, off, diagonal.sum(), by.uniform_logit)
        ascent = torch.cat([part.reshape(-1) for part in parts]).numpy()
        return penalty / len(labels) - value, slope / len(labels) - ascent


def objective(
    model: NoiseModel, evidence: Sequence[torch.Tensor], labels: torch.Tensor, prior: Prior
) -> float:
    """Return the negative log-posterior of a model per row; lower is better."""
    fitted = torch.logsumexp(model.log_joint([centred(e) for e in evidence], labels), 1).mean()
    return _Parameters(model, prior).penalty()[0] / len(labels) - float(fitted)


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
    parameters = _Parameters(model, prior)
    free = slice(parameters.n_free(noise_is_known=noise_is_known, level_is_known=level_is_known))

    # A view: the solver moves the model's own numbers.
    vector = torch.from_numpy(parameters.vector)[free]
    solver = torch.optim.LBFGS(
        [vector],
        max_iter=max_iter,
        max_eval=2 * max_iter,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        value, gradient = parameters.value_and_gradient(pieces, labels)
        vector.grad = torch.from_numpy(gradient[free])
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
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
