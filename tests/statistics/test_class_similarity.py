"""Similarities of classes: sums against pairs, properties, edges."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.class_similarity import class_similarities, least_class_similarities


def dot(left, right):
    return left @ right.T


def minus_distance(left, right):
    return -torch.cdist(left, right)


def sample(seed=0, n=30, d=4, k=5):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.integers(0, k, n))


def by_pairs(points, labels, k, similarity):
    pairs = similarity(points, points)
    table, least = np.full((k, k), np.nan), np.full(k, np.nan)
    for a, b in product(range(k), repeat=2):
        found = [
            float(pairs[i, j])
            for i, j in product(range(len(points)), repeat=2)
            if i != j and labels[i] == a and labels[j] == b
        ]
        if found:
            table[a, b] = np.mean(found)
            if a == b:
                least[a] = min(found)
    return table, least


@pytest.mark.parametrize("similarity", [None, dot, minus_distance])
def test_against_pairs(similarity):
    for seed in range(5):
        points, labels = sample(seed, n=14, k=6)  # a class of one, or none, among them
        table, least = by_pairs(points, labels, 7, similarity or dot)
        found = class_similarities(points, labels, 7, similarity=similarity)
        np.testing.assert_allclose(found, table, rtol=1e-10, atol=1e-12)
        found = least_class_similarities(points, labels, 7, similarity=similarity)
        np.testing.assert_allclose(found, least, rtol=1e-10)


@pytest.mark.parametrize("similarity", [None, dot, minus_distance])
def test_blocks_and_order_change_nothing(monkeypatch, similarity):
    points, labels = sample()
    table = class_similarities(points, labels, 5, similarity=similarity)
    least = least_class_similarities(points, labels, 5, similarity=similarity)
    order = torch.from_numpy(np.random.default_rng(1).permutation(30))
    renamed = torch.tensor([3, 0, 4, 2, 1])
    for size in (1, 7, 30):
        monkeypatch.setattr("tamis.statistics.class_similarity.rows_per_block", lambda *_, size=size: size)
        moved, names = points[order], renamed[labels[order]]
        found = class_similarities(moved, names, 5, similarity=similarity)
        torch.testing.assert_close(found[renamed][:, renamed], table)
        found = least_class_similarities(moved, names, 5, similarity=similarity)
        torch.testing.assert_close(found[renamed], least)


def test_edges():
    table = class_similarities(torch.zeros(0, 3), torch.zeros(0).long(), 2)
    assert table.isnan().all()
    assert least_class_similarities(torch.zeros(0, 3), torch.zeros(0).long(), 2).isnan().all()
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    table = class_similarities(rows, torch.tensor([0, 0]), 1)
    assert table.tolist() == [[0.0]]
    assert not table.requires_grad
    assert math.isnan(class_similarities(rows[:1], torch.tensor([0]), 1).item())
    for labels in (torch.tensor([0, 2]), torch.tensor([0]), torch.tensor([0, -1])):
        with pytest.raises(InputError, match="labels"):
            class_similarities(rows, labels, 2)
        with pytest.raises(InputError, match="labels"):
            least_class_similarities(rows, labels, 2)


def test_wrong_labels_move_the_mean_little_and_the_least_much():
    rng = np.random.default_rng(0)
    labels = torch.arange(200) % 2
    points = torch.nn.functional.normalize(
        torch.tensor(4 * np.eye(2)[labels.numpy()] + 0.3 * rng.normal(size=(200, 2)))
    )
    noisy = labels.clone()
    noisy[:10] = 1 - noisy[:10]
    clean, dirty = (class_similarities(points, each, 2) for each in (labels, noisy))
    least = [least_class_similarities(points, each, 2).min() for each in (labels, noisy)]
    assert (clean - dirty).abs().max() < 0.15
    assert least[0] - least[1] > 0.5
