"""Golden cases of DivideMix: the split by losses; the training step waits."""

from __future__ import annotations

import numpy as np
from golden_case import Case, Golden, Outputs

from tamis.statistics.co_divide import co_divide


def _split(inputs: Case, params: Case) -> Outputs:
    history = np.asarray(inputs["losses_history"], dtype=np.float64)
    fit = {name: params[name] for name in ("average_last", "max_iter", "tol", "reg_covar")}
    found = co_divide(history[-1], history[:-1], threshold=params["p_threshold"], **fit)
    alone = co_divide(history[-1])
    return {
        "losses_normalised_last": alone.normalised,
        "prob_clean": found.prob_clean,
        "pred_clean": found.is_clean,
    }


GOLDEN: dict[str, Golden] = {
    "dividemix": Golden(
        ("tamis.statistics.co_divide.co_divide",),
        _split,
        pending={"step_*": "training methods", "losses_*": "training methods"},
    )
}
