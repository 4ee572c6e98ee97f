"""HOC: neighbours inside random draws, global and local transition estimates."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.detectors import consensus_draws
from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.consensus_draws import consensus_counts, draw_positions, shared_neighbors
from tamis.detectors.hoc import (
    TransitionEstimate,
    estimate_from_counts,
    estimate_transition_answers,
    estimate_transition_hoc,
)
from tamis.detectors.hoc_local import estimate_local_transitions
from tamis.errors import InputError, TamisWarning
from tamis.neighbors import nearest_neighbors

NOISE = np.array([[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.2, 0.0, 0.8]])


def clusters(n, k=3, d=6, seed=0, noise=NOISE, spread=0.1):
    """Return features in k tight clusters, noisy labels and true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = np.eye(k, d)[truth] + spread * rng.normal(size=(n, d))
    labels = (rng.random((n, 1)) > noise[truth].cumsum(axis=1)).sum(axis=1)
    return features, labels, truth


def slow_counts(features, labels, k):
    """Count triples from the full matrix of distances."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    triples = np.zeros((k, k, k), dtype=int)
    for row, nearest in enumerate(np.argsort(distance, axis=1)[:, :2]):
        triples[labels[row], labels[nearest[0]], labels[nearest[1]]] += 1
    return triples


def slow_rounds(features, labels, k, n_rounds, n_points):
    """Draw, search and count one round after the other."""
    order = canonical_order(features, labels, k)
    total = np.zeros((k, k, k), dtype=int)
    for number in range(n_rounds):
        drawn = order.rows[draw_positions(len(labels), n_points, 0, number)]
        total += slow_counts(features[drawn], labels[drawn], k)
    return total


def test_all_points_once_against_the_slow_count():
    features, labels, _ = clusters(80)
    counts = consensus_counts(features, labels, 3)
    np.testing.assert_array_equal(counts.triples, slow_counts(features, labels, 3))
    assert counts.n == 80


def test_draws_against_the_slow_count():
    features, labels, _ = clusters(90)
    counts = consensus_counts(features, labels, 3, n_rounds=4, n_points=30)
    np.testing.assert_array_equal(counts.triples, slow_rounds(features, labels, 3, 4, 30))


def test_a_shared_search_and_separate_ones_count_the_same(monkeypatch):
    features, labels, _ = clusters(200)
    options = {"n_rounds": 3, "n_points": 60}
    whole = consensus_counts(features, labels, 3, **options)
    for shared in (None, 2, 3, 199):
        monkeypatch.setattr(consensus_draws, "shared_neighbors", lambda n, shared=shared, **_: shared)
        assert (consensus_counts(features, labels, 3, **options).triples == whole.triples).all()
    monkeypatch.undo()
    given = nearest_neighbors(features, k=20)
    assert (consensus_counts(features, labels, 3, neighbors=given, **options).triples == whole.triples).all()


def test_how_many_neighbours_are_shared():
    assert shared_neighbors(15_000) == 2
    # Half of the others are drawn: 2 of 18 are almost always among them, but not 2 of 17.
    assert shared_neighbors(10_001, n_rounds=100, n_points=5_001) == 18
    assert shared_neighbors(20, n_rounds=100, n_points=10) == 19
    assert shared_neighbors(10**6) is None
    with pytest.raises(InputError, match="n_points is 2; expected a whole number of at least 3"):
        shared_neighbors(10, n_points=2)


def test_row_order_and_class_codes_do_not_matter():
    features, labels, _ = clusters(150)
    rng = np.random.default_rng(5)
    # Copies with other labels tie: their order must come from content.
    features[100:] = features[:50]
    rows, turn = rng.permutation(150), np.array([2, 0, 1])
    for options in ({}, {"n_rounds": 5, "n_points": 50}):
        first = consensus_counts(features, labels, 3, **options)
        second = consensus_counts(features[rows], turn[labels[rows]], 3, memory_budget="1MiB", **options)
        np.testing.assert_array_equal(second.triples[np.ix_(turn, turn, turn)], first.triples)
        one, two = (estimate_from_counts(each, n_steps=60) for each in (first, second))
        np.testing.assert_allclose(two.transition[np.ix_(turn, turn)], one.transition, rtol=0, atol=1e-12)
        np.testing.assert_allclose(two.prior[turn], one.prior, rtol=0, atol=1e-12)


def test_scaling_and_rotation_do_not_matter():
    features, labels, _ = clusters(120)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    first = consensus_counts(features, labels, 3)
    np.testing.assert_array_equal(consensus_counts(7.5 * features, labels, 3).triples, first.triples)
    np.testing.assert_array_equal(consensus_counts(features @ turn, labels, 3).triples, first.triples)


def test_draws_are_pure_and_differ():
    assert (draw_positions(50, 10, 3, 1) == draw_positions(50, 10, 3, 1)).all()
    seen = {tuple(draw_positions(50, 10, *each)) for each in [(0, 0), (0, 1), (1, 0), (0, 0, 1)]}
    assert len(seen) == 4
    assert len(set(draw_positions(50, 50, 0, 0))) == 50


def test_planted_noise_is_recovered():
    features, labels, truth = clusters(6000)
    estimate = estimate_transition_hoc(features, labels, n_steps=300)
    assert np.abs(estimate.transition - NOISE).sum(axis=1).max() < 0.1
    assert estimate.noise_rate == pytest.approx((labels != truth).mean(), abs=0.02)
    np.testing.assert_allclose(estimate.transition.sum(axis=1), 1.0)
    assert estimate.prior.sum() == pytest.approx(1.0)


def test_clean_labels_have_no_noise():
    features, labels, _ = clusters(400, noise=np.eye(3))
    assert estimate_transition_hoc(features, labels, n_steps=300).noise_rate < 0.005


def test_three_annotators():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 5000)
    answers = np.stack([(rng.random((5000, 1)) > NOISE[truth].cumsum(axis=1)).sum(axis=1) for _ in range(3)])
    estimate = estimate_transition_answers(answers.T, 3, n_steps=300)
    assert np.abs(estimate.transition - NOISE).sum(axis=1).max() < 0.08


def test_a_class_without_labels_is_warned_of():
    features, labels, _ = clusters(60)
    with pytest.warns(TamisWarning, match=r"no sample is labelled"):
        estimate = estimate_transition_hoc(features, labels, n_classes=4, n_steps=20)
    assert estimate.transition.shape == (4, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.ones((2, 2)), "labels": np.array([0, 1])}, "n >= 3"),
        ({"labels": np.array([0, 1])}, r"labels \(2,\)"),
        ({"labels": np.array([0.0, 1.0, 1.0, 0.0])}, "class codes"),
        ({"labels": np.array([0, -1, 1, 0])}, "labels row 1 is -1"),
        ({"labels": np.array([0, 2, 1, 0])}, "codes run from 0 to 1"),
        ({"features": np.array([[1.0, 0], [0, 1], [0, 0], [1, 1]])}, "row 2 is all zeros"),
        ({"features": np.array([[1.0, 0], [0, 1], [np.nan, 0], [1, 1]])}, "row 2 holds NaN"),
        ({"n_rounds": 0}, "n_rounds is 0"),
        ({"n_points": 2.5}, "n_points is 2.5"),
        ({"random_state": -1}, "random_state is -1"),
        ({"n_classes": 1}, "2 to 300 classes"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "features": np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]),
        "labels": np.array([0, 0, 1, 1]),
        "n_classes": 2,
    } | change
    if change.get("n_classes") == 1:
        arguments["labels"] = np.zeros(4, dtype=int)
    with pytest.raises(InputError, match=message):
        consensus_counts(**arguments)


def two_places(n=600, seed=0):
    """Return four tight clusters; labels of the first two are noisy, of the last two clean."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 4, n)
    features = np.eye(4)[cluster] * 5 + 0.1 * rng.normal(size=(n, 4))
    truth = cluster % 2
    is_noisy = (cluster < 2) & (rng.random(n) < 0.3)
    return features, np.where(is_noisy, 1 - truth, truth), cluster


def test_local_estimates_tell_places_apart():
    features, labels, cluster = two_places()
    overall = estimate_transition_hoc(features, labels, n_steps=300)
    local = estimate_local_transitions(features, labels, overall, n_neighbors=100, n_steps=200)
    kept = local.transitions[local.place, cluster % 2, cluster % 2]
    assert kept[cluster >= 2].mean() - kept[cluster < 2].mean() > 0.1
    np.testing.assert_allclose(local.transitions.sum(axis=2), 1.0)
    np.testing.assert_array_equal(local.transitions[-1], overall.transition)
    # Every centre lies in its own neighbourhood and every row has a place.
    np.testing.assert_array_equal(local.place[local.centers], np.arange(len(local.centers)))
    assert local.place.min() == 0


def test_rows_beyond_the_last_centre_keep_the_global_matrix():
    features, labels, _ = two_places(200)
    overall = TransitionEstimate(np.array([[0.9, 0.1], [0.2, 0.8]]), np.full(2, 0.5), 0.0)
    local = estimate_local_transitions(
        features, labels, overall, n_neighbors=20, n_points=10, max_centers=3, n_steps=20
    )
    assert len(local.centers) == 3
    assert (local.place == 3).sum() >= 200 - 3 * 20
    whole = estimate_local_transitions(features, labels, overall, n_neighbors=500, n_steps=20)
    assert len(whole.centers) == 1 and (whole.place == 0).all()


def test_local_estimates_do_not_depend_on_row_order_or_codes():
    features, labels, _ = two_places(200)
    rows = np.random.default_rng(1).permutation(200)
    overall = TransitionEstimate(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.4, 0.6]), 0.0)
    turned = TransitionEstimate(overall.transition[::-1, ::-1], overall.prior[::-1], 0.0)
    options = {"n_neighbors": 40, "n_points": 20, "n_rounds": 5, "n_steps": 60}
    first = estimate_local_transitions(features, labels, overall, **options)
    second = estimate_local_transitions(features[rows], 1 - labels[rows], turned, **options)
    np.testing.assert_array_equal(second.place, first.place[rows])
    np.testing.assert_array_equal(rows[second.centers], first.centers)
    np.testing.assert_allclose(second.transitions[:, ::-1, ::-1], first.transitions, rtol=0, atol=1e-12)


def test_local_estimates_refuse_rows_without_direction():
    overall = TransitionEstimate(np.eye(2), np.full(2, 0.5), 0.0)
    with pytest.raises(InputError, match="features row 1 holds NaN or infinity, or is all zeros"):
        estimate_local_transitions(np.array([[1.0], [0.0], [1.0]]), np.array([0, 1, 0]), overall)
