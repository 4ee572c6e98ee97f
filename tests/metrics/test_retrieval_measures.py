"""Measures of retrieval: by hand, against every order of every tie, edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.metrics.relevant_levels import RelevantLevels, levels_of_ranking
from tamis.metrics.retrieval import (
    average_precision,
    average_precision_at_r,
    hit_at_k,
    precision_at_k,
    r_precision,
    reciprocal_rank,
)

# Ranks 1 to 6, relevant at 2, 3 and 6, one more relevant item never found: R = 4.
BY_HAND = levels_of_ranking([[0, 1, 1, 0, 0, 1]], n_relevant=np.array([4]))


def test_values_by_hand() -> None:
    assert hit_at_k(BY_HAND, 1)[0] == 0
    assert hit_at_k(BY_HAND, 2)[0] == 1
    assert precision_at_k(BY_HAND, 1)[0] == 0
    assert precision_at_k(BY_HAND, 3)[0] == pytest.approx(2 / 3)
    assert precision_at_k(BY_HAND, 12)[0] == pytest.approx(3 / 12)
    assert r_precision(BY_HAND)[0] == pytest.approx(2 / 4)
    assert average_precision(BY_HAND, 2)[0] == pytest.approx((1 / 2) / 4)
    assert average_precision_at_r(BY_HAND)[0] == pytest.approx((1 / 2 + 2 / 3) / 4)
    assert average_precision(BY_HAND)[0] == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 4)
    assert reciprocal_rank(BY_HAND)[0] == pytest.approx(1 / 2)


def test_tie_by_hand() -> None:
    # One relevant item in a tie of three on ranks 2 to 4.
    levels = levels_of_ranking([[0, 1, 0, 0, 0]], np.array([[0.9, 0.5, 0.5, 0.5, 0.1]]))
    assert (levels.above[0], levels.size[0], levels.relevant[0]) == (1, 3, 1)
    assert hit_at_k(levels, 1)[0] == 0
    assert hit_at_k(levels, 2)[0] == pytest.approx(1 / 3)
    assert hit_at_k(levels, 3)[0] == pytest.approx(2 / 3)
    assert hit_at_k(levels, 4)[0] == pytest.approx(1)
    assert reciprocal_rank(levels)[0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert average_precision(levels)[0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)


def plain_measures(hits: list[int], n_relevant: int, k: int) -> np.ndarray:
    """Return the measures of one strict ranking, from their definitions."""

    def average(cut: int) -> float:
        return sum(sum(hits[: i + 1]) / (i + 1) for i in range(min(cut, len(hits))) if hits[i]) / n_relevant

    first = hits.index(1) + 1 if 1 in hits else math.inf
    found = [float(any(hits[:k])), sum(hits[:k]) / k, sum(hits[:n_relevant]) / n_relevant]
    return np.array([*found, average(k), average(n_relevant), average(len(hits)), 1 / first])


def measures(levels: RelevantLevels, k: int) -> np.ndarray:
    found = [
        hit_at_k(levels, k),
        precision_at_k(levels, k),
        r_precision(levels),
        average_precision(levels, k),
    ]
    found += [average_precision_at_r(levels), average_precision(levels), reciprocal_rank(levels)]
    return np.stack(found)


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_the_mean_over_every_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    values = np.sort(rng.integers(0, 3, n))[::-1].astype(np.float64)
    hits = rng.integers(0, 2, n)
    hits[rng.integers(n)] = 1
    n_relevant, k = int(hits.sum() + rng.integers(0, 2)), int(rng.integers(1, n + 1))
    every = [
        plain_measures([int(hits[i]) for i in order], n_relevant, k)
        for order in itertools.permutations(range(n))
        if (np.diff(values[list(order)]) <= 0).all()
    ]
    levels = levels_of_ranking(hits[None], values[None], np.array([n_relevant]))
    np.testing.assert_allclose(measures(levels, k)[:, 0], np.mean(every, axis=0), rtol=1e-12)


def test_scikit_learn_agrees_without_ties() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    hits = rng.random((20, 50)) < 0.2
    expected = [average_precision_score(row, -np.arange(50)) for row in hits]
    np.testing.assert_allclose(average_precision(levels_of_ranking(hits)), expected, rtol=1e-12)


def test_queries_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(1)
    hits, values = rng.random((30, 12)) < 0.3, np.sort(rng.integers(0, 6, (30, 12)), axis=1)[:, ::-1]
    together = measures(levels_of_ranking(hits, values), 4)
    alone = [measures(levels_of_ranking(hits[i : i + 1], values[i : i + 1]), 4) for i in range(30)]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))
    chosen = rng.random(30) < 0.5
    taken = levels_of_ranking(hits, values).take(chosen)
    np.testing.assert_array_equal(measures(taken, 4), together[:, chosen])


def test_no_relevant_item_is_nan_and_none_found_is_zero() -> None:
    levels = levels_of_ranking(np.zeros((2, 3), dtype=bool), n_relevant=np.array([0, 2]))
    assert np.isnan(measures(levels, 2)[:, 0]).all()
    assert (measures(levels, 2)[:, 1] == 0).all()
    assert (measures(levels_of_ranking(np.zeros((1, 0)), n_relevant=np.array([1])), 1) == 0).all()


def test_large_ties_stay_in_range() -> None:
    levels = RelevantLevels(*(np.array([x]) for x in (5_000, 0, 0, 1_000_000, 5_000)))
    found = measures(levels, 1000)[:, 0]
    # A tie of everything is a guess: 1 - (1 - 0.005)^1000 and 0.005.
    assert found[0] == pytest.approx(1 - 0.995**1000, rel=1e-2)
    np.testing.assert_allclose(found[[1, 2]], 0.005, rtol=1e-9)
    assert ((found >= 0) & (found <= 1)).all()


def test_levels_that_may_go_on_outside_are_left_out() -> None:
    values = np.array([[0.9, 0.5, 0.5]])
    levels = levels_of_ranking([[1, 1, 0]], values, n_relevant=np.array([3]), rest=np.array([0.5]))
    assert levels.above.tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 0],), r"shape \(2,\)"),
        (([[1, 0]], np.zeros((1, 3))), r"similarities \(1, 3\)"),
        (([[1, 0]], np.array([[0.1, 0.2]])), "rise"),
        (([[1, 0]], np.array([[np.nan, 0.2]])), "NaN"),
        (([[1, 0]], None, np.array([1, 2])), "n_relevant"),
    ],
)
def test_wrong_lists_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        levels_of_ranking(*arguments)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_wrong_k_is_refused(k: int) -> None:
    for measure in (hit_at_k, precision_at_k, average_precision):
        with pytest.raises(InputError, match="at least 1"):
            measure(BY_HAND, k)
