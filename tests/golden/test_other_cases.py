"""Runners of golden files also serve cases that no present file holds."""

from __future__ import annotations

import numpy as np
import pytest
from golden_case import as_array
from golden_map import GOLDEN


def _eac_case(weight):
    rng = np.random.default_rng(0)
    return {
        "inputs": {
            "features": rng.normal(size=(2, 3, 2, 4)).tolist(),
            "features_flipped_image": rng.normal(size=(2, 3, 2, 4)).tolist(),
            "fc_weight": rng.normal(size=(2, 3)).tolist(),
            "fc_bias": [0.1, -0.2],
            "labels": [1, 0],
        },
        "params": {"lambda": weight},
    }


def _relation_case(edge_weight, node_weight):
    rng = np.random.default_rng(0)
    return {
        "inputs": {
            "teacher_features": rng.normal(size=(5, 3)).tolist(),
            "student_features": rng.normal(size=(5, 4)).tolist(),
            "projector_weight": rng.normal(size=(3, 4)).tolist(),
        },
        "params": {
            "k": None,
            "tau_teacher": 0.1,
            "tau_student": 0.1,
            "alpha_edge": edge_weight,
            "beta_node": node_weight,
            "edge": "kl",
        },
    }


def test_attention_consistency_of_no_weight():
    plain, weighted = (GOLDEN["eac"].outputs(_eac_case(weight)) for weight in (0.0, 5.0))
    assert as_array(plain["grad_features_flipped_image"]).tolist() == np.zeros((2, 3, 2, 4)).tolist()
    np.testing.assert_allclose(as_array(plain["total"]), as_array(weighted["ce"]))


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_relations_of_no_weight(weights):
    found, both = (GOLDEN["rmdnet"].outputs(_relation_case(*pair)) for pair in (weights, (1.0, 1.0)))
    for name in ("edge_kl", "edge_mse", "node_loss"):
        np.testing.assert_array_equal(as_array(found[name]), as_array(both[name]))
    expected = weights[0] * as_array(both["edge_kl"]) + weights[1] * as_array(both["node_loss"])
    np.testing.assert_allclose(as_array(found["total"]), expected, atol=1e-12)
    assert as_array(found["grad_student_features"]).shape == (5, 4)
