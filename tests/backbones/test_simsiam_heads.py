"""SimSiam's projector and predictor: layers, normalisation, seeds, edges."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tamis.backbones import SimSiamHeads
from tamis.errors import InputError


def features(b=6, d=5, seed=0):
    return torch.randn(b, d, generator=torch.Generator().manual_seed(seed))


def test_layers_are_those_of_the_paper():
    heads = SimSiamHeads(512)
    kinds = {name: [type(layer) for layer in part] for name, part in heads.named_children()}
    linear, norm, relu = nn.Linear, nn.BatchNorm1d, nn.ReLU
    assert kinds == {
        "projector": [linear, norm, relu, linear, norm, relu, linear, norm],
        "predictor": [linear, norm, relu, linear],
    }
    widths = [(one.in_features, one.out_features) for one in heads.modules() if isinstance(one, nn.Linear)]
    assert widths == [(512, 2048), (2048, 2048), (2048, 2048), (2048, 512), (512, 2048)]
    # The last norm of the projector neither scales nor shifts; only the last layer of all has a bias.
    assert not heads.projector[-1].affine
    assert [one.bias is None for one in heads.modules() if isinstance(one, nn.Linear)] == [True] * 4 + [False]


def test_projections_are_normalised_and_agree_with_the_layers_by_hand():
    heads = SimSiamHeads(5, n_projected=7, n_hidden=3).double()
    inputs = features().double()
    found = heads(inputs)

    def normalised(values):
        return (values - values.mean(dim=0)) / (values.var(dim=0, correction=0) + 1e-5).sqrt()

    first, second, third = (heads.projector[at].weight for at in (0, 3, 6))
    hidden = normalised(normalised(inputs @ first.T).relu() @ second.T).relu()
    torch.testing.assert_close(found.projections, normalised(hidden @ third.T))
    squeezed = normalised(found.projections @ heads.predictor[0].weight.T).relu()
    torch.testing.assert_close(found.predictions, heads.predictor[3](squeezed))


def test_rows_in_any_order():
    heads, order = SimSiamHeads(5, n_projected=7, n_hidden=3).double(), torch.tensor([5, 2, 0, 1, 4, 3])
    one, other = heads(features().double()), heads(features().double()[order])
    torch.testing.assert_close(other.predictions, one.predictions[order])


def test_weights_are_a_function_of_the_seed():
    before = torch.get_rng_state()
    one, same, other = (SimSiamHeads(5, n_projected=7, n_hidden=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.predictor[0].weight, same.predictor[0].weight)
    assert not torch.equal(one.predictor[0].weight, other.predictor[0].weight)


def test_small_batches():
    heads = SimSiamHeads(5, n_projected=7, n_hidden=3)
    with pytest.raises(InputError, match="a training batch of 1 has no statistics"):
        heads(features(1))
    assert torch.isfinite(heads(features(2)).predictions).all()
    assert heads.eval()(features(1)).projections.shape == (1, 7)
    assert heads(features(0)).projections.shape == (0, 7)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match=r"shape \(6, 4\); these heads take \(B, 5\)"):
        SimSiamHeads(5, n_projected=7, n_hidden=3)(features(d=4))
    for name in ("n_features", "n_projected", "n_hidden"):
        with pytest.raises(InputError, match=f"{name} is 0"):
            SimSiamHeads(**{"n_features": 5, "n_projected": 7, "n_hidden": 3, name: 0})
