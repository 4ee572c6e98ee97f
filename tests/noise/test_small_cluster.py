"""Small-cluster noise: which classes dissolve, how they split, and the k-means underneath."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.noise import small_cluster
from tamis.noise.grouping import k_means

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(60), RNG.integers(5, 40, 60)))
FEATURES = RNG.normal(size=(len(LABELS), 5)) + 4 * RNG.normal(size=(60, 5))[LABELS]


@given(rate=st.floats(0, 0.9), seed=st.integers(0, 2**64 - 1))
def test_properties(rate: float, seed: int) -> None:
    noisy = small_cluster(LABELS, FEATURES, rate, random_state=seed)
    sizes = np.bincount(LABELS)
    dissolved = np.setdiff1d(np.arange(60), noisy.class_ids)
    # Reached from above, by less than the class that was dissolved last.
    assert noisy.is_wrong.sum() >= rate * len(LABELS) * (1 - 1e-9)
    assert noisy.realised_rate - rate < sizes.max() / len(LABELS) + 1e-9
    np.testing.assert_array_equal(noisy.is_wrong, np.isin(LABELS, dissolved))
    np.testing.assert_array_equal(noisy.is_open, noisy.is_wrong)
    # Every other image keeps its label, under its new number.
    kept = ~noisy.is_wrong
    np.testing.assert_array_equal(noisy.class_ids[noisy.labels[kept]], LABELS[kept])
    assert set(noisy.labels) == set(range(noisy.n_classes))
    assert noisy.n_classes == 60 - noisy.details["n_dissolved_classes"]
    assert noisy.realised_transition.shape == (60, noisy.n_classes)
    np.testing.assert_allclose(noisy.realised_transition.sum(axis=1), 1)


def test_groups_are_small_and_many() -> None:
    # Sizes as in the CARS lists: 82 images a class; there 31 to 36 new labels a dissolved class.
    labels = np.repeat(np.arange(98), 82)
    features = np.random.default_rng(1).normal(size=(len(labels), 16))
    noisy = small_cluster(labels, features, 0.25)
    # The lists have 73 classes left at this rate.
    assert noisy.n_classes == 73
    dissolved = np.setdiff1d(np.arange(98), noisy.class_ids)
    spread = np.mean([len(np.unique(noisy.labels[labels == code])) for code in dissolved])
    assert 28 < spread < 38
    assert noisy.details["n_groups"] <= 41 * len(dissolved)


def test_alike_samples_move_together() -> None:
    # Ten pairs of copies in the only class that dissolves: each pair goes as one.
    pairs = np.repeat(RNG.normal(size=(10, 3)) * 100, 2, axis=0)
    labels = np.concatenate([np.zeros(20, dtype=int), np.arange(1, 40)])
    features = np.concatenate([pairs, np.zeros((39, 3))])
    for seed in range(40):
        noisy = small_cluster(labels, features, 0.3, random_state=seed)
        if 0 not in noisy.class_ids:
            moved = noisy.labels[:20].reshape(10, 2)
            np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
            return
    pytest.fail("class 0 never dissolved")


def test_rate_zero_and_empty_classes() -> None:
    noisy = small_cluster([0, 0, 3, 3], np.zeros((4, 1)), 0.0, n_classes=6)
    assert noisy.labels.tolist() == [0, 0, 1, 1]
    assert noisy.class_ids.tolist() == [0, 3]
    assert noisy.details["n_empty_classes"] == 4
    assert noisy.realised_rate == 0
    assert len(small_cluster([], np.zeros((0, 2)), 0.0).labels) == 0


def test_a_class_of_one() -> None:
    noisy = small_cluster([0, 1, 2], np.zeros((3, 2)), 0.5)
    assert noisy.details == {"n_dissolved_classes": 2, "n_groups": 2, "n_empty_classes": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 1.0}, "dissolves all 2 classes"),
        ({"labels": [0, 0, 0, 0]}, "dissolves all 1 classes"),
        ({"features": np.full((4, 1), np.nan)}, "holds NaN"),
        ({"features": [[0.0]]}, "features has shape"),
        ({"n_classes": 1}, "labels row 2 is 1"),
        ({"labels": ["a", "b", "c", "d"]}, "labels has dtype"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_cluster(**{"labels": [0, 0, 1, 1], "features": np.zeros((4, 1)), "rate": 0.5, **changes})


def test_k_means_finds_separate_groups() -> None:
    centres = np.random.default_rng(2).normal(size=(6, 4)) * 50
    points = np.repeat(centres, 9, axis=0) + np.random.default_rng(3).normal(size=(54, 4))
    groups = k_means(points, np.linspace(0.05, 0.95, 6))
    assert [len(set(row)) for row in groups.reshape(6, 9)] == [1] * 6
    assert len(set(groups)) == 6


def test_k_means_is_a_fixed_point_like_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    points = np.random.default_rng(4).normal(size=(300, 3)) + 1e4
    groups = k_means(points, np.random.default_rng(5).random(20))
    centres = np.stack([points[groups == group].mean(axis=0) for group in range(20)])
    again = KMeans(20, init=centres, n_init=1, max_iter=1).fit(points)
    np.testing.assert_array_equal(again.labels_, groups)
    inertia = ((points - centres[groups]) ** 2).sum()
    assert inertia < 1.3 * KMeans(20, n_init=5, random_state=0).fit(points).inertia_


@pytest.mark.parametrize("n_groups", [1, 2, 5, 9])
def test_k_means_on_copies(n_groups: int) -> None:
    draws = np.full(n_groups, 1 - 2.0**-53)
    assert len(set(k_means(np.full((5, 2), 1e8), draws))) == 1
    assert len(set(k_means(np.array([[0.0], [0.0], [7.0]]), draws))) == min(n_groups, 2)


def test_k_means_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    points, draws = RNG.normal(size=(200, 3)), RNG.random(30)
    whole = k_means(points, draws)
    monkeypatch.setattr("tamis.noise.grouping._BLOCK_CELLS", 100)
    np.testing.assert_array_equal(k_means(points, draws), whole)
