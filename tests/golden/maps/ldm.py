"""Golden cases of the least disagree metric and of its batch selection."""

from __future__ import annotations

import numpy as np
from golden_case import Case, Golden, Outputs

from tamis.statistics.least_disagree import least_disagree_metric
from tamis.statistics.least_disagree_batch import (
    cosine_distances,
    ldm_batch,
    ldm_weights,
    sampling_probabilities,
)


def _ldm(inputs: Case, params: Case) -> Outputs:
    return _estimate(inputs, params) if "z" in inputs else _query(inputs, params)


def _estimate(inputs: Case, params: Case) -> Outputs:
    found = least_disagree_metric(
        inputs["W"],
        inputs["b"],
        inputs["pool_features"],
        inputs["sample_features"],
        patience=params["stop_cond"],
        relative_sigma=False,
        draws=inputs["z"],
    )
    return {"ldm": found.values, "draws_used": found.n_draws}


def _query(inputs: Case, params: Case) -> Outputs:
    ldm, n_query = np.array(inputs["ldm"]), params["n_query"]
    order = np.argsort(ldm, kind="stable")
    weights = ldm_weights(ldm, n_query)
    picks = ldm_batch(ldm, inputs["features"], n_query, greedy=True)
    nearest = np.full(len(ldm), np.inf)
    steps = []
    for pick in picks[:-1]:
        nearest = np.minimum(nearest, cosine_distances(inputs["features"], pick))
        steps.append(sampling_probabilities(weights, nearest)[order])
    return {
        "order": order,
        "gamma_in_sorted_order": weights[order],
        "sampling_probabilities_in_sorted_order": steps,
        "query_index": picks,
    }


GOLDEN: dict[str, Golden] = {
    "ldm": Golden(
        (
            "tamis.statistics.least_disagree.least_disagree_metric",
            "tamis.statistics.least_disagree_batch.ldm_weights",
            "tamis.statistics.least_disagree_batch.sampling_probabilities",
            "tamis.statistics.least_disagree_batch.cosine_distances",
            "tamis.statistics.least_disagree_batch.ldm_batch",
        ),
        _ldm,
    )
}
