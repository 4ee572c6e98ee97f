"""Golden cases of confident learning."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.statistics.confident_joint import confident_guesses, confident_joint, confident_thresholds
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
        ),
        _find_label_issues,
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
        ),
        _joint,
    ),
    "confident_learning_label_quality": Golden(
        (
            "tamis.statistics.label_quality.self_confidence",
            "tamis.statistics.label_quality.normalized_margin",
            "tamis.statistics.label_quality.confidence_weighted_entropy",
            "tamis.statistics.label_quality.adjust_probabilities",
        ),
        _label_quality,
    ),
}
