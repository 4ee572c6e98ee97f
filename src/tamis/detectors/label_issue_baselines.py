"""Two plain rules to compare `find_label_issues` with, under the names that cleanlab has made known."""

from __future__ import annotations

from typing import cast

from tamis.detectors.label_issues import FilterBy, find_label_issues
from tamis.statistics.confident_rows import pair_counts
from tamis.statistics.joint_estimates import calibrated_counts, refuse_multi_label
from tamis.statistics.labelled_rows import LabelledRows, survey
from tamis.statistics.probability_values import ArrayLike
from tamis.types import BoolArray


def find_predicted_neq_given(
    labels: ArrayLike, pred_probs: ArrayLike, *, multi_label: bool = False
) -> BoolArray:
    """Flag rows whose most likely class is not the given one, however small the difference.

    Returns
    -------
    (n,) bool array

    Examples
    --------
    >>> find_predicted_neq_given([0, 0], [[0.6, 0.4], [0.4, 0.6]])
    array([False,  True])
    """
    refuse_multi_label(multi_label)
    rows = LabelledRows(labels, pred_probs)
    is_other: BoolArray = survey(rows).predicted != rows.codes
    return is_other


def find_label_issues_using_argmax_confusion_matrix(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    calibrate: bool = True,
    filter_by: FilterBy = "prune_by_noise_rate",
) -> BoolArray:
    """Find label issues with the plain confusion matrix of the most likely classes as the joint.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    calibrate : bool, default=True
        Scale the matrix to the counts of the labels.
    filter_by : str, default="prune_by_noise_rate"
        See `find_label_issues`.

    Returns
    -------
    (n,) bool array

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> find_label_issues_using_argmax_confusion_matrix([0, 0, 1, 1, 1], probs)
    array([False, False, False, False,  True])
    """
    rows = LabelledRows(labels, pred_probs)
    joint = pair_counts(rows.codes, survey(rows).predicted, rows.n_classes)
    joint = calibrated_counts(joint, rows.label_counts) if calibrate else joint
    return cast(BoolArray, find_label_issues(labels, pred_probs, confident_joint=joint, filter_by=filter_by))
