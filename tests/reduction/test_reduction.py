"""Reductions: neighbours by inner product, LARS, networks, TLDR and PCA as estimators, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as REFERENCE
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from tamis.errors import InputError, NotFittedError
from tamis.neighbors import nearest_neighbors
from tamis.reduction import LARS, PCA, TLDR, neighbor_graph
from tamis.reduction.networks import build_encoder, build_projector
from tamis.statistics.warmup_cosine import warmup_cosine_rate

SMALL = {"projector": "mlp-1-16", "epochs": 3, "warmup_epochs": 1, "n_components": 3}


def rows(seed=0, n=90, d=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 3.0 * np.eye(d)[np.arange(n) % 3]


@parametrize_with_checks([TLDR(**{**SMALL, "n_components": 2, "epochs": 1}), PCA(n_components=1)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_rules(estimator, check):
    check(estimator)


@pytest.mark.parametrize("similarity", ["inner_product", "cosine"])
def test_neighbors_against_the_full_product(similarity):
    features = rows() * np.random.default_rng(1).uniform(0.2, 4.0, size=(90, 1))
    unit = features if similarity == "inner_product" else features / np.linalg.norm(features, axis=1)[:, None]
    product = unit @ unit.T
    np.fill_diagonal(product, -np.inf)
    expected = np.argsort(-product, axis=1)[:, :4]
    np.testing.assert_array_equal(neighbor_graph(features, 4, similarity=similarity), expected)


def test_neighbors_edges():
    features = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    graph = neighbor_graph(features, 2)
    assert graph[0].tolist() == [0, 0]  # zeros have no direction: paired with themselves
    assert graph[1].tolist() == [3, 2]
    assert neighbor_graph(np.zeros((3, 2)), 1)[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="1 to 3"):
        neighbor_graph(features, 4)
    with pytest.raises(InputError, match="similarity is 'dot'"):
        neighbor_graph(features, 1, similarity="dot")


def test_lars_by_hand():
    weight, bias = nn.Parameter(torch.tensor([[3.0, 4.0]])), nn.Parameter(torch.tensor([1.0]))
    zero = nn.Parameter(torch.zeros(1, 1))
    optimizer = LARS([weight, bias, zero, nn.Parameter(torch.ones(1))], lr=0.5, weight_decay=0.1, trust=0.01)
    for _ in range(2):
        for parameter, gradient in ((weight, [[0.0, 2.0]]), (bias, [2.0]), (zero, [[2.0]])):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
    expected, momentum = np.array([3.0, 4.0]), np.zeros(2)
    for _ in range(2):
        gradient = np.array([0.0, 2.0]) + 0.1 * expected
        gradient *= 0.01 * np.linalg.norm(expected) / np.linalg.norm(gradient)
        momentum = 0.9 * momentum + gradient
        expected = expected - 0.5 * momentum
    np.testing.assert_allclose(weight.detach()[0], expected, rtol=1e-6)
    assert bias.item() == pytest.approx(1.0 - 0.5 * 2.0 - 0.5 * 3.8)  # no decay, no rescaling
    assert zero.grad is not None
    with pytest.raises(InputError, match="trust above 0"):
        LARS([weight], trust=0.0)
    with pytest.raises(InputError, match="closure"):
        optimizer.step(lambda: 0.0)


def test_rate_edges():
    plan = {"n_samples": 100, "batch_size": 10, "epochs": 2}
    assert warmup_cosine_rate(0, **plan, warmup_epochs=0, rate=0.256) == pytest.approx(0.01)
    assert warmup_cosine_rate(99, **plan, warmup_epochs=1, rate=0.256) == pytest.approx(1e-5)
    assert warmup_cosine_rate(20, **plan, warmup_epochs=2, rate=0.256) == pytest.approx(1e-5)
    for wrong in ({"warmup_epochs": 3}, {"rate": 0.0}, {"epochs": 0}):
        with pytest.raises(InputError):
            warmup_cosine_rate(0, **{**plan, "warmup_epochs": 0, **wrong})


def test_networks():
    encoder = build_encoder("flinear-2-6", 5, 3, seed=1)
    assert [type(layer).__name__ for layer in encoder] == ["Linear", "BatchNorm1d"] * 2 + ["Linear"]
    assert encoder[0].bias is not None
    projector = build_projector("mlp-2-9", 3, seed=1)
    assert [layer.out_features for layer in projector if isinstance(layer, nn.Linear)] == [9, 9, 9]
    assert all(layer.bias is None for layer in projector if isinstance(layer, nn.Linear))
    assert len(build_projector("none", 3)) == 0
    for form in ("mlp", "mlp-0-3", "cnn-1-2", 5):
        with pytest.raises(InputError, match="encoder is"):
            build_encoder(form, 5, 3)
    with pytest.raises(InputError, match="projector is 'flinear-1-2'"):
        build_projector("flinear-1-2", 3)


@pytest.mark.parametrize("encoder", ["linear", "flinear-1-8", "mlp-1-8"])
def test_tldr_is_deterministic_and_blind_to_the_order_of_rows(encoder):
    features = rows()
    order = np.random.default_rng(3).permutation(len(features))
    before = torch.get_rng_state()
    first = TLDR(encoder=encoder, batch_size=30, **SMALL).fit(features)
    second = TLDR(encoder=encoder, batch_size=30, **SMALL).fit(features[order])
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first.transform(features), second.transform(features))
    other = TLDR(encoder=encoder, batch_size=30, random_state=1, **SMALL).fit(features)
    assert np.abs(other.transform(features) - first.transform(features)).max() > 1e-3
    np.testing.assert_allclose(first.transform(features[:1]), first.transform(features)[:1], rtol=1e-12)


@pytest.mark.parametrize("reducer", [TLDR(unit_length=True, encoder="mlp-1-8", **SMALL), PCA(n_components=3)])
def test_files(tmp_path, reducer):
    features = rows().astype(np.float32)
    with pytest.raises(NotFittedError, match="call fit"):
        reducer.save(tmp_path / "a.safetensors")
    reduced = reducer.fit_transform(features)
    assert reduced.dtype == np.float32
    path = reducer.save(tmp_path / "a.safetensors")
    loaded = type(reducer).load(path)
    np.testing.assert_array_equal(loaded.transform(features), reduced)
    assert loaded.get_params() == reducer.get_params()
    assert loaded.get_feature_names_out().tolist() == reducer.get_feature_names_out().tolist()
    other = PCA if isinstance(reducer, TLDR) else TLDR
    with pytest.raises(InputError, match="holds"):
        other.load(path)
    with pytest.raises(InputError, match="ends in"):
        reducer.save(tmp_path / "a.bin")
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        other.load(tmp_path / "b.safetensors")


def test_pca_against_scikit_learn():
    features = rows()
    for whiten in (False, True):
        ours = PCA(n_components=3, whiten=whiten).fit_transform(features)
        theirs = REFERENCE(3, whiten=whiten).fit_transform(features)
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)
    flat = PCA(n_components=2, whiten=True).fit_transform(np.outer(np.arange(5.0), [1.0, 2.0]))
    assert np.isfinite(flat).all()
    assert np.abs(flat[:, 1]).max() < 1e-6
    with pytest.raises(InputError, match="use 1 to 7"):
        PCA(n_components=8).fit(features)


@pytest.mark.parametrize("n", [3, 40, 900])
def test_few_components_of_wide_rows_are_found_alone(n):
    draw = np.random.default_rng(n)
    features = draw.normal(size=(n, 700)) + draw.normal(size=(n, 2)) @ draw.normal(size=(2, 700))
    for whiten in (False, True):
        ours = PCA(n_components=2, whiten=whiten).fit_transform(features)
        reference = REFERENCE(2, svd_solver="full", whiten=whiten).fit_transform(features)
        assert np.allclose(np.abs(ours), np.abs(reference), atol=1e-9 * np.abs(reference).max())
    order = draw.permutation(n)
    assert np.allclose(
        PCA(n_components=2).fit(features[order]).components_, PCA(n_components=2).fit(features).components_
    )
    # One direction alone.
    line = PCA(n_components=2).fit_transform(np.outer(np.arange(float(n)), np.ones(700)))
    assert np.allclose(line[:, 1], 0, atol=1e-9 * n)


def test_edges_of_tldr():
    twice = np.repeat(rows(n=20), 2, axis=0)
    assert np.isfinite(TLDR(**{**SMALL, "n_components": 12}).fit_transform(twice)).all()
    two = TLDR(**SMALL).fit(rows(n=2))
    assert np.isfinite(two.transform(rows(n=2))).all()
    zeros = TLDR(unit_length=True, encoder="mlp-1-4", **SMALL).fit_transform(np.zeros((6, 3)))
    assert np.isfinite(zeros).all()


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_components", 0),
        ("n_neighbors", 1.5),
        ("epochs", True),
        ("random_state", -1),
        ("warmup_epochs", 9),
        ("batch_size", 91),
        ("batch_size", 1),
        ("rate", -1.0),
        ("encoder", "deep"),
        ("similarity", "near"),
    ],
)
def test_refusals(parameter, value):
    with pytest.raises(InputError, match=parameter):
        TLDR(**{**SMALL, parameter: value}).fit(rows())


def test_neighbors_survive_better_than_in_a_random_projection():
    rng = np.random.default_rng(0)
    truth = np.arange(1200) % 6
    signal = np.eye(6)[truth] * 3.0 + 0.6 * rng.normal(size=(1200, 6))
    features = np.concatenate([signal, rng.normal(size=(1200, 20)) * 0.8], axis=1)

    def agreement(reduced):
        found = nearest_neighbors(reduced[900:], reduced[:900], k=10).indices
        return (truth[found] == truth[900:, None]).mean()

    reducer = TLDR.for_small_data(6, n_rows=900).set_params(epochs=20, warmup_epochs=2, projector="mlp-1-64")
    reducer.fit(features[:900])
    assert reducer.losses_[-1] < 0.8 * reducer.losses_[0]
    blind = features @ rng.normal(size=(26, 6))
    assert agreement(reducer.transform(features)) > agreement(blind) + 0.2
