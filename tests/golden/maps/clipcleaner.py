"""Golden cases of the selection with a vision-language model; MixFix waits."""

from __future__ import annotations

import numpy as np
from golden_case import Case, Golden, Outputs

from tamis.detectors.clip_rules import consistency, likelihood_in_class, log_likelihood
from tamis.detectors.clipcleaner import CLIPCleaner

SCORES = {"celoss": log_likelihood, "perclass_celoss": likelihood_in_class, "consistency": consistency}


def _run(inputs: Case, params: Case) -> Outputs:
    if "mode" in params:
        return {"score": SCORES[params["mode"]](inputs["prediction"], inputs["labels"])}
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
        ),
        _run,
        pending={"mixfix_*": "training methods", "mixup_step_*": "training methods"},
    )
}
