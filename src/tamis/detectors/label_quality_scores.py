"""Label quality scores of one model or of several, under the names that cleanlab has made known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.confident_rows import mean_thresholds
from tamis.statistics.labelled_rows import LabelledRows, Survey, survey
from tamis.statistics.probability_values import ArrayLike
from tamis.statistics.quality_formulas import QualityMethod, row_scores
from tamis.types import FloatArray, IntArray

EnsembleWeights: TypeAlias = Literal["uniform", "accuracy", "log_loss_search", "custom"]

SEARCHED_TEMPERATURES = (1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 2e2)
"""Sharpness of the weights that ``log_loss_search`` tries."""

_FLOOR = 1e-6


def get_label_quality_scores(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: QualityMethod = "self_confidence",
    adjust_pred_probs: bool = False,
    compat: bool = True,
) -> FloatArray:
    """Return a label quality score for every row: 0 = surely wrong, 1 = surely right.

    Arguments, defaults and results are those of ``cleanlab.rank.get_label_quality_scores`` (2.9).

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1
        **Out of sample** (cross-validated). A numpy array, memory map or CPU tensor is read where it is.
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
        See the functions of these names in `tamis.statistics.label_quality`.
    adjust_pred_probs : bool, default=False
        Take each class's usual confidence out of the probabilities first; not for the entropy score.
    compat : bool, default=True
        Keep the 0 that the reference gives to a fully confident prediction of the given label under
        ``"confidence_weighted_entropy"``; False gives it 1, the limit.

    Returns
    -------
    (n,) float array

    Raises
    ------
    InputError
        Bad labels or probabilities (NaN, logits, rows that do not sum to one within 1e-3), an unknown method.

    References
    ----------
    .. [1] Kuan, Mueller. "Model-agnostic label quality scoring to detect real-world label errors",
       ICML DataPerf workshop, 2022.

    Examples
    --------
    >>> get_label_quality_scores([0, 1], [[0.75, 0.25], [0.875, 0.125]])
    array([0.75 , 0.125])
    """
    rows = LabelledRows(labels, pred_probs)
    return _scores(rows, survey(rows), method, adjust_pred_probs, compat)


def get_label_quality_ensemble_scores(
    labels: ArrayLike,
    pred_probs_list: Sequence[ArrayLike],
    *,
    method: QualityMethod = "self_confidence",
    adjust_pred_probs: bool = False,
    weight_ensemble_members_by: EnsembleWeights = "accuracy",
    custom_weights: npt.ArrayLike | None = None,
    log_loss_search_T_values: Sequence[float] = SEARCHED_TEMPERATURES,  # noqa: N803 (the known name)
    verbose: bool = True,
    compat: bool = True,
) -> FloatArray:
    """Return the weighted mean of the label quality scores of several models.

    Arguments, defaults and results are those of ``cleanlab.rank.get_label_quality_ensemble_scores`` (2.9).

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs_list : sequence of (n, K) float
        Out-of-sample probabilities, one matrix a model.
    method, adjust_pred_probs, compat
        As for `get_label_quality_scores`.
    weight_ensemble_members_by : {"accuracy", "uniform", "log_loss_search", "custom"}
        ``"accuracy"``: share of labels a model predicts; ``"log_loss_search"``: exp(-T log loss), with the T
        whose weighted mean of the probabilities has the smallest log loss.
    custom_weights : (models,) float, optional
        For ``"custom"``; used as they are.
    log_loss_search_T_values : sequence of float
        The values of T tried.
    verbose : bool, default=True
        Print the weights.

    Returns
    -------
    (n,) float array

    Raises
    ------
    InputError
        As for `get_label_quality_scores`; no models; weights that do not go with the scheme or the models; no
        model that predicts any label.

    Examples
    --------
    >>> first, second = [[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0.75, 0.25]]
    >>> get_label_quality_ensemble_scores([0, 1], [first, second], verbose=False).round(3)
    array([0.667, 0.583])
    """
    if isinstance(pred_probs_list, str) or len(pred_probs_list) == 0:
        raise InputError("pred_probs_list is empty; give one (n, K) matrix of probabilities a model")
    if weight_ensemble_members_by not in _SCHEMES:
        raise InputError(
            f"weight_ensemble_members_by is {weight_ensemble_members_by!r}; "
            f"legal are {', '.join(map(repr, _SCHEMES))}"
        )
    models = [LabelledRows(labels, pred_probs) for pred_probs in pred_probs_list]
    _check_models(models)
    seen = [survey(model) for model in models]
    if weight_ensemble_members_by == "custom" or custom_weights is not None:
        weights = _custom(custom_weights, weight_ensemble_members_by, len(models))
    elif weight_ensemble_members_by == "log_loss_search":
        weights = _by_log_loss(models, seen, log_loss_search_T_values)
    else:
        weights = _SCHEMES[weight_ensemble_members_by](models, seen)
    if verbose:
        print(f"Weights of the models by {weight_ensemble_members_by}: {', '.join(map(str, weights))}")
    total = np.zeros(models[0].n_samples)
    for weight, model, each in zip(weights, models, seen, strict=True):
        total += weight * _scores(model, each, method, adjust_pred_probs, compat)
    return total


def find_top_issues(quality_scores: npt.ArrayLike, *, top: int | None = 10) -> IntArray:
    """Return the rows with the lowest scores, worst first.

    Parameters
    ----------
    quality_scores : (n,) float, lower = more suspicious
    top : int or None, default=10
        How many; None = all.

    Examples
    --------
    >>> find_top_issues([0.9, 0.1, 0.4], top=2)
    array([1, 2])
    """
    rows: IntArray = np.asarray(quality_scores).argsort()[:top]
    return rows


def _scores(
    rows: LabelledRows, seen: Survey, method: QualityMethod, is_adjusted: bool, compat: bool
) -> FloatArray:
    thresholds = mean_thresholds(seen.given, rows.codes, rows.n_classes) if is_adjusted else None
    if method == "self_confidence" and thresholds is None:
        return seen.given
    return row_scores(rows, method, thresholds=thresholds, compat=compat)


def _check_models(models: list[LabelledRows]) -> None:
    widths = {model.n_classes for model in models}
    if len(widths) > 1:
        raise InputError(
            f"pred_probs_list has matrices of {sorted(widths)} columns; give all the same classes"
        )


def _custom(weights: npt.ArrayLike | None, scheme: str, n_models: int) -> FloatArray:
    if scheme != "custom":
        raise InputError(
            f"custom_weights is given but weight_ensemble_members_by is {scheme!r}; make it 'custom'"
        )
    values = np.asarray(np.nan if weights is None else weights, dtype=np.float64)
    if values.shape != (n_models,) or not np.isfinite(values).all():
        raise InputError(f"custom_weights is {weights!r}; expected {n_models} numbers, one a model")
    return values


def _uniform(models: list[LabelledRows], seen: list[Survey]) -> FloatArray:
    return np.full(len(models), 1.0 / len(models))


def _by_accuracy(models: list[LabelledRows], seen: list[Survey]) -> FloatArray:
    pairs = zip(models, seen, strict=True)
    accuracies = np.array([(each.predicted == model.codes).mean() for model, each in pairs])
    if accuracies.sum() == 0.0:
        raise InputError(
            "no model predicts a single label, so accuracy gives no weights; check the order of the columns "
            "or take weight_ensemble_members_by='uniform'"
        )
    weights: FloatArray = accuracies / accuracies.sum()
    return weights


def _by_log_loss(
    models: list[LabelledRows],
    seen: list[Survey],
    temperatures: Sequence[float] = SEARCHED_TEMPERATURES,
) -> FloatArray:
    """Return normalised exp(-T log loss) with the T whose mean probabilities have the least log loss."""
    if len(temperatures) == 0:
        raise InputError("log_loss_search_T_values is empty; give at least one number")
    losses = np.array([_log_loss(_floored_given(*pair)) for pair in zip(models, seen, strict=True)])
    best, best_loss = None, np.inf
    for temperature in temperatures:
        raw = np.exp(-temperature * losses)
        if raw.sum() > 0.0:
            weights = raw / raw.sum()
            mean = sum(weight * each.given for weight, each in zip(weights, seen, strict=True))
            loss = _log_loss(np.asarray(mean))
            if loss < best_loss:
                best, best_loss = weights, loss
    # All weights vanish only where every loss is huge; then no model is better than another.
    return _uniform(models, seen) if best is None else best


def _floored_given(rows: LabelledRows, seen: Survey) -> FloatArray:
    """Return the probability of the given label after a floor of 1e-6 under every entry of its row."""
    sums = np.empty(rows.n_samples)
    for part, block in rows.blocks():
        sums[part] = np.clip(block, _FLOOR, None).sum(axis=1, dtype=np.float64)
    floored: FloatArray = np.clip(seen.given, _FLOOR, None) / sums
    return floored


def _log_loss(given: FloatArray) -> float:
    smallest = np.finfo(given.dtype).eps
    return float(-np.log(np.clip(given, smallest, 1.0 - smallest)).mean(dtype=np.float64))


_SCHEMES: dict[str, Callable[[list[LabelledRows], list[Survey]], FloatArray]] = {
    "uniform": _uniform,
    "accuracy": _by_accuracy,
    "log_loss_search": _by_log_loss,
    "custom": _uniform,
}
