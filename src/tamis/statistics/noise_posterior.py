"""The noise model fitted to given labels, for the probability that each of them is right.

Everything but the exponent g of the model (`tamis.statistics.noise_model`) is fitted by maximum a posteriori
on the given labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tamis.errors import InputError
from tamis.statistics.noise_direction import directedness, uniform_part
from tamis.statistics.noise_model import NoiseModel, centred, float64_tensor
from tamis.statistics.noise_starts import confident_joint_start, nearly_clean_start
from tamis.types import FloatArray, IntArray

AMBIGUITY = 0.23
"""Exponent g for labels given by someone who looked at the sample.

The given labels alone do not determine it: a label that is wrong where the classes overlap looks like a right
one. The value was chosen on human labels of one image set (see docs/calibration.md); the interval of an audit
spans half and one and a half times it."""

_START_ROWS = 25_000  # to find out which start leads to the better optimum
_FIT_ROWS = 50_000
_DIRECTED = (0.45, 0.6)  # correlation: below nobody looked, above somebody did
_CHOICE_ROWS, _CHOICE_ITER = 12_500, 30
_FIT_CELLS = 1_500_000  # rows x classes of the rows used for fitting
_WEIGHT_PRIOR = 20.0
_BIAS_PRIOR = 2.0
_NOISE_PRIOR = 1.5
_POOR_NOISE_PRIOR = 5.0
_MIXING_ROWS = 50  # rows per cell of a (K, K) matrix, to correct the first evidence by one
_NOISE_ROWS = 25  # rows per cell, to hold the transition by a weak prior and to start from the counts too


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
    With the default ambiguity the model is fitted with `AMBIGUITY` and with 0. Where 0 makes the labels more
    probable, the exponent is 0 if the wrong labels do not go to classes that look alike (correlation below
    0.45, see `tamis.statistics.noise_direction.directedness`) or if the uniform part accounts for 55 % of
    them: noise that does not look at the rows gives no reason to expect more of it on hard ones. From 0.6,
    and up to 35 %, it is `AMBIGUITY`; between them in proportion.
    The likelihood has several optima: the fit starts from nearly clean labels and, with 25 or more rows per
    cell of a (K, K) matrix, also from the confident joint; the higher posterior is kept. With fewer rows the
    transition is held closer to uniform. From 50 rows per cell the first evidence is corrected by a matrix.
    At most 50,000 rows (1,500,000 / K where that is less), evenly spaced, are used for the fit, and 25,000 of
    them to choose between the starts.
    """
    rows, values = _checked(evidence, labels)
    pieces = [float64_tensor(e[rows]) for e in evidence]
    exponent = AMBIGUITY if ambiguity is None else ambiguity
    begin = _best_start(pieces, values, exponent, max_iter) if start is None else start
    model = _maximise(replace(begin, ambiguity=exponent), pieces, values, max_iter)
    if ambiguity is not None:
        return model
    blind = _maximise(replace(model, ambiguity=0.0), pieces, values, max_iter)
    trust = _trust(model, blind, pieces, values)
    if trust in {0.0, 1.0}:
        return model if trust else blind
    return _maximise(replace(model, ambiguity=AMBIGUITY * trust), pieces, values, max_iter)


def likeliest(alternatives: Sequence[Sequence[FloatArray]], labels: IntArray) -> int:
    """Return which of several bodies of evidence makes the given labels the most probable.

    Each is fitted by a noise model on at most 12,500 rows.

    Parameters
    ----------
    alternatives : sequence of evidence
        As in `fit_noise_model`, each with the same number of kinds.
    labels : (n,) int

    Returns
    -------
    int
        Its position; the first among equals.
    """
    values = []
    for evidence in alternatives:
        rows, codes = _checked(evidence, labels)
        step = -(-len(rows) // _CHOICE_ROWS)
        few, some = [float64_tensor(e[rows[::step]]) for e in evidence], codes[::step]
        fit = _maximise(_best_start(few, some, AMBIGUITY, _CHOICE_ITER), few, some, _CHOICE_ITER)
        values.append(_objective(fit, few, some))
    return values.index(min(values))


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


def _trust(model: NoiseModel, blind: NoiseModel, evidence: list[torch.Tensor], labels: torch.Tensor) -> float:
    """Return how far to believe, from 0 to 1, that whoever gave the labels looked at the samples.

    ``model`` is the fit with the usual exponent, ``blind`` the one with exponent 0.
    """
    if _objective(model, evidence, labels) <= _objective(blind, evidence, labels):
        return 1.0
    pieces = [centred(e) for e in evidence]
    # 1 up to a uniform share of 35 %, 0 from 55 %.
    trust = (0.55 - uniform_part(model, pieces, labels)) / 0.2
    found = directedness(blind, pieces, labels)
    if found is not None:
        low, high = _DIRECTED
        trust = min(trust, (found - low) / (high - low))
    return min(1.0, max(0.0, trust))


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


def _rows_per_cell(n_rows: int, n_classes: int) -> float:
    return n_rows / n_classes**2


def _best_start(
    evidence: list[torch.Tensor], labels: torch.Tensor, ambiguity: float, max_iter: int
) -> NoiseModel:
    """Return the start whose optimum is the best on a part of the rows, or that optimum.

    Nearly clean labels first. With rows enough also the confident joint: without it, noise between single
    pairs of classes is not found, but with few rows it leads to optima that take uncertainty for noise.
    """
    joint = confident_joint_start(evidence, labels, ambiguity)
    starts = [nearly_clean_start(joint)]
    if _rows_per_cell(len(labels), evidence[0].shape[1]) >= _NOISE_ROWS:
        starts.append(joint)
    step = -(-len(labels) // _START_ROWS)
    if len(starts) == 1 and step == 1:
        return starts[0]
    few, values = [e[::step] for e in evidence], labels[::step]
    fits = [_maximise(each, few, values, max_iter) for each in starts]
    return min(fits, key=lambda fit: _objective(fit, few, values))


class _Parameters:
    """The tensors that are fitted, and the model they make."""

    def __init__(self, model: NoiseModel, n_rows: int) -> None:
        per_cell = _rows_per_cell(n_rows, len(model.affinity))
        self._is_mixed = per_cell >= _MIXING_ROWS
        self._noise_prior = _NOISE_PRIOR if per_cell >= _NOISE_ROWS else _POOR_NOISE_PRIOR
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
            chosen += [self.mixing] if self._is_mixed else []
        return [parameter.requires_grad_() for parameter in chosen]

    def model(self) -> NoiseModel:
        """Return the model of the present values."""
        affinity = self.off * self._off_diagonal + torch.diag(self.level + self.own)
        return NoiseModel(self.weights, self.mixing, self.bias, affinity, self.uniform, self._ambiguity)

    def penalty(self) -> torch.Tensor:
        """Return twice the negative logarithm of the prior."""
        penalty = _WEIGHT_PRIOR * (self.mixing**2).sum() + _BIAS_PRIOR * (self.bias**2).sum()
        deviations = (self.own**2).sum() + ((self.off * self._off_diagonal) ** 2).sum()
        return penalty + self._noise_prior * deviations


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
