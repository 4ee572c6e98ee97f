"""Golden cases of confident learning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from golden_case import Case, Golden, Outputs, as_array

from tamis.detectors.label_issue_baselines import find_label_issues_using_argmax_confusion_matrix
from tamis.detectors.label_issues import find_label_issues
from tamis.detectors.label_quality_scores import get_label_quality_scores
from tamis.statistics.confident_joint import confident_guesses, confident_joint, confident_thresholds
from tamis.statistics.joint_estimates import (
    compute_confident_joint,
    estimate_joint,
    get_confident_thresholds,
    num_label_issues,
)
from tamis.statistics.label_filters import (
    argmax_confusion,
    low_scores,
    off_diagonal,
    predicted_neq_given,
    prune_by_both,
    prune_by_class,
    prune_by_noise_rate,
)
from tamis.statistics.label_quality import (
    adjust_probabilities,
    confidence_weighted_entropy,
    normalized_margin,
    self_confidence,
)
from tamis.statistics.latent import calibrate_joint, estimate_latent, expected_errors, joint_distribution
from tamis.statistics.latent_estimates import estimate_py_and_noise_matrices_from_probabilities


def _arrays(inputs: Case) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(inputs["labels"]), np.asarray(inputs["pred_probs"], dtype=np.float64)


def _known_label_quality(inputs: Case, params: Case) -> Outputs:
    labels, probs = _arrays(inputs)
    scores = {
        name: get_label_quality_scores(labels, probs, method=name)
        for name in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    }
    return scores | {
        f"{name}_adjusted": get_label_quality_scores(labels, probs, method=name, adjust_pred_probs=True)
        for name in ("self_confidence", "normalized_margin")
    }


def _known_joint(inputs: Case, params: Case) -> Outputs:
    labels, probs = _arrays(inputs)
    raw, indices = compute_confident_joint(
        labels, probs, calibrate=False, return_indices_of_off_diagonals=True
    )
    py, noise, inverse, calibrated = estimate_py_and_noise_matrices_from_probabilities(
        labels, probs, converge_latent_estimates=False
    )
    return {
        "thresholds": get_confident_thresholds(labels, probs),
        "confident_joint_raw": raw,
        "off_diagonal_indices": indices,
        "confident_joint_calibrated": calibrated,
        "joint": estimate_joint(labels, probs),
        "py": py,
        "noise_matrix": noise,
        "inverse_noise_matrix": inverse,
        "num_issues_off_diagonal": num_label_issues(labels, probs),
        "num_issues_calibrated": num_label_issues(labels, probs, estimation_method="off_diagonal_calibrated"),
    }


def _known_find_label_issues(inputs: Case, params: Case) -> Outputs:
    labels, probs = _arrays(inputs)
    outputs = {
        rule: find_label_issues(labels, probs, filter_by=rule, **params)
        for rule in ("prune_by_noise_rate", "prune_by_class", "both")
    }
    for rule in (
        "confident_learning",
        "predicted_neq_given",
        "low_self_confidence",
        "low_normalized_margin",
    ):
        outputs[rule] = find_label_issues(labels, probs, filter_by=rule)
    for score in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        outputs[f"ranked_{score}"] = find_label_issues(labels, probs, return_indices_ranked_by=score)
    outputs["argmax_confusion_matrix"] = find_label_issues_using_argmax_confusion_matrix(labels, probs)
    return outputs


def _same(one: Callable[[Case, Case], Outputs], other: Callable[[Case, Case], Outputs]) -> Callable:
    """Return a runner that gives the outputs of the first, after the second gave the same."""

    def run(inputs: Case, params: Case) -> Outputs:
        first, second = one(inputs, params), other(inputs, params)
        assert set(first) == set(second)
        for name, value in first.items():
            np.testing.assert_allclose(as_array(value), as_array(second[name]), rtol=0, atol=1e-9)
        return first

    return run


def _label_quality(inputs: Case, params: Case) -> Outputs:
    labels, probs = inputs["labels"], inputs["pred_probs"]
    adjusted = adjust_probabilities(labels, probs)
    return {
        "self_confidence": self_confidence(labels, probs),
        "self_confidence_adjusted": self_confidence(labels, adjusted),
        "normalized_margin": normalized_margin(labels, probs),
        "normalized_margin_adjusted": normalized_margin(labels, adjusted),
        "confidence_weighted_entropy": confidence_weighted_entropy(labels, probs, compat=True),
    }


def _joint(inputs: Case, params: Case) -> Outputs:
    labels, probs = torch.tensor(inputs["labels"]), torch.tensor(inputs["pred_probs"], dtype=torch.float64)
    label_counts = torch.bincount(labels, minlength=probs.shape[1])
    thresholds = confident_thresholds(labels, probs)
    guesses = confident_guesses(probs, thresholds)
    is_off_diagonal = (guesses >= 0) & (guesses != labels)
    raw = confident_joint(labels, probs, thresholds)
    calibrated = calibrate_joint(raw, label_counts, compat=True)
    latent = estimate_latent(calibrated, label_counts)
    return {
        "thresholds": thresholds,
        "confident_joint_raw": raw,
        "off_diagonal_indices": is_off_diagonal.nonzero()[:, 0],
        "confident_joint_calibrated": calibrated,
        "joint": joint_distribution(calibrated),
        "py": latent.prior,
        "noise_matrix": latent.noise_matrix,
        "inverse_noise_matrix": latent.inverse_noise_matrix,
        "num_issues_off_diagonal": int((is_off_diagonal & (probs.argmax(dim=1) != labels)).sum()),
        "num_issues_calibrated": expected_errors(calibrated),
    }


def _find_label_issues(inputs: Case, params: Case) -> Outputs:
    labels, probs = torch.tensor(inputs["labels"]), torch.tensor(inputs["pred_probs"], dtype=torch.float64)
    label_counts = torch.bincount(labels, minlength=probs.shape[1])
    joint = calibrate_joint(confident_joint(labels, probs), label_counts, compat=True)
    confusion = calibrate_joint(argmax_confusion(labels, probs), label_counts, compat=True)
    scores = {
        "self_confidence": self_confidence(labels, probs),
        "normalized_margin": normalized_margin(labels, probs),
        "confidence_weighted_entropy": confidence_weighted_entropy(labels, probs, compat=True),
    }
    # The share of noise and the smallest class apply to the three pruning rules only.
    plain = prune_by_noise_rate(labels, probs, joint=joint)
    n_issues = int(off_diagonal(labels, probs).sum())
    ranked = {}
    for name, values in scores.items():
        rows = plain.nonzero()[:, 0]
        ranked[f"ranked_{name}"] = rows[values[rows].argsort(stable=True)]
    return ranked | {
        "prune_by_noise_rate": prune_by_noise_rate(labels, probs, joint=joint, **params),
        "prune_by_class": prune_by_class(labels, probs, joint=joint, **params),
        "both": prune_by_both(labels, probs, joint=joint, **params),
        "confident_learning": off_diagonal(labels, probs),
        "predicted_neq_given": predicted_neq_given(labels, probs),
        "low_self_confidence": low_scores(scores["self_confidence"], n_issues),
        "low_normalized_margin": low_scores(scores["normalized_margin"], n_issues),
        "argmax_confusion_matrix": prune_by_noise_rate(labels, probs, joint=confusion),
    }


GOLDEN: dict[str, Golden] = {
    "confident_learning_find_label_issues": Golden(
        (
            "tamis.statistics.label_filters.prune_by_noise_rate",
            "tamis.statistics.label_filters.prune_by_class",
            "tamis.statistics.label_filters.prune_by_both",
            "tamis.statistics.label_filters.off_diagonal",
            "tamis.statistics.label_filters.predicted_neq_given",
            "tamis.statistics.label_filters.low_scores",
            "tamis.statistics.label_filters.argmax_confusion",
            "tamis.detectors.label_issues.find_label_issues",
            "tamis.detectors.label_issue_baselines.find_label_issues_using_argmax_confusion_matrix",
        ),
        _same(_find_label_issues, _known_find_label_issues),
    ),
    "confident_learning_joint": Golden(
        (
            "tamis.statistics.confident_joint.confident_thresholds",
            "tamis.statistics.confident_joint.confident_guesses",
            "tamis.statistics.confident_joint.confident_joint",
            "tamis.statistics.latent.calibrate_joint",
            "tamis.statistics.latent.joint_distribution",
            "tamis.statistics.latent.estimate_latent",
            "tamis.statistics.latent.expected_errors",
            "tamis.statistics.joint_estimates.compute_confident_joint",
            "tamis.statistics.joint_estimates.estimate_joint",
            "tamis.statistics.joint_estimates.get_confident_thresholds",
            "tamis.statistics.joint_estimates.num_label_issues",
            "tamis.statistics.latent_estimates.estimate_py_and_noise_matrices_from_probabilities",
        ),
        _same(_joint, _known_joint),
    ),
    "confident_learning_label_quality": Golden(
        (
            "tamis.statistics.label_quality.self_confidence",
            "tamis.statistics.label_quality.normalized_margin",
            "tamis.statistics.label_quality.confidence_weighted_entropy",
            "tamis.statistics.label_quality.adjust_probabilities",
            "tamis.detectors.label_quality_scores.get_label_quality_scores",
        ),
        _same(_label_quality, _known_label_quality),
    ),
}
