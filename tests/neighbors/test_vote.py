"""The neighbour vote against loops, and what it does without evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors, neighbor_vote


def slow_vote(indices, similarities, soft, temperature, trust, prior, prior_weight):
    n_classes = soft.shape[1]
    votes = np.zeros((len(indices), n_classes))
    for i, row in enumerate(indices):
        present = [similarities[i, j] for j, index in enumerate(row) if index >= 0]
        share, total = prior_weight * prior, prior_weight
        for j, index in enumerate(row):
            if index >= 0 and soft[index].sum() > 0:
                weight = (
                    1.0 if temperature is None else np.exp((similarities[i, j] - max(present)) / temperature)
                )
                share = share + weight * trust[index] * soft[index]
                total += weight * trust[index]
        votes[i] = share / total if total > 0 else prior
    return votes


def test_by_hand():
    indices = np.array([[0, 1, 2], [2, -1, -1], [-1, -1, -1]])
    similarities = np.array([[0.9, 0.9, 0.4], [0.2, -np.inf, -np.inf], [-np.inf] * 3])
    labels = np.array([0, 1, 1])
    votes = neighbor_vote(indices, similarities, labels, 3)
    np.testing.assert_allclose(votes, [[1 / 3, 2 / 3, 0], [0, 1, 0], [1 / 3] * 3], atol=1e-7)
    votes = neighbor_vote(indices, similarities, labels, 3, temperature=0.5 / np.log(2.0))
    np.testing.assert_allclose(votes[0], [0.4, 0.6, 0], atol=1e-7)
    votes = neighbor_vote(indices, similarities, labels, 3, prior=np.array([2.0, 1.0, 1.0]), prior_weight=1.0)
    np.testing.assert_allclose(
        votes, [[1.5 / 4, 2.25 / 4, 0.25 / 4], [0.25, 0.625, 0.125], [0.5, 0.25, 0.25]]
    )
    assert votes.dtype == np.float32


@given(st.integers(0, 10**6), st.sampled_from([None, 0.05, 1.0]), st.sampled_from([0.0, 0.7]), st.booleans())
def test_equals_loops_and_ignores_names_and_blocks(seed, temperature, prior_weight, soft):
    rng = np.random.default_rng(seed)
    n, m, k, n_classes = 23, 17, 4, 5
    indices = rng.integers(-1, m, size=(n, k))
    similarities = np.where(indices >= 0, -np.sort(-rng.uniform(-1, 1, size=(n, k))), -np.inf)
    codes = rng.integers(-1, n_classes, size=m)
    table = np.where(codes[:, None] >= 0, np.eye(n_classes)[codes], 0.0)
    if soft:
        table = rng.dirichlet(np.ones(n_classes), size=m)
    trust, prior = rng.uniform(size=m), rng.dirichlet(np.ones(n_classes))
    expected = slow_vote(indices, similarities, table, temperature, trust, prior, prior_weight)
    options = {"temperature": temperature, "trust": trust, "prior_weight": prior_weight}
    votes = neighbor_vote(indices, similarities, table if soft else codes, n_classes, prior=prior, **options)
    np.testing.assert_allclose(votes, expected, atol=1e-6)
    np.testing.assert_allclose(votes.sum(axis=1), 1.0, atol=1e-6)
    names = rng.permutation(n_classes)
    renamed = table[:, np.argsort(names)] if soft else np.where(codes >= 0, names[codes], -1)
    other = neighbor_vote(
        indices, similarities, renamed, n_classes, prior=prior[np.argsort(names)], **options
    )
    np.testing.assert_allclose(other[:, names], votes, atol=1e-7)


def test_blocks_do_not_matter():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(3000, 6)), rng.integers(0, 60, size=3000)
    found = nearest_neighbors(rows, k=5)
    whole = neighbor_vote(found.indices, found.similarities, labels, 60, temperature=0.1)
    parts = neighbor_vote(
        found.indices, found.similarities, labels, 60, temperature=0.1, memory_budget="1MiB"
    )
    np.testing.assert_array_equal(parts, whole)


def test_noisy_labels_stand_out():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, size=600)
    rows = rng.normal(size=(600, 8)) + 4.0 * np.eye(8)[truth]
    is_wrong = rng.uniform(size=600) < 0.2
    given_labels = np.where(is_wrong, (truth + 1) % 3, truth)
    found = nearest_neighbors(rows, k=15)
    votes = neighbor_vote(found.indices, found.similarities, given_labels, 3)
    own = votes[np.arange(600), given_labels]
    assert own[is_wrong].max() < 0.6
    assert (own[~is_wrong] > own[is_wrong].mean()).mean() > 0.98


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indices": np.array([0, 1])}, "indices has shape"),
        ({"indices": np.array([[0, 3]])}, "goes up to 3 but there are 3 labels"),
        ({"similarities": np.array([[np.nan, 0.0]])}, "row 0 holds NaN"),
        ({"labels": np.array([0, 1, 2])}, "goes up to 2 but n_classes is 2"),
        ({"labels": np.zeros(3)}, "float64"),
        ({"labels": np.zeros((3, 4))}, "4 columns"),
        ({"labels": np.full((3, 2), np.nan)}, "NaN or a negative"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"prior_weight": -1.0}, "prior_weight is -1.0"),
        ({"prior": np.zeros(2)}, "sum of prior"),
        ({"trust": np.ones(2)}, r"trust has shape \(2,\)"),
        ({"trust": -np.ones(3)}, "trust"),
    ],
)
def test_wrong_arguments_are_explained(changes, message):
    arguments = {
        "indices": np.array([[0, 1]]),
        "similarities": np.zeros((1, 2)),
        "labels": np.zeros(3, dtype=int),
    }
    with pytest.raises(InputError, match=message):
        neighbor_vote(**(arguments | changes), n_classes=2)
