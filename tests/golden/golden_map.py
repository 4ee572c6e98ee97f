"""Which public function answers for which golden file.

`GOLDEN` maps a file (without ``.json``) to the functions it covers and a runner: the inputs and parameters
of one case in, outputs under the names of the case's ``expected`` out. `PENDING` names the files whose
functions are not written yet, with their topic. A file stands in exactly one of the two; the tests beside
this module check that, and run every case. Whoever writes a pending function moves its files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

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

Case: TypeAlias = Mapping[str, object]
Outputs: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class Golden:
    """One golden file: the public functions it covers and how a case of it is run.

    Attributes
    ----------
    functions : tuple of str
        Full names of the functions.
    run : callable
        ``run(inputs, params) -> outputs``; an output may be missing where the case does not expect it.
    """

    functions: tuple[str, ...]
    run: Callable[[Case, Case], Outputs]


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

_NOISE = "noise models beyond symmetric noise"
_CROWD = "labels of several annotators"
_HOC = "transition estimates without anchor points"
_METRIC = "metric learning and retrieval"
_TRAINING = "training methods"
_DISCOVERY = "clustering with unknown classes"

PENDING: dict[str, str] = {
    "confident_learning_multilabel": "multi-label confident learning",
    "crowd_crowdlab": _CROWD,
    "crowd_dawid_skene": _CROWD,
    "hoc_count_consensus": _HOC,
    "hoc_fit": _HOC,
    "hoc_objective": _HOC,
    "hoc_population_consensus": _HOC,
    "simifeat_detect": _HOC,
    "noise_models_class_conditional": _NOISE,
    "noise_models_idn_flip_rate_moments": _NOISE,
    "noise_models_instance_dependent": _NOISE,
    "noise_models_instance_dependent_shared_w": _NOISE,
    "clipcleaner": "selection with vision-language models",
    "ldm": "which labels to check next",
    "vmf_log_normaliser": "prototype detectors",
    "vmf_sim": "prototype detectors",
    "bare": _TRAINING,
    "baselines": _TRAINING,
    "dividemix": _TRAINING,
    "eac": _TRAINING,
    "multilabel_noise_elr": _TRAINING,
    "multilabel_noise_sat": _TRAINING,
    "otter_distillation_loss": _TRAINING,
    "otter_ema": _TRAINING,
    "otter_sinkhorn": _TRAINING,
    "otter_total_loss": _TRAINING,
    "rcml_choose_noisy_classes": _TRAINING,
    "rcml_group_lasso": _TRAINING,
    "rcml_mmd2": _TRAINING,
    "rcml_swap_rate": _TRAINING,
    "rcml_total_loss": _TRAINING,
    "ahsml_hyperbolic": _METRIC,
    "ahsml_margins_and_loss": _METRIC,
    "cbml_loss": _METRIC,
    "iaa_contrastive_loss": _METRIC,
    "iaa_lambda_schedule": _METRIC,
    "iaa_ms_loss": _METRIC,
    "iaa_neighbor_correction": _METRIC,
    "iaa_synthesis": _METRIC,
    "iaa_variance_update": _METRIC,
    "insclr_contrastive": _METRIC,
    "insclr_memory_labels": _METRIC,
    "insclr_select": _METRIC,
    "prism_contrastive": _METRIC,
    "prism_filter": _METRIC,
    "prism_run": _METRIC,
    "prism_xbm_official_behaviour": _METRIC,
    "rkd_angle": _METRIC,
    "rkd_distance": _METRIC,
    "rkd_hard_darkrank": _METRIC,
    "rmdnet": _METRIC,
    "tldr_barlow": _METRIC,
    "tldr_lr_schedule": _METRIC,
    "promptcal_cal_loss": _DISCOVERY,
    "promptcal_cluster_accuracy": _DISCOVERY,
    "promptcal_semi_loss": _DISCOVERY,
    "promptcal_semiag": _DISCOVERY,
}


def as_array(value: object) -> np.ndarray:
    """Return numbers, lists of numbers and tensors as one float64 array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)
