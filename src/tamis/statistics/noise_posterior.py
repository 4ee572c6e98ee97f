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
from tamis.statistics.noise_fit import best_start, has_few_rows, maximise, objective, prior_for
from tamis.statistics.noise_level import at_mean_level
from tamis.statistics.noise_model import NoiseModel, centred, float64_tensor
from tamis.types import FloatArray, IntArray

AMBIGUITY = 0.23
"""Exponent g for labels given by someone who looked at the sample.

The given labels alone do not determine it: a label that is wrong where the classes overlap looks like a right
one. The value was chosen on human labels of one image set (see docs/calibration.md); the interval of an audit
spans half and one and a half times it."""

_FIT_ROWS = 50_000
_DIRECTED = (0.45, 0.6)  # correlation: below nobody looked, above somebody did
_DIRECTED_FEW = (0.3, 0.5)  # with few rows: the mean of the correlations of both fits
_CHOICE_ROWS, _CHOICE_ITER = 12_500, 30
_FIT_CELLS = 1_500_000  # rows x classes of the rows used for fitting


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
    The likelihood has several optima: the fit starts from nearly clean labels and from the confident joint;
    the higher posterior is kept. With fewer than 50 rows per cell of a (K, K) matrix, and than 5,000, the
    prior of the transition expects that few pairs of classes are confused, and those often; the matrix that
    corrects the first evidence is held closer to nothing; the level of the noise is the mean of its
    posterior instead of the mode (see `tamis.statistics.noise_level`); and the exponent follows from the
    correlation alone: 0 up to a mean of 0.3 over the fits with and without it, `AMBIGUITY` from 0.5.
    At most 50,000 rows (1,500,000 / K where that is less), evenly spaced, are used for the fit, and 25,000 of
    them to choose between the starts.
    """
    rows, values = _checked(evidence, labels)
    pieces = [float64_tensor(e[rows]) for e in evidence]
    prior = prior_for(pieces, values)

    def settled(model: NoiseModel) -> NoiseModel:
        return at_mean_level(model, pieces, values, prior) if has_few_rows(*pieces[0].shape) else model

    exponent = AMBIGUITY if ambiguity is None else ambiguity
    begin = best_start(pieces, values, exponent, max_iter) if start is None else start
    model = settled(maximise(replace(begin, ambiguity=exponent), pieces, values, prior, max_iter))
    if ambiguity is not None:
        return model
    # With few rows the exponent can hide errors between single pairs of classes: start anew without it.
    is_new = start is None and has_few_rows(*pieces[0].shape)
    again = best_start(pieces, values, 0.0, max_iter) if is_new else replace(model, ambiguity=0.0)
    blind = settled(maximise(again, pieces, values, prior, max_iter))
    trust = _trust(model, blind, pieces, values)
    if trust in {0.0, 1.0}:
        return model if trust else blind
    return settled(maximise(replace(model, ambiguity=AMBIGUITY * trust), pieces, values, prior, max_iter))


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
        prior = prior_for(few, some)
        fit = maximise(best_start(few, some, AMBIGUITY, _CHOICE_ITER), few, some, prior, _CHOICE_ITER)
        values.append(objective(fit, few, some, prior))
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
    pieces = [float64_tensor(e[rows]) for e in evidence]
    # Evidence learned from posteriors need not predict the given labels: nothing is believed of its weights.
    prior = replace(prior_for(pieces, values), sharpness=0.0)
    return maximise(fresh, pieces, values, prior, 100, noise_is_known=True)


def _trust(model: NoiseModel, blind: NoiseModel, evidence: list[torch.Tensor], labels: torch.Tensor) -> float:
    """Return how far to believe, from 0 to 1, that whoever gave the labels looked at the samples.

    ``model`` is the fit with the usual exponent, ``blind`` the one with exponent 0.
    """
    prior = prior_for(evidence, labels)
    if objective(model, evidence, labels, prior) <= objective(blind, evidence, labels, prior):
        return 1.0
    pieces = [centred(e) for e in evidence]
    found = directedness(blind, pieces, labels)
    if has_few_rows(*evidence[0].shape):
        other = directedness(model, pieces, labels)
        if found is None or other is None:
            return 1.0
        # Few wrong labels blur the one; the exponent itself leans the other.
        low, high = _DIRECTED_FEW
        return min(1.0, max(0.0, ((found + other) / 2 - low) / (high - low)))
    # 1 up to a uniform share of 35 %, 0 from 55 %.
    trust = (0.55 - uniform_part(model, pieces, labels)) / 0.2
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
