"""Golden cases of the noise models."""

from __future__ import annotations

import numpy as np
from golden_case import Case, Golden, Outputs

from tamis.noise import (
    class_conditional,
    flip_rate_moments,
    instance_dependent_probs,
    pair_flip,
    symmetric,
)


def _class_conditional(inputs: Case, params: Case) -> Outputs:
    model = pair_flip if "pairflip" in params["source"] else symmetric
    transition = model(inputs["y"], params["noise_rate"], params["num_classes"]).transition
    noisy = class_conditional(inputs["y"], transition, params["random_state"], compat=True)
    return {
        "T": transition,
        "noisy_labels_with_that_rng": noisy.labels,
        "actual_rate": noisy.realised_rate,
    }


def _probs(inputs: Case, params: Case) -> Outputs:
    return {"P": instance_dependent_probs(inputs["x"], inputs["y"], inputs["flip_rate"], inputs["W"])}


def _moments(inputs: Case, params: Case) -> Outputs:
    moments = [flip_rate_moments(rate, params["norm_std"]) for rate in np.atleast_1d(inputs["tau"])]
    return {"mean": [each.mean for each in moments], "std": [each.std for each in moments]}


GOLDEN: dict[str, Golden] = {
    "noise_models_class_conditional": Golden(
        ("tamis.noise.symmetric", "tamis.noise.pair_flip", "tamis.noise.class_conditional"),
        _class_conditional,
        takes_source=True,
    ),
    "noise_models_idn_flip_rate_moments": Golden(("tamis.noise.flip_rate_moments",), _moments),
    "noise_models_instance_dependent": Golden(("tamis.noise.instance_dependent_probs",), _probs),
    "noise_models_instance_dependent_shared_w": Golden(("tamis.noise.instance_dependent_probs",), _probs),
}
