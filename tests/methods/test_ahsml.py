"""Adaptive hierarchical similarity, by the real engine."""

from __future__ import annotations

import pytest
import torch
from tests.methods.conftest import shaken
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses import AdaptiveHierarchicalSimilarityLoss, adaptive_margins
from tamis.methods import METHODS
from tamis.methods.ahsml import AHSML

SGD = {"recipe": {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0}, "per_class": 5}
GEOMETRIES = ["cosine", "hyperbolic"]


def test_says_that_it_is_experimental():
    assert "experimental" in METHODS.facts("ahsml").title


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_first_step_by_hand(geometry, fit_embedding, plant_identities):
    data = plant_identities(5, 0.0)
    network = fit_embedding(AHSML, data, epochs=0, **SGD).method.network
    strong = shaken(data.inputs, torch.arange(40), seed=0, step=0, view=1)
    weak, strong = (normalize(network(each).logits, dim=1) for each in (data.inputs, strong))
    margins = adaptive_margins(weak, data.given, 8, geometry=geometry)
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry)
    value = loss(weak, data.given, strong_embeddings=strong, margins=margins)
    value.backward()
    run = fit_embedding(AHSML, data, epochs=1, batch_size=40, lr=0.1, geometry=geometry, **SGD)
    assert run.records[0]["loss"] == pytest.approx(value.item(), rel=1e-5)
    step = network.head.weight - 0.1 * network.head.weight.grad
    assert torch.allclose(run.method.network.head.weight, step, atol=1e-5)


def test_margins_are_measured_before_every_epoch(fit_embedding, plant_identities):
    """The table of the last epoch is that of the network as the epoch before left it."""
    data = plant_identities()
    constant = {"recipe": {"schedule": "constant"}}
    before, run = (fit_embedding(AHSML, data, epochs=epochs, **constant) for epochs in (1, 2))
    expected = adaptive_margins(before.method.embeddings(before.training.scan), data.given, 8)
    assert torch.allclose(run.method.negative_margins, expected.negative, atol=1e-6)
    assert torch.allclose(run.method.augmented_margins, expected.augmented, atol=1e-6)
    assert torch.allclose(run.method._margins().positive, expected.positive, atol=1e-6)


def test_margins_are_of_the_rows_trained_on(fit_embedding, plant_identities):
    data = plant_identities()
    selected = ~data.is_wrong
    run = fit_embedding(AHSML, data, epochs=1, material={"selected": selected})
    first = fit_embedding(AHSML, data, epochs=0).method.network(data.inputs[selected]).logits
    expected = adaptive_margins(normalize(first, dim=1), data.given[selected], 8)
    assert torch.allclose(run.method.negative_margins, expected.negative, atol=1e-6)


def test_margins_of_classes_of_one_and_of_none(fit_embedding, plant_identities):
    data = plant_identities(10, 0.0)
    given = data.given.clone()
    given[8:][data.given[8:] == 0] = 1
    given[data.given == 7] = 6
    run = fit_embedding(AHSML, data._replace(given=given), epochs=2)
    method = run.method
    assert method.negative_margins.isfinite().all()
    assert method.augmented_margins.isfinite().all()
    assert method._margins().positive[[0, 7]].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"map_range": (0.2, 0.0)}, "map_range is"),
        ({"rho": 0.0}, "rho is 0.0"),
        ({"geometry": "flat"}, "geometry is 'flat'"),
        ({"curvature": 0.0}, "curvature is 0.0"),
    ],
)
def test_refused(wrong, said, fit_embedding):
    with pytest.raises(InputError, match=said):
        fit_embedding(AHSML, epochs=0, **wrong)
