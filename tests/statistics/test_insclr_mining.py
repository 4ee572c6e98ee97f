"""InsCLR's mining: walk, pool, rejected neighbours and pseudo labels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from tamis.errors import InputError
from tamis.statistics.candidate_pool import candidate_pool, pool_boundary, random_negatives
from tamis.statistics.mined_labels import mine_labels
from tamis.statistics.rejected_neighbors import reject_unlike
from tamis.statistics.traversal import parse_mode, select_positives


def unit(seed, n, d=4):
    rows = torch.tensor(np.random.default_rng(seed).normal(size=(n, d)))
    rows[:, 0] += 1.5
    return functional.normalize(rows)


def walk(queries, candidates, mode):
    """Return the selected candidates by the words of the algorithm, without running sums."""
    parsed, selected = parse_mode(mode), []
    members = list(queries)
    for number in range(parsed.rounds):
        score, take = (each[min(number, len(each) - 1)] for each in (parsed.scores, parsed.takes))
        rated = []
        for index, candidate in enumerate(candidates):
            near = [float(candidate @ member) for member in members]
            near = [value for value in near if value >= score.least]
            value = max(near, default=0.0) if score.kind == "max" else sum(near) / (len(near) + 1e-6)
            if index not in selected:
                rated.append((value, index, len(near)))
        if take.count is None:
            new = [index for value, index, _ in rated if value >= take.least]
        else:
            best = sorted((entry for entry in rated if entry[2]), key=lambda entry: -entry[0])
            new = [index for _, index, _ in best[: take.count]]
        selected += new
        members += [candidates[index] for index in new]
    return sorted(selected)


def chosen(*arguments, mode):
    return select_positives(*arguments, mode=mode)[0].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "mode",
    [
        "b+0_tr1_avg0.60_k05",
        "b+i_tr4_avg0.60_k03",
        "b+i_tr3_max0.70_t0.80",
        "a+i_tr2_avg0.50_k04",
        "b+0_tr4_avg0.60_max0.80_k02_t0.85",
    ],
)
def test_against_the_slow_walk(seed, mode):
    batch, candidates, init, anchor = (
        unit(seed, 3),
        unit(seed + 10, 25),
        unit(seed + 20, 2),
        unit(seed + 30, 2),
    )
    start = {"b+0": batch, "b+i": torch.cat((batch, init)), "a+i": torch.cat((batch[:1], anchor))}[mode[:3]]
    assert chosen(batch, candidates, init, anchor, mode=mode) == walk(start, candidates, mode)


def test_a_chain_is_reached_in_rounds():
    angles = torch.arange(6) * 0.4
    points = torch.stack((angles.cos(), angles.sin()), 1)
    for rounds in range(6):
        mode = f"b+0_tr{rounds}_max0.90_t0.90"
        assert chosen(points[:1], points[1:], points[:0], mode=mode) == list(range(min(rounds, 5)))


def test_walk_properties():
    batch, candidates, none = unit(0, 3), unit(1, 30), unit(2, 0)
    grown = [set(chosen(batch, candidates, none, mode=f"b+0_tr{t}_avg0.60_k04")) for t in range(5)]
    assert all(before <= after for before, after in itertools.pairwise(grown))
    assert chosen(batch, candidates, none, mode="b+0_tr4_avg0.60_k0") == []
    plain = ((candidates @ batch.T).amax(1) >= 0.8).nonzero()[:, 0].tolist()
    assert chosen(batch, candidates, none, mode="b+0_tr1_max0.80_t0.80") == plain
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    found = select_positives(batch, candidates, none, mode="b+0_tr3_avg0.60_k04")[0]
    turned = select_positives(batch, candidates[order], none, mode="b+0_tr3_avg0.60_k04")[0]
    assert torch.equal(turned, found[order])


def test_walk_edges():
    batch, none = unit(0, 3), unit(2, 0)
    assert chosen(batch, none, none, mode="b+0_tr3_avg0.60_k04") == []
    assert chosen(batch, torch.zeros(5, 4).double(), none, mode="b+0_tr3_avg0.60_k04") == []
    assert chosen(batch, -batch, none, mode="b+0_tr3_avg0.60_k04") == []
    for mode in ("b+i", "c+i_tr4_avg0.60_k05", "b+i_tr4_avg0.60", 3):
        with pytest.raises(InputError, match="mode is"):
            parse_mode(mode)
    with pytest.raises(InputError, match="anchor_init_features"):
        select_positives(batch, batch, none, mode="a+i_tr1_avg0.5_k1")
    with pytest.raises(InputError, match="one width"):
        select_positives(batch, batch[:, :2], none)


def test_boundaries_by_hand():
    similarities = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.2, 0.1], [0.3, 0.2, 0.1]])
    assert pool_boundary(similarities, 0.8).tolist() == [2, 0, 0]
    assert pool_boundary(similarities, 0.2).tolist() == [3, 2, 2]
    assert pool_boundary(similarities[:, :0], 0.2).tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="above positive_threshold"):
        candidate_pool(similarities.long(), similarities, positive_threshold=0.1, negative_threshold=0.2)
    with pytest.raises(InputError, match="differ"):
        candidate_pool(similarities[:2].long(), similarities, positive_threshold=1, negative_threshold=0)


def test_rejected_neighbors():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.5, 0.866], [0.0, 1.0], [0.6, 0.8]])
    labels = torch.tensor([1, 2, 1, 1, 1, 2])
    assert reject_unlike(rows, labels).tolist() == [1, 2, 1, -4, -5, 2]
    assert reject_unlike(rows, labels, official=True).tolist() == [1, 2, 1, -1, -1, 2]
    assert reject_unlike(rows, labels, is_relative=True).tolist() == [1, 2, 1, 1, -5, 2]
    assert reject_unlike(rows, labels, threshold=0.99, always_true=2).tolist() == [1, 2, 1, 1, -5, 2]
    alone = reject_unlike(rows[:1], labels[:1], is_relative=True)
    assert alone.tolist() == [1]
    with pytest.raises(InputError, match="above 0"):
        reject_unlike(rows, -labels)
    with pytest.raises(InputError, match="do not fit"):
        reject_unlike(rows, labels[:2])


@pytest.fixture
def scene():
    """Two clusters of 12 on the circle of a space of 6, and the pool of their rows."""
    rng = np.random.default_rng(0)
    centres = np.eye(6)[np.arange(24) % 2]
    rows = functional.normalize(torch.tensor(centres + 0.25 * rng.normal(size=(24, 6))))
    similarities, neighbors = (rows @ rows.T).fill_diagonal_(-2).sort(descending=True)
    pool = candidate_pool(
        neighbors[:, :15], similarities[:, :15], positive_threshold=0.9, negative_threshold=0.4
    )
    return pool, rows, torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 1, 2])


def test_mined_labels_follow_the_clusters(scene):
    pool, rows, batch, labels = scene
    found = mine_labels(pool, rows, torch.ones(24, dtype=torch.bool), batch, labels, use_negatives=False)
    assert len(found.index) > 10
    assert torch.equal(found.index % 2 + 1, found.labels)


def test_mined_labels_are_disjoint_and_only_of_stored_rows(scene):
    pool, rows, batch, labels = scene
    is_stored = torch.arange(24) < 16
    wild = torch.where(is_stored[:, None], rows, torch.zeros_like(rows))
    found = mine_labels(pool, wild, is_stored, batch, labels, mode="b+i_tr1_avg0.60_k01")
    assert len(found.index.unique()) == len(found.index)
    assert found.index.tolist() == sorted(found.index.tolist())
    assert is_stored[found.index].all()
    assert len(found.index) == 16  # everything stored: positives, then negatives
    assert {1, 2} < set(found.labels.tolist()) <= {1, 2, 25}


def test_mined_labels_in_any_order_of_the_batch_behind_the_anchors(scene):
    pool, rows, batch, labels = scene
    everything = torch.ones(24, dtype=torch.bool)
    order = torch.tensor([1, 0, 3, 2])
    found = mine_labels(pool, rows, everything, batch, labels, size=18, seed=3, step=5)
    turned = mine_labels(pool, rows, everything, batch[order], labels[order], size=18, seed=3, step=5)
    assert torch.equal(found.index, turned.index)
    assert torch.equal(found.labels, turned.labels)


def test_a_contested_row_goes_to_the_label_that_is_more_like_it():
    rows = functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 1.0]]))
    pool = candidate_pool(
        torch.tensor([[2, 1], [2, 0], [1, 0]]), torch.full((3, 2), 0.6), positive_threshold=0.5,
        negative_threshold=0.5,
    )  # fmt: skip
    found = mine_labels(
        pool, rows, torch.ones(3, dtype=torch.bool), torch.tensor([0, 1]), torch.tensor([1, 2])
    )
    assert found.labels[found.index == 2].tolist() == [2]
    tie = functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    found = mine_labels(
        pool, tie, torch.ones(3, dtype=torch.bool), torch.tensor([0, 1]), torch.tensor([1, 2])
    )
    assert found.labels[found.index == 2].tolist() == [1]


def test_a_rejected_batch_has_hard_negatives_only(scene):
    pool, rows, batch, labels = scene
    found = mine_labels(pool, rows, torch.ones(24, dtype=torch.bool), batch, -labels, size=0)
    assert set(found.labels.tolist()) <= {25}
    with pytest.raises(InputError, match="one row a sample"):
        mine_labels(pool, rows[:5], torch.ones(24, dtype=torch.bool), batch, labels)


def test_random_negatives(scene):
    pool, _, batch, _ = scene
    is_stored = torch.arange(24) != 20
    near = set(pool.neighbors[batch, :3].flatten().tolist()) | set(batch.tolist())
    found = random_negatives(pool, is_stored, batch, n_excluded=3)
    assert set(found.index.tolist()) == set(range(24)) - near - {20}
    few = [random_negatives(pool, is_stored, batch, n_excluded=3, size=4, step=step) for step in (0, 0, 1)]
    assert torch.equal(few[0].index, few[1].index)
    assert not torch.equal(few[0].index, few[2].index)
    assert len(few[0].index) == 4
    assert few[0].labels.tolist() == [25] * 4
    nothing = random_negatives(pool, torch.zeros(24, dtype=torch.bool), batch)
    assert len(nothing.index) == 0
