"""Label consensus: counts, the model of them, the objective."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.clusterability import Consensus, ConsensusCounts, hoc_objective, population_consensus


def random_noise(k, seed=0):
    """Return a diagonally dominant transition matrix and a prior."""
    rng = np.random.default_rng(seed)
    transition = rng.random((k, k)) + 3 * np.eye(k)
    prior = rng.random(k) + 0.5
    return transition / transition.sum(axis=1, keepdims=True), prior / prior.sum()


def slow_consensus(transition, prior):
    """Compute the shares by loops."""
    k = len(prior)
    c1, c2, c3 = np.zeros(k), np.zeros((k, k)), np.zeros((k, k, k))
    for i, a, b, c in itertools.product(range(k), repeat=4):
        c3[a, b, c] += prior[i] * transition[i, a] * transition[i, b] * transition[i, c]
    for i, a, b in itertools.product(range(k), repeat=3):
        c2[a, b] += prior[i] * transition[i, a] * transition[i, b]
    for i, a in itertools.product(range(k), repeat=2):
        c1[a] += prior[i] * transition[i, a]
    return c1, c2, c3


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_model_against_loops(k):
    transition, prior = random_noise(k)
    for got, wanted in zip(
        population_consensus(transition, prior), slow_consensus(transition, prior), strict=True
    ):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=1e-15)


def test_the_model_by_hand():
    c1, c2, c3 = population_consensus(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0.4, 0.6]))
    np.testing.assert_allclose(c1, [0.7, 0.3])
    np.testing.assert_allclose(c2, [[0.55, 0.15], [0.15, 0.15]])
    np.testing.assert_allclose(c3[0], [[0.475, 0.075], [0.075, 0.075]])


def test_shares_sum_to_one_are_symmetric_and_nested():
    c1, c2, c3 = population_consensus(*random_noise(6))
    for each in (c1, c2, c3):
        assert float(each.sum()) == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(c2, c2.T)
    for axes in itertools.permutations(range(3)):
        torch.testing.assert_close(c3, c3.permute(axes))
    for axis in range(3):
        torch.testing.assert_close(c3.sum(dim=axis), c2)
    torch.testing.assert_close(c2.sum(dim=1), c1)


def test_without_noise_pairs_are_diagonal():
    prior = np.array([0.2, 0.3, 0.5])
    np.testing.assert_array_equal(population_consensus(np.eye(3), prior).c2, np.diag(prior))


def test_a_batch_is_each_of_its_parts():
    parts = [random_noise(4, seed) for seed in range(3)]
    together = population_consensus(
        np.stack([transition for transition, _ in parts]), np.stack([prior for _, prior in parts])
    )
    for row, part in enumerate(parts):
        for whole, alone in zip(together, population_consensus(*part), strict=True):
            torch.testing.assert_close(whole[row], alone)


def test_relabelling_turns_the_shares():
    transition, prior = random_noise(4)
    turn = np.array([2, 0, 3, 1])
    turned = population_consensus(transition[np.ix_(turn, turn)], prior[turn])
    torch.testing.assert_close(
        turned.c3, population_consensus(transition, prior).c3[np.ix_(turn, turn, turn)]
    )


def test_the_objective_by_hand():
    # The start is uniform: singles 1/2, pairs 1/4, triples 1/8 everywhere.
    observed = population_consensus(np.eye(2), np.full(2, 0.5))
    zero = torch.zeros(2, 2, dtype=torch.float64)
    expected = 0.0 + np.sqrt(4 * 0.25**2) + np.sqrt(2 * 0.375**2 + 6 * 0.125**2)
    assert float(hoc_objective(zero, zero[0], observed)) == pytest.approx(expected)
    pairs_only = hoc_objective(zero, zero[0], observed, weights=(0.0, 2.0, 0.0))
    assert float(pairs_only) == pytest.approx(2 * np.sqrt(4 * 0.25**2))
    peaked = hoc_objective(zero, zero[0], observed, is_peaked=True)
    assert float(peaked) == pytest.approx(expected + np.log(0.51) / 10)


@pytest.mark.parametrize("is_peaked", [False, True])
def test_gradients_against_differences(is_peaked):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    observed = population_consensus(*random_noise(3))
    assert torch.autograd.gradcheck(lambda a, b: hoc_objective(a, b, observed, is_peaked=is_peaked), (u, v))


def test_counts_by_hand():
    counts = ConsensusCounts(3).partial_fit(np.array([[0, 1, 2], [0, 1, 1], [2, 2, 2], [0, 1, 2]]))
    assert counts.n == 4
    assert counts.singles.tolist() == [3, 0, 1]
    assert counts.pairs[0].tolist() == [0, 3, 0]
    assert counts.triples[0, 1].tolist() == [0, 1, 2]
    shares = counts.shares()
    assert isinstance(shares, Consensus)
    assert float(shares.c3[0, 1, 2]) == 0.5


def test_blocks_and_merge_order_do_not_matter():
    triples = np.random.default_rng(0).integers(0, 4, (200, 3))
    whole = ConsensusCounts(4).partial_fit(triples)
    parts = [ConsensusCounts(4).partial_fit(part) for part in np.array_split(triples, 7)]
    forward, backward = ConsensusCounts(4), ConsensusCounts(4)
    for part in parts:
        forward.merge(part)
    for part in reversed(parts):
        backward.merge(part)
    np.testing.assert_array_equal(forward.triples, whole.triples)
    np.testing.assert_array_equal(backward.triples, whole.triples)
    np.testing.assert_array_equal(
        ConsensusCounts(4).partial_fit(triples[:0]).merge(whole).triples, whole.triples
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConsensusCounts(1), "n_classes is 1; label consensus needs 2 to 300 classes"),
        (lambda: ConsensusCounts(301), "n_classes is 301"),
        (lambda: ConsensusCounts(2).shares(), "no label triples were counted"),
        (lambda: ConsensusCounts(2).merge(ConsensusCounts(3)), "counts of 3 classes do not go with 2"),
        (lambda: ConsensusCounts(2).partial_fit(np.zeros((3, 2), dtype=int)), r"shape \(3, 2\)"),
        (lambda: ConsensusCounts(2).partial_fit(np.zeros((3, 3))), "dtype float64"),
        (lambda: ConsensusCounts(2).partial_fit(np.array([[0, 0, 0], [0, -1, 0]])), "triples row 1 is"),
        (lambda: ConsensusCounts(2).partial_fit(np.array([[0, 2, 0]])), "codes run from 0 to 1"),
        (lambda: population_consensus(np.eye(3), np.full(2, 0.5)), r"transition has shape \(3, 3\)"),
        (lambda: population_consensus(np.zeros((2, 3)), np.full(2, 0.5)), "pass"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
