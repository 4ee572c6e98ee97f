"""Near duplicates: planted ones are found, chance does not make any, order does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.detectors.near_duplicates import near_duplicates
from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors


def find(rows, **options):
    found = nearest_neighbors(rows, k=12, query_groups=options.get("exact_groups"))
    return near_duplicates(found.indices, found.similarities, **options)


def planted(n=600, d=32, copies=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d))
    rows[n - copies :] = rows[:copies] + 0.1 * rng.normal(size=(copies, d))
    return rows


def test_by_hand():
    # Distances of row 0: 0.01, then 0.5, ..., 0.5; of the others 0.5 throughout; scale 0.5.
    similarities = np.full((6, 4), 0.5)
    indices = np.array([[j for j in range(6) if j != i][:4] for i in range(6)])
    similarities[0, 0] = similarities[1, 0] = 0.99
    found = near_duplicates(indices, similarities)
    np.testing.assert_array_equal(found.groups, [0, 0, -1, -1, -1, -1])
    # r = 0.02 at the limit 0.3: 1 - 2 ** (-0.02 / 0.3).
    np.testing.assert_allclose(found.scores[:2], 1 - 2 ** (-0.02 / 0.3), rtol=1e-4)
    np.testing.assert_allclose(found.scores[2:], 1 - 2 ** (-1.0 / 0.3), rtol=1e-6)


def test_planted_copies_are_found_and_nothing_else():
    found = find(planted())
    expected = np.full(600, -1)
    expected[:40] = expected[560:] = np.arange(40)
    np.testing.assert_array_equal(found.groups, expected)
    np.testing.assert_array_equal(found.is_issue, expected >= 0)
    assert found.scores[found.is_issue].max() < 0.5 <= found.scores[~found.is_issue].min()


@pytest.mark.parametrize("d", [2, 3, 5, 10, 100])
def test_chance_makes_no_duplicates_in_any_dimension(d):
    rows = np.random.default_rng(d).normal(size=(3000, d))
    # Two rows of one expected at the default of 1e-5; single close pairs of 2-d data do happen.
    assert find(rows).is_issue.sum() <= 2


def test_every_row_copied_does_not_hide_the_copies():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(400, 24))
    found = find(np.concatenate([rows, rows + 0.02 * rng.normal(size=rows.shape)]))
    assert found.is_issue.mean() > 0.99
    assert len(np.unique(found.groups)) >= 399


def test_a_burst_longer_than_the_scale_is_one_group():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(500, 24))
    rows[:30] = rows[0] + 0.01 * rng.normal(size=(30, 24))
    found = find(rows)
    np.testing.assert_array_equal(np.flatnonzero(found.is_issue), np.arange(30))
    assert (found.groups[:30] == 0).all()


def test_equal_features_score_zero_unless_all_are_equal():
    rows = planted()
    rows[599] = 7.0 * rows[39]
    found = find(rows)
    assert found.scores[39] == pytest.approx(0.0, abs=1e-5)
    everything = find(np.ones((30, 4)))
    assert not everything.is_issue.any()
    assert (everything.scores > 0.5).all()


def test_exact_groups_are_joined_but_not_flagged_alone():
    rows = planted()
    rows[1] = rows[0]  # exact copies of each other, both near row 560
    rows[561] = -rows[0]
    rows[200] = rows[201]
    exact = np.full(600, -1)
    exact[[0, 1]], exact[[200, 201]] = 0, 1
    found = find(rows, exact_groups=exact)
    assert found.groups[0] == found.groups[1] == found.groups[560]
    assert found.groups[200] == found.groups[201] >= 0
    assert not found.is_issue[[200, 201]].any()
    assert found.is_issue[[0, 1, 560]].all()


def test_chains_are_split():
    # A circle of equal steps: every link is as good as the next, and one group would hold opposite rows.
    angle = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    rows = np.random.default_rng(5).normal(size=(900, 40))
    rows[:120] = 0.0
    rows[:120, 0], rows[:120, 1] = np.cos(angle), np.sin(angle)
    rows[899] = rows[898] + 0.01
    np.testing.assert_array_equal(np.flatnonzero(find(rows, max_group=50).is_issue), [898, 899])
    assert np.bincount(find(rows, max_group=120).groups[:120] + 1)[1] == 120


def test_many_copies_are_not_a_chain():
    rows = np.random.default_rng(8).normal(size=(900, 40))
    rows[:150] = rows[0]
    np.testing.assert_array_equal(np.flatnonzero(find(rows).is_issue), np.arange(150))


def test_row_order_does_not_matter():
    rows = planted()
    rng = np.random.default_rng(6)
    order, keys = rng.permutation(600), rng.integers(0, 2**63, size=(600, 2)).astype(np.uint64)
    plain, shuffled = find(rows, tie_keys=keys), find(rows[order], tie_keys=keys[order])
    np.testing.assert_array_equal(shuffled.groups, plain.groups[order])
    np.testing.assert_array_equal(shuffled.is_issue, plain.is_issue[order])
    np.testing.assert_allclose(shuffled.scores, plain.scores[order], atol=1e-12)


def test_scores_rise_strictly_with_distance():
    def score(distance):
        similarities = np.full((6, 4), 0.5)
        indices = np.array([[j for j in range(6) if j != i][:4] for i in range(6)])
        similarities[0, 0] = similarities[1, 0] = 1.0 - distance
        return near_duplicates(indices, similarities).scores[0]

    scores = [score(distance) for distance in np.linspace(0.0, 0.45, 40)]
    assert (np.diff(scores) > 0).all()


def test_few_rows_and_no_neighbours():
    found = find(np.eye(3))
    assert not found.is_issue.any()
    assert len(near_duplicates(np.empty((0, 4), dtype=int), np.empty((0, 4))).scores) == 0
    alone = near_duplicates(np.full((2, 4), -1), np.full((2, 4), -np.inf))
    np.testing.assert_array_equal(alone.scores, [1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indices": np.zeros((5, 3), dtype=int), "similarities": np.zeros((5, 3))}, "k >= 4"),
        ({"indices": np.full((5, 4), 9), "similarities": np.zeros((5, 4))}, "goes up to 9 but there are 5"),
        ({"closeness": 1.0}, "closeness is 1.0"),
        ({"chance": 0.0}, r"chance is 0\.0"),
    ],
)
def test_wrong_arguments_are_explained(options, message):
    arguments = {"indices": np.zeros((5, 4), dtype=int), "similarities": np.zeros((5, 4))} | options
    with pytest.raises(InputError, match=message):
        near_duplicates(**arguments)
