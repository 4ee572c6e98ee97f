"""Golden cases of the selection with a vision-language model, and of MixFix after it."""

from __future__ import annotations

import numpy as np
import torch
from golden_case import Case, Golden, Outputs

from tamis.detectors.clip_rules import consistency, likelihood_in_class, log_likelihood
from tamis.detectors.clipcleaner import CLIPCleaner
from tamis.losses.soft_cross_entropy import soft_cross_entropy
from tamis.targets.absorb_relabel import absorb_and_relabel
from tamis.targets.mixup import mixup
from tamis.targets.one_hot import one_hot

SCORES = {"celoss": log_likelihood, "perclass_celoss": likelihood_in_class, "consistency": consistency}


def _absorb(inputs: Case, params: Case) -> Outputs:
    keep = np.zeros(len(inputs["noisy_label"]), dtype=np.bool_)
    keep[inputs["initial_id"]] = True
    found = absorb_and_relabel(inputs["probs"], inputs["noisy_label"], keep, **params)
    return {"modified_label": found.labels, "selected_id": found.selected.nonzero()[:, 0]}


def _step(inputs: Case, params: Case) -> Outputs:
    weights = torch.tensor(inputs["W"], dtype=torch.float64, requires_grad=True)
    targets = one_hot(torch.tensor(inputs["labels"]), len(weights), dtype=torch.float64)
    rows = torch.tensor(inputs["x"], dtype=torch.float64)
    mixed = mixup(rows, targets, params["beta_draw"], torch.tensor(inputs["perm"]))
    loss = soft_cross_entropy(mixed.inputs @ weights.T, mixed.targets)
    loss.backward()
    return {"loss": loss, "grad_W": weights.grad}


def _run(inputs: Case, params: Case) -> Outputs:
    if "mode" in params:
        return {"score": SCORES[params["mode"]](inputs["prediction"], inputs["labels"])}
    if "initial_id" in inputs:
        return _absorb(inputs, params)
    if "perm" in inputs:
        return _step(inputs, params)
    assert params["lr"] == {"max_iter": 10000, "class_weight": "balanced", "penalty": "l2", "C": 1.0}
    names = ("theta_gmm", "theta_cons", "temperature")
    cleaner = CLIPCleaner(**{name: params[name] for name in names}, fill="official")
    texts = [np.asarray(prompts) for prompts in inputs["text_features"]]
    assert len(texts) == params["num_classes"]
    cleaner.fit(inputs["labels"], inputs["image_features"], texts)
    scores = cleaner.scores_
    return {
        "prediction_zero": cleaner.probs_zero_,
        "prediction_lr": cleaner.probs_lr_,
        "score_zero_loss": scores.zero_loss,
        "score_zero_cons": scores.zero_consistency,
        "score_lr_loss": scores.visual_loss,
        "score_lr_cons": scores.visual_consistency,
        "selected_before_fill": np.flatnonzero(cleaner.keep_ & ~cleaner.is_filled_),
        "selected": np.flatnonzero(cleaner.keep_),
    }


GOLDEN: dict[str, Golden] = {
    "clipcleaner": Golden(
        (
            "tamis.detectors.clipcleaner.CLIPCleaner",
            "tamis.detectors.clip_rules.log_likelihood",
            "tamis.detectors.clip_rules.likelihood_in_class",
            "tamis.detectors.clip_rules.consistency",
            "tamis.targets.absorb_relabel.absorb_and_relabel",
            "tamis.targets.mixup.mixup",
            "tamis.losses.soft_cross_entropy.soft_cross_entropy",
        ),
        _run,
    )
}
