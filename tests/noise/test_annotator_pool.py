"""Annotator pools: who answers, what they answer, difficulty, aggregation, made-up crowds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.noise import (
    AnnotatorPool,
    adversary_confusions,
    annotator_pool,
    one_coin_confusions,
    shared_confusions,
    spammer_confusions,
)

K, M, N = 4, 12, 6_000
LABELS = np.arange(N) % K
CROWD = one_coin_confusions(M, K, 6, 4)


def test_shapes_and_who_answers() -> None:
    pool = annotator_pool(LABELS, CROWD, 3)
    assert pool.answers.shape == (N, M)
    assert pool.answers.dtype == np.int32
    np.testing.assert_array_equal((pool.answers >= 0).sum(axis=1), 3)
    assert (np.diff(np.sort(pool.workers, axis=1), axis=1) > 0).all()
    # Every annotator gets the same share, at each place in the order.
    for place in range(3):
        counts = np.bincount(pool.workers[:, place], minlength=M)
        assert np.abs(counts - N / M).max() < 4.5 * np.sqrt(N / M)
    table = pool.table()
    np.testing.assert_array_equal(pool.answers[table.task, table.worker], table.label)
    assert len(table.task) == 3 * N


def test_every_pair_of_annotators_meets_equally_often() -> None:
    pool = annotator_pool(np.zeros(12_000, dtype=int), one_coin_confusions(5, 2), 2)
    pairs = np.bincount(pool.workers[:, 0] * 5 + pool.workers[:, 1], minlength=25).reshape(5, 5)
    assert not pairs.diagonal().any()
    off = pairs[~np.eye(5, dtype=bool)]
    assert np.abs(off - 600).max() < 4.5 * np.sqrt(600)


def test_answers_follow_the_confusions() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.dirichlet(np.ones(K), size=(3, K))
    pool = annotator_pool(np.arange(40_000) % K, crowd, 3)
    for worker in range(3):
        for code in range(K):
            given = pool.answers[np.arange(40_000) % K == code, worker]
            shares = np.bincount(given, minlength=K) / len(given)
            np.testing.assert_allclose(shares, crowd[worker, code], atol=4.5 * np.sqrt(0.25 / 10_000))


def test_number_of_answers_a_sample() -> None:
    counts = 1 + np.arange(N) % M
    pool = annotator_pool(LABELS, CROWD, counts)
    np.testing.assert_array_equal((pool.answers >= 0).sum(axis=1), counts)
    np.testing.assert_array_equal((pool.given >= 0).sum(axis=1), counts)
    np.testing.assert_array_equal(pool.given >= 0, pool.workers >= 0)
    # The first answers are those of a pool with fewer: a draw belongs to the sample and its place.
    np.testing.assert_array_equal(pool.given[:, 0], annotator_pool(LABELS, CROWD, 1).given[:, 0])


def test_difficulty() -> None:
    crowd = shared_confusions(np.full((2, 2), 0.2) + 0.6 * np.eye(2), 5)
    labels = np.arange(30_000) % 2
    for difficulty, accuracy in ((0.0, 1.0), (1.0, 0.8), (3.0, 0.8**3)):
        pool = annotator_pool(labels, crowd, 1, difficulty=np.full(len(labels), difficulty))
        assert abs((pool.given[:, 0] == labels).mean() - accuracy) < 4.5 * np.sqrt(0.25 / len(labels))
    plain = annotator_pool(labels, crowd, 1)
    same = annotator_pool(labels, crowd, 1, difficulty=np.ones(len(labels)))
    np.testing.assert_array_equal(plain.given, same.given)


def test_difficulty_cannot_make_a_perfect_annotator_err() -> None:
    pool = annotator_pool(LABELS, np.eye(K)[None], 1, difficulty=np.full(N, 9.0))
    np.testing.assert_array_equal(pool.given[:, 0], LABELS)


def _pool(given: list[list[int]], true: list[int]) -> AnnotatorPool:
    answers = np.array(given)
    workers = np.where(answers >= 0, np.arange(answers.shape[1]), -1)
    return AnnotatorPool(np.array(true), workers, answers, one_coin_confusions(answers.shape[1], 3), 0)


def test_aggregation_by_hand() -> None:
    pool = _pool([[0, 1, 1], [2, 2, 0], [0, 0, 0], [1, 2, 0], [2, -1, -1], [0, 2, 0]], [1, 2, 0, 0, 0, 0])
    majority = pool.majority()
    assert majority.labels[[0, 1, 2, 4, 5]].tolist() == [1, 2, 0, 2, 0]
    assert majority.details["n_ties"] == 1
    # The last wrong answer; the true label where there is none.
    assert pool.worst().labels.tolist() == [0, 0, 0, 2, 2, 2]
    assert all(label in row for label, row in zip(pool.random().labels, pool.given, strict=True))
    assert majority.details["answer_error_rate"] == pytest.approx(6 / 16)


def test_aggregates_behave_as_they_should() -> None:
    pool = annotator_pool(LABELS, one_coin_confusions(M, K, 40, 10), 3)
    rates = [pool.majority().realised_rate, pool.random().realised_rate, pool.worst().realised_rate]
    assert rates == sorted(rates)
    any_wrong = ((pool.given >= 0) & (pool.given != LABELS[:, None])).any(axis=1)
    np.testing.assert_array_equal(pool.worst().is_wrong, any_wrong)
    # One of three answers, each wrong with the rate of its annotator.
    assert abs(pool.random().realised_rate - pool.random().nominal_rate) < 4.5 * np.sqrt(0.25 / N)
    error_rate = pool.random().details["answer_error_rate"]
    np.testing.assert_allclose(error_rate, pool.random().nominal_rate, atol=0.02)


def test_ties_fall_evenly() -> None:
    given = np.tile([[0, 1, 2]], (9_000, 1))
    counts = np.bincount(_pool(given.tolist(), [0] * 9_000).majority().labels, minlength=3)
    assert np.abs(counts - 3_000).max() < 4.5 * np.sqrt(3_000)


@pytest.mark.shared
def test_worst_is_built_like_the_human_labels(shared: Path) -> None:
    import pyarrow.parquet as pq

    names = ["label", "worse_label", "aggre_label", *(f"random_label{k}" for k in (1, 2, 3))]
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=names)
    clean, worse, aggre, *answers = (table[name].to_numpy().astype(np.int64) for name in names)
    given = np.stack(answers, axis=1)
    pool = AnnotatorPool(clean, np.tile(np.arange(3), (len(clean), 1)), given, one_coin_confusions(3, 10), 0)
    np.testing.assert_array_equal(pool.worst().labels, worse)
    is_tie = (given[:, 0] != given[:, 1]) & (given[:, 1] != given[:, 2]) & (given[:, 0] != given[:, 2])
    np.testing.assert_array_equal(pool.majority().labels[~is_tie], aggre[~is_tie])
    assert pool.majority().details["n_ties"] == is_tie.sum() == 3041


def test_one_coin_accuracies_follow_the_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    crowd = one_coin_confusions(3_000, 3, 8, 2)
    np.testing.assert_allclose(crowd.sum(axis=2), 1)
    np.testing.assert_allclose(crowd[:, 0, 1], (1 - crowd[:, 0, 0]) / 2)
    assert kstest(crowd[:, 1, 1], beta(8, 2).cdf).pvalue > 1e-4


def test_shared_confusions_scatter_around_the_matrix() -> None:
    matrix = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    np.testing.assert_array_equal(shared_confusions(matrix, 2), [matrix, matrix])
    crowd = shared_confusions(matrix, 4_000, concentration=10)
    np.testing.assert_allclose(crowd.sum(axis=2), 1)
    np.testing.assert_allclose(crowd.mean(axis=0), matrix, atol=0.02)
    # A Dirichlet share with mean m has variance m (1 - m) / (concentration + 1).
    np.testing.assert_allclose(crowd.var(axis=0), matrix * (1 - matrix) / 11, atol=0.004)
    assert not crowd[:, matrix == 0].any()
    tight = shared_confusions(matrix, 100, concentration=1e6)
    np.testing.assert_allclose(tight, np.repeat(matrix[None], 100, axis=0), atol=0.01)
    np.testing.assert_allclose(shared_confusions(matrix, 100, concentration=1e-3).sum(axis=2), 1)


def test_spammers_and_adversaries() -> None:
    spam = spammer_confusions(2, 3, [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(spam, np.full((2, 3, 3), [0.5, 0.5, 0.0]))
    adversary = adversary_confusions(1, 3, 0.2)[0]
    np.testing.assert_allclose(adversary, [[0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]])
    labels = np.arange(9_000) % 3
    mixed = np.concatenate([spam, adversary_confusions(1, 3), one_coin_confusions(3, 3)])
    pool = annotator_pool(labels, mixed, 6)
    right = [(pool.answers[:, worker] == labels).mean() for worker in range(6)]
    np.testing.assert_allclose(right[:3], [1 / 3, 1 / 3, 0], atol=0.03)
    assert min(right[3:]) > 0.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confusions": np.eye(2)}, r"confusions has shape \(2, 2\)"),
        ({"confusions": np.zeros((1, 2, 2))}, r"confusions\[0\] row 0 sums to 0"),
        ({"answers_per_sample": 0}, "from 1 to 3"),
        ({"answers_per_sample": 4}, "from 1 to 3"),
        ({"answers_per_sample": [1, 2, 3]}, "each of 2 samples"),
        ({"answers_per_sample": 1.5}, "whole number"),
        ({"difficulty": [1.0]}, "difficulty must be 2 finite numbers"),
        ({"difficulty": [1.0, -1.0]}, "difficulty must be"),
        ({"labels": [0, 2]}, "labels row 1 is 2"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"labels": [0, 1], "confusions": np.repeat(np.eye(2)[None], 3, axis=0)}
    with pytest.raises(InputError, match=message):
        annotator_pool(**(arguments | changes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one_coin_confusions(0, 3), "n_annotators must be"),
        (lambda: one_coin_confusions(3, 1), "n_classes must be"),
        (lambda: one_coin_confusions(3, 3, a=0), "a must be a number > 0"),
        (lambda: shared_confusions(np.eye(2), 3, -1), "concentration must be"),
        (lambda: spammer_confusions(1, 3, [0.5, 0.5]), "answer_shares has shape"),
        (lambda: spammer_confusions(1, 2, [0.5, 0.6]), "answer_shares row 0 sums to 1.1"),
        (lambda: adversary_confusions(1, 2, 0.5), "no worse than chance"),
    ],
)
def test_wrong_crowds_are_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
