"""The noise model fitted to given labels, for the probability that each of them is right.

Everything but the exponent g of the model (`tamis.statistics.noise_model`) is fitted by maximum a posteriori
on the given labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tamis.errors import InputError
from tamis.statistics.noise_model import NoiseModel, centred, float64_tensor
from tamis.types import FloatArray, IntArray

AMBIGUITY = 0.23
"""Exponent g for labels given by someone who looked at the sample.

The given labels alone do not determine it: a label that is wrong where the classes overlap looks like a right
one. The value was chosen on human labels of one image set (see docs/calibration.md); the interval of an audit
spans half and one and a half times it."""

_FIT_ROWS = 25_000
_FIT_CELLS = 1_500_000  # rows x classes of the rows used for fitting
_WEIGHT_PRIOR = 20.0
_BIAS_PRIOR = 2.0
_NOISE_PRIOR = 1.5
_POOR_NOISE_PRIOR = 5.0
_ROWS_PER_CELL = 50  # of a (K, K) matrix, to fit it with little prior
_CLEAN_START = 0.02  # share of wrong labels


def fit_noise_model(
    evidence: Sequence[FloatArray],
    labels: IntArray,
    *,
    ambiguity: float | None = None,
    start: NoiseModel | None = None,
    max_iter: int = 100,
) -> NoiseModel:
    """Fit the noise model to given labels and out-of-sample evidence.

    Parameters
    ----------
    evidence : sequence of (n, K) arrays
        Log-probabilities, or anything that differs from them by a constant per row. The first is corrected
        by a full matrix, so it should be the strongest. Out of sample: row i must not have been trained on
        label i.
    labels : (n,) int
        Given labels in [0, K); -1 = unlabelled rows, left out. Every class should occur.
    ambiguity : float, optional
        Exponent g >= 0. By default `AMBIGUITY`, less where the fit finds that the noise did not look at the
        rows (see Notes).
    start : NoiseModel, optional
        Where to start from; by default from nearly clean labels and from the confident joint (see Notes).
    max_iter : int
        Of L-BFGS.

    Returns
    -------
    NoiseModel

    Raises
    ------
    InputError
        If there is no evidence, shapes differ, a label is out of range, or fewer than 2 classes exist.

    Notes
    -----
    With the default ambiguity the model is fitted with `AMBIGUITY` first. If more than 35 % of the wrong
    labels come from the uniform part, the exponent is lowered, to 0 at 55 %, and the fit repeated: noise that
    does not look at the rows gives no reason to expect more of it on hard ones.
    The likelihood has several optima: the fit starts from nearly clean labels and, with 50 or more rows per
    cell of a (K, K) matrix, also from the confident joint; the higher posterior is kept. With fewer rows the
    first evidence is not corrected by a matrix, and the transition is held closer to uniform.
    At most 25,000 rows (1,500,000 / K where that is less), evenly spaced, are used for fitting.
    """
    rows, values = _checked(evidence, labels)
    pieces = [float64_tensor(e[rows]) for e in evidence]
    exponent = AMBIGUITY if ambiguity is None else ambiguity
    starts = _starts(pieces, values) if start is None else [start]
    fits = [_maximise(replace(each, ambiguity=exponent), pieces, values, max_iter) for each in starts]
    model = min(fits, key=lambda fit: _objective(fit, pieces, values))
    if ambiguity is not None:
        return model
    # 1 up to a share of 35 %, 0 from 55 %.
    trust = min(1.0, max(0.0, (0.55 - _uniform_part(model, pieces, values)) / 0.2))
    if trust == 1.0:
        return model
    return _maximise(replace(model, ambiguity=AMBIGUITY * trust), pieces, values, max_iter)


def refit_class_weights(model: NoiseModel, evidence: Sequence[FloatArray], labels: IntArray) -> NoiseModel:
    """Fit weights and bias to new evidence and keep the noise as it is.

    For a second round, whose evidence was itself trained on posteriors of the first: it is sharper, but it
    has absorbed part of the noise, so the noise can no longer be estimated from it.

    Parameters
    ----------
    model : NoiseModel
        From `fit_noise_model`.
    evidence, labels
        As in `fit_noise_model`; the number of kinds of evidence may differ.

    Returns
    -------
    NoiseModel
        Without mixing.
    """
    rows, values = _checked(evidence, labels)
    fresh = replace(
        model,
        weights=torch.tensor([0.8] + [0.4] * (len(evidence) - 1), dtype=torch.float64),
        mixing=torch.zeros_like(model.mixing),
        bias=torch.zeros_like(model.bias),
    )
    return _maximise(fresh, [float64_tensor(e[rows]) for e in evidence], values, 100, noise_is_known=True)


def _uniform_part(model: NoiseModel, evidence: list[torch.Tensor], labels: torch.Tensor) -> float:
    """Return the share of the wrong labels that the uniform part accounts for."""
    posterior = torch.softmax(model.log_joint(evidence, labels), 1)
    n_wrong = float((1 - posterior.gather(1, labels[:, None])).sum())
    n_classes = evidence[0].shape[1]
    expected = model.uniform_share * (n_classes - 1) / n_classes * len(labels)
    # With next to no wrong labels there is no share to speak of.
    return min(1.0, expected / n_wrong) if n_wrong > 1e-3 * len(labels) else 0.0


def _checked(evidence: Sequence[FloatArray], labels: IntArray) -> tuple[IntArray, torch.Tensor]:
    if not evidence:
        raise InputError("evidence is empty; give at least one (n, K) array of log-probabilities")
    shape = evidence[0].shape
    if any(e.shape != shape for e in evidence) or len(labels) != shape[0]:
        shapes = [e.shape for e in evidence]
        raise InputError(f"evidence has shapes {shapes} for {len(labels)} labels; all must be (n, K)")
    if shape[1] < 2:
        raise InputError("evidence has fewer than 2 classes; with one class no label can be wrong")
    if labels.max(initial=-1) >= shape[1]:
        raise InputError(
            f"labels reach {labels.max()}, evidence has {shape[1]} columns; codes are 0 to K - 1"
        )
    (rows,) = (labels >= 0).nonzero()
    if not len(rows):
        raise InputError("labels has no labelled row; at least one label per class is needed")
    most = max(1, min(_FIT_ROWS, _FIT_CELLS // shape[1]))
    if len(rows) > most:
        # Evenly spaced; canonical order is random with respect to everything that matters.
        rows = rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long().numpy()]
    return rows, torch.from_numpy(labels[rows]).long()


def _is_rich(n_rows: int, n_classes: int) -> bool:
    """Whether there are rows enough to fit two full matrices of the classes."""
    return n_rows >= _ROWS_PER_CELL * n_classes**2


def _starts(evidence: list[torch.Tensor], labels: torch.Tensor) -> list[NoiseModel]:
    """Return where to start from; the fit has several optima, and the better one is kept.

    Nearly clean labels first. With rows enough also the confident joint: without it, noise between single
    pairs of classes is not found, but with few rows it leads to optima that take uncertainty for noise.
    """
    joint = _confident_joint_start(evidence, labels)
    n_classes = len(joint.affinity)
    odds = (n_classes - 1) * (1 - _CLEAN_START) / _CLEAN_START
    clean = replace(
        joint,
        affinity=torch.eye(n_classes, dtype=torch.float64) * math.log(odds),
        uniform_logit=torch.tensor(math.log(0.01 / 0.99), dtype=torch.float64),
    )
    return [clean, joint] if _is_rich(len(labels), n_classes) else [clean]


def _confident_joint_start(evidence: list[torch.Tensor], labels: torch.Tensor) -> NoiseModel:
    """Start from the confident joint: samples that a class is unusually sure of, counted by given label."""
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
        ambiguity=AMBIGUITY,
    )


def _off_diagonal_mean(matrix: torch.Tensor) -> torch.Tensor:
    return (matrix.sum(1, keepdim=True) - matrix.diagonal()[:, None]) / (len(matrix) - 1)


class _Parameters:
    """The tensors that are fitted, and the model they make."""

    def __init__(self, model: NoiseModel, n_rows: int) -> None:
        self._is_rich = _is_rich(n_rows, len(model.affinity))
        self._off_diagonal = 1 - torch.eye(len(model.affinity), dtype=torch.float64)
        self._ambiguity = model.ambiguity
        self.weights, self.mixing, self.bias, self.uniform = (
            part.clone() for part in (model.weights, model.mixing, model.bias, model.uniform_logit)
        )
        self.level = model.affinity.diagonal().mean().clone()  # () shared part of the diagonal
        self.own = (model.affinity.diagonal() - self.level).clone()  # (K,) deviations of classes
        self.off = model.affinity * self._off_diagonal

    def free(self, *, noise_is_known: bool) -> list[torch.Tensor]:
        """Return the tensors to fit, ready for gradients."""
        chosen = [self.weights, self.bias]
        if not noise_is_known:
            chosen += [self.level, self.own, self.off, self.uniform]
            chosen += [self.mixing] if self._is_rich else []
        return [parameter.requires_grad_() for parameter in chosen]

    def model(self) -> NoiseModel:
        """Return the model of the present values."""
        affinity = self.off * self._off_diagonal + torch.diag(self.level + self.own)
        return NoiseModel(self.weights, self.mixing, self.bias, affinity, self.uniform, self._ambiguity)

    def penalty(self) -> torch.Tensor:
        """Return twice the negative logarithm of the prior."""
        penalty = _WEIGHT_PRIOR * (self.mixing**2).sum() + _BIAS_PRIOR * (self.bias**2).sum()
        deviations = (self.own**2).sum() + ((self.off * self._off_diagonal) ** 2).sum()
        return penalty + (_NOISE_PRIOR if self._is_rich else _POOR_NOISE_PRIOR) * deviations


def _objective(model: NoiseModel, evidence: list[torch.Tensor], labels: torch.Tensor) -> float:
    """Return the negative log-posterior of a model per row; lower is better."""
    fitted = torch.logsumexp(model.log_joint([centred(e) for e in evidence], labels), 1).mean()
    return float(_Parameters(model, len(labels)).penalty() / (2 * len(labels)) - fitted)


def _maximise(
    model: NoiseModel,
    evidence: list[torch.Tensor],
    labels: torch.Tensor,
    max_iter: int,
    *,
    noise_is_known: bool = False,
) -> NoiseModel:
    pieces = [centred(e) for e in evidence]
    parameters = _Parameters(model, len(labels))
    solver = torch.optim.LBFGS(
        parameters.free(noise_is_known=noise_is_known),
        max_iter=max_iter,
        max_eval=2 * max_iter,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        log_likelihood = torch.logsumexp(parameters.model().log_joint(pieces, labels), 1).mean()
        value = parameters.penalty() / (2 * len(labels)) - log_likelihood
        value.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
    with torch.no_grad():
        fitted = parameters.model()
    return replace(
        fitted,
        weights=fitted.weights.detach(),
        mixing=fitted.mixing.detach(),
        bias=fitted.bias.detach(),
        affinity=fitted.affinity.detach(),
        uniform_logit=fitted.uniform_logit.detach(),
    )
