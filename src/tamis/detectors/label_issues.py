"""Label issues of confident learning under the names and with the results that cleanlab has made known.

Reads the probabilities block by block in two passes (thresholds; guesses), then only rows that can be issues
once more. Neither torch nor a copy of the matrix is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError, TamisWarning
from tamis.statistics.confident_rows import guess_counts, mean_thresholds, row_guesses
from tamis.statistics.joint_estimates import calibrated_counts, refuse_multi_label
from tamis.statistics.labelled_rows import LabelledRows, Survey, survey
from tamis.statistics.probability_values import ArrayLike
from tamis.statistics.prune_counts import checked_joint, removal_counts, removals_that_sum_to
from tamis.statistics.pruning import Pruning, by_class, by_noise_rate, warn_of_small_classes
from tamis.statistics.quality_formulas import QualityMethod, check_method, row_scores
from tamis.types import BoolArray, FloatArray, IntArray

FilterBy: TypeAlias = Literal[
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
]

_PRUNING = ("prune_by_noise_rate", "prune_by_class", "both")
_FILTERS = (
    *_PRUNING,
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)


class _Wishes(NamedTuple):
    """The arguments of a pruning rule."""

    filter_by: str
    frac_noise: float
    num_to_remove_per_class: npt.ArrayLike | None
    min_examples_per_class: int
    confident_joint: npt.ArrayLike | None


def find_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    return_indices_ranked_by: QualityMethod | None = None,
    rank_by_kwargs: Mapping[str, bool] | None = None,
    filter_by: FilterBy = "prune_by_noise_rate",
    frac_noise: float = 1.0,
    num_to_remove_per_class: npt.ArrayLike | None = None,
    min_examples_per_class: int = 1,
    confident_joint: npt.ArrayLike | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    multi_label: bool = False,
) -> BoolArray | IntArray:
    """Find the labels that confident learning holds for wrong.

    Arguments, defaults and results are those of ``cleanlab.filter.find_label_issues`` (2.9). For a score of
    every row take `get_label_quality_scores`, for a calibrated probability `tamis.audit`.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1
        **Out of sample** (cross-validated). A numpy array, memory map or CPU tensor is read where it is.
    return_indices_ranked_by : {None, "self_confidence", "normalized_margin", "confidence_weighted_entropy"}
        None returns a mask, a score the rows with issues, worst first.
    rank_by_kwargs : mapping, optional
        ``{"adjust_pred_probs": True}`` ranks by the adjusted score.
    filter_by : str, default="prune_by_noise_rate"
        ``"prune_by_noise_rate"``: for each pair of classes as many rows as the joint counts, by margin;
        ``"prune_by_class"``: as many per class, by self-confidence; ``"both"``: what both flag;
        ``"confident_learning"``: confidently predicted as another class; ``"predicted_neq_given"``: another
        class is the most likely; ``"low_self_confidence"``, ``"low_normalized_margin"``: the lowest scores,
        as many as ``"confident_learning"`` flags.
    frac_noise : float in [0, 1], default=1
        Share of the counted wrong labels to flag; pruning rules only.
    num_to_remove_per_class : (K,) int, optional
        How many to flag in each class; exact with ``"prune_by_class"``, pruning rules only.
    min_examples_per_class : int, default=1
        Classes with at most so many rows are left alone; in larger ones so many stay.
    confident_joint : (K, K), optional
        Counts to use instead of those of the data, rows given, columns true.
    n_jobs : int, optional
        Accepted and without effect: one process is enough.
    verbose : bool, default=False
        Print the number of issues.
    multi_label : bool, default=False
        Only False: a row has one label.

    Returns
    -------
    (n,) bool array, or (m,) int array of rows where a ranking is asked for

    Raises
    ------
    InputError
        Bad labels or probabilities (NaN, logits, rows that do not sum to one within 1e-3), an unknown rule
        or score, parameters out of range or for another rule, several labels a row.

    Warns
    -----
    TamisWarning
        A class is too small to be assessed, or an argument has no effect with this rule.

    Notes
    -----
    Rows that are exactly equally suspicious at the end of a rule's count are taken in the order of numpy's
    unstable sort, as the reference does; `tamis.statistics.label_filters` has rules that depend on the rows'
    content instead. A single class has no issues; rows that do not sum to one are refused (the
    reference takes both differently).

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> find_label_issues([0, 0, 1, 1, 1], probs)
    array([False, False, False, False,  True])
    >>> find_label_issues([0, 0, 1, 1, 1], probs, return_indices_ranked_by="self_confidence")
    array([4])
    """
    refuse_multi_label(multi_label)
    wishes = _Wishes(filter_by, frac_noise, num_to_remove_per_class, min_examples_per_class, confident_joint)
    _check_wishes(wishes, n_jobs)
    is_adjusted = _is_adjusted(return_indices_ranked_by or "self_confidence", rank_by_kwargs)
    rows = LabelledRows(labels, pred_probs)
    mask = _mask(rows, wishes)
    if verbose:
        print(f"Number of label issues found: {int(mask.sum())}")
    if return_indices_ranked_by is None:
        return mask
    return _ranked(rows, mask, return_indices_ranked_by, is_adjusted)


def order_label_issues(
    label_issues_mask: npt.ArrayLike,
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    rank_by: QualityMethod = "self_confidence",
    rank_by_kwargs: Mapping[str, bool] | None = None,
) -> IntArray:
    """Return the rows of a mask, worst label quality score first.

    Parameters
    ----------
    label_issues_mask : (n,) bool
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    rank_by : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
    rank_by_kwargs : mapping, optional
        ``{"adjust_pred_probs": True}`` ranks by the adjusted score.

    Returns
    -------
    (m,) int array

    Raises
    ------
    InputError
        Bad labels or probabilities, a mask that is not (n,) bool, an unknown score or argument of it.

    Examples
    --------
    >>> order_label_issues([True, False, True], [0, 0, 1], [[0.3, 0.7], [0.9, 0.1], [0.8, 0.2]])
    array([2, 0])
    """
    is_adjusted = _is_adjusted(rank_by, rank_by_kwargs)
    rows = LabelledRows(labels, pred_probs)
    mask = np.asarray(label_issues_mask)
    if mask.shape != (rows.n_samples,) or mask.dtype != np.bool_:
        raise InputError(
            f"label_issues_mask has shape {mask.shape} and dtype {mask.dtype}; "
            f"expected ({rows.n_samples},) bool, as find_label_issues returns it"
        )
    survey(rows)  # refuses what is no probability
    return _ranked(rows, mask, rank_by, is_adjusted)


def _check_wishes(wishes: _Wishes, n_jobs: int | None) -> None:
    if wishes.filter_by not in _FILTERS:
        raise InputError(f"filter_by is {wishes.filter_by!r}; legal are {', '.join(map(repr, _FILTERS))}")
    if n_jobs is not None and n_jobs < 1:
        raise InputError(f"n_jobs is {n_jobs}; legal are None and whole numbers from 1 on")
    if wishes.filter_by in _PRUNING:
        return
    if wishes.num_to_remove_per_class is not None:
        raise InputError(
            f"num_to_remove_per_class does not go with filter_by {wishes.filter_by!r}; it is for "
            f"{', '.join(map(repr, _PRUNING))}"
        )
    if wishes.frac_noise != 1.0:
        _warn(f"frac_noise has no effect with filter_by {wishes.filter_by!r}; it is for the pruning rules")
    if wishes.confident_joint is not None and wishes.filter_by == "confident_learning":
        _warn("confident_joint has no effect with filter_by 'confident_learning', which counts the data")


def _warn(message: str) -> None:
    warnings.warn(message, TamisWarning, stacklevel=4)


def _mask(rows: LabelledRows, wishes: _Wishes) -> BoolArray:
    seen = survey(rows)
    if wishes.filter_by in _PRUNING:
        return _pruned(rows, seen, wishes)
    if wishes.filter_by == "predicted_neq_given":
        is_other: BoolArray = seen.predicted != rows.codes
        return is_other & ~seen.is_supported
    guesses = row_guesses(rows, seen, _thresholds(rows, seen))
    is_off_diagonal: BoolArray = (guesses != rows.codes) & (guesses < rows.n_classes) & ~seen.is_supported
    if wishes.filter_by == "confident_learning":
        return is_off_diagonal
    method: QualityMethod = (
        "self_confidence" if wishes.filter_by == "low_self_confidence" else "normalized_margin"
    )
    scores = seen.given if method == "self_confidence" else row_scores(rows, method)
    return _lowest(scores, int(is_off_diagonal.sum()))


def _pruned(rows: LabelledRows, seen: Survey, wishes: _Wishes) -> BoolArray:
    at_least = wishes.min_examples_per_class
    if wishes.confident_joint is None:
        guesses = row_guesses(rows, seen, _thresholds(rows, seen))
        joint: FloatArray | IntArray = calibrated_counts(
            guess_counts(rows.codes, guesses, rows.n_classes), rows.label_counts
        )
        del guesses
    else:
        joint = checked_joint(wishes.confident_joint, rows.n_classes, "confident_joint")
    counts = removal_counts(joint, frac_noise=wishes.frac_noise, min_examples_per_class=at_least)
    del joint
    if wishes.num_to_remove_per_class is not None:
        counts = removals_that_sum_to(counts, rows.label_counts, wishes.num_to_remove_per_class)
    warn_of_small_classes(rows.label_counts, at_least, stacklevel=5)
    pruning = Pruning(rows, seen, counts, at_least, compat=True)
    if wishes.filter_by == "prune_by_class":
        return by_class(pruning)
    mask = by_noise_rate(pruning)
    return mask & by_class(pruning) if wishes.filter_by == "both" else mask


def _thresholds(rows: LabelledRows, seen: Survey) -> FloatArray:
    return mean_thresholds(seen.given, rows.codes, rows.n_classes)


def _lowest(scores: FloatArray, count: int) -> BoolArray:
    mask = np.zeros(len(scores), dtype=np.bool_)
    mask[np.argsort(scores)[:count]] = True
    return mask


def _is_adjusted(method: QualityMethod, options: Mapping[str, bool] | None) -> bool:
    check_method(method)
    unknown = set(options or {}) - {"adjust_pred_probs"}
    if unknown:
        raise InputError(f"rank_by_kwargs has {sorted(unknown)}; the only legal key is 'adjust_pred_probs'")
    return bool((options or {}).get("adjust_pred_probs", False))


def _ranked(rows: LabelledRows, mask: BoolArray, method: QualityMethod, is_adjusted: bool) -> IntArray:
    chosen = np.flatnonzero(mask)
    # Another pass for the thresholds, rare, instead of a number a row kept for it.
    thresholds = _thresholds(rows, survey(rows)) if is_adjusted else None
    scores = row_scores(rows, method, thresholds=thresholds, compat=True, chosen=chosen)
    ranked: IntArray = chosen[np.argsort(scores)]
    return ranked
