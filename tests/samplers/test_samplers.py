"""Orders of training: what each holds, what it may depend on, against slow references, at size."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tamis.errors import InputError
from tamis.samplers import class_balanced, class_capped, cycled, m_per_class, shuffled
from tamis.statistics.counter_draws import repeated_words, sample_words, step_generator

LABELS = np.array([0] * 7 + [1] * 3 + [2] * 5 + [-1] * 4)


def test_draws_are_those_of_the_counter():
    whole = sample_words(np.arange(100), 5, 2, "name")
    np.testing.assert_array_equal(sample_words(np.array([70, 3, 70]), 5, 2, "name"), whole[[70, 3, 70]])
    raw = step_generator(5, 2, "name").bit_generator.random_raw(100)
    np.testing.assert_array_equal(whole, raw)
    others = [
        sample_words(np.arange(100), 6, 2, "name"),
        sample_words(np.arange(100), 5, 3, "name"),
        sample_words(np.arange(100), 5, 2, "other"),
        sample_words(np.arange(100), 5, 2, "name", cycle=1),
    ]
    assert len(np.unique(np.concatenate([whole, *others]))) == 500
    assert sample_words(np.empty(0, dtype=np.int64), 5, 2, "name").shape == (0,)


def test_repeated_words_against_a_loop():
    def split_mix(state, number):
        word = (state + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = ((word ^ (word >> shift)) * factor) % 2**64
        return word ^ (word >> 31)

    words = sample_words(np.arange(9), 0, 0, "name")
    found = repeated_words(words[:, None], np.arange(4)[None, :])
    assert found.tolist() == [[split_mix(word, number) for number in range(4)] for word in words.tolist()]


@pytest.mark.parametrize(
    ("seed", "epoch", "cycle", "name"),
    [
        (-1, 0, 0, "seed"),
        (0, -1, 0, "epoch"),
        (0, 0, -1, "cycle"),
        (0.5, 0, 0, "seed"),
        (0, True, 0, "epoch"),
        (2**64, 0, 0, "seed"),
    ],
)
def test_illegal_seeds_and_epochs(seed, epoch, cycle, name):
    for draw in (
        lambda: shuffled([1, 2], seed, epoch, cycle=cycle),
        lambda: class_balanced([0, 1], None, seed, epoch, cycle=cycle),
        lambda: class_capped([0, 1], 1, seed, epoch, cycle=cycle),
    ):
        with pytest.raises(InputError, match=name):
            draw()


def test_a_shuffle_is_a_permutation_that_differs_by_epoch_seed_and_cycle():
    rows = np.arange(5, 45)
    orders = [
        shuffled(rows, *key, cycle=cycle)
        for key, cycle in (((0, 0), 0), ((0, 1), 0), ((1, 0), 0), ((0, 0), 1))
    ]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), rows)
    assert len({tuple(order) for order in orders}) == 4
    np.testing.assert_array_equal(shuffled(rows, 0, 0), orders[0])


def test_a_shuffle_of_some_is_the_shuffle_of_all_without_the_others():
    whole = shuffled(np.arange(100), 3, 4)
    some = np.array([90, 4, 33, 8, 51])
    np.testing.assert_array_equal(shuffled(some, 3, 4), whole[np.isin(whole, some)])
    np.testing.assert_array_equal(shuffled(some[::-1], 3, 4), shuffled(some, 3, 4))
    # More samples behind change nothing.
    longer = shuffled(np.arange(150), 3, 4)
    np.testing.assert_array_equal(longer[longer < 100], whole)


def test_hidden_generators_have_no_part():
    first = shuffled(np.arange(20), 0, 0), class_balanced(LABELS, None, 0, 0)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not matter
    torch.manual_seed(1)
    second = shuffled(np.arange(20), 0, 0), class_balanced(LABELS, None, 0, 0)
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before, after)


def test_places_are_uniform():
    places = np.zeros((6, 6))
    for epoch in range(3000):
        places[shuffled(np.arange(6), 0, epoch), np.arange(6)] += 1
    # 36 cells of 500 expected: chi-squared of 25 degrees of freedom stays below 60 but once in 10,000.
    assert ((places - 500) ** 2 / 500).sum() < 60


@pytest.mark.parametrize(
    "indices",
    [[[1]], [0.5], [True, False], [-1, 2], 3, ["a"]],
    ids=["2d", "float", "mask", "negative", "0d", "str"],
)
def test_indices_that_are_none(indices):
    with pytest.raises(InputError, match="indices"):
        shuffled(indices, 0, 0)


def test_empty_selections_give_empty_orders():
    none = np.zeros(len(LABELS), dtype=bool)
    for order in (
        shuffled([], 0, 0),
        class_balanced(LABELS, none, 0, 0),
        class_balanced([], None, 0, 0),
        class_capped(LABELS, 3, 0, 0, selected=none),
        cycled(lambda cycle: shuffled([], 0, 0), 0),
    ):
        assert order.shape == (0,)
        assert order.dtype == np.int64


def test_passes_are_strung_together():
    order = cycled(lambda cycle: shuffled([3, 5, 8], 0, 0, cycle=cycle), 8)
    for cycle in (0, 1, 2):
        part = order[3 * cycle : 3 * cycle + 3]
        np.testing.assert_array_equal(part, shuffled([3, 5, 8], 0, 0, cycle=cycle)[: len(part)])
    assert len(cycled(lambda cycle: np.arange(10), 4)) == 4
    with pytest.raises(InputError, match="no samples to fill 2"):
        cycled(lambda cycle: shuffled([], 0, 0), 2)
    with pytest.raises(InputError, match="length is -1"):
        cycled(lambda cycle: shuffled([1], 0, 0), -1)


@pytest.mark.parametrize("epoch", range(5))
def test_every_class_is_drawn_as_often_as_the_largest(epoch):
    order = class_balanced(LABELS, None, 0, epoch)
    np.testing.assert_array_equal(np.bincount(LABELS[order]), [7, 7, 7])
    times = np.bincount(order, minlength=len(LABELS))
    np.testing.assert_array_equal(times[:7], 1)
    # 7 draws of 3 samples: whole twice, and one of them once more; of 5: whole once, and two more.
    assert sorted(times[7:10]) == [2, 2, 3]
    assert sorted(times[10:15]) == [1, 1, 1, 2, 2]
    assert (times[15:] == 0).all()


def test_balanced_draws_of_a_selection_with_a_missing_class():
    selected = np.isin(np.arange(19), [0, 1, 2, 10, 11])
    order = class_balanced(LABELS, selected, 0, 0)
    np.testing.assert_array_equal(np.bincount(LABELS[order], minlength=3), [3, 0, 3])
    assert selected[order].all()
    one = class_balanced(LABELS, LABELS == 1, 0, 0)
    np.testing.assert_array_equal(np.sort(one), [7, 8, 9])
    few = class_balanced(LABELS, None, 0, 0, per_class=2)
    np.testing.assert_array_equal(np.bincount(LABELS[few]), [2, 2, 2])
    assert len(np.unique(few)) == 6


def test_the_balanced_order_against_a_loop():
    selected = np.arange(19) != 12
    words = sample_words(np.arange(19), 3, 4, "class_balanced")
    draws, most = [], 7
    for c in range(3):
        members = sorted((i for i in range(19) if LABELS[i] == c and selected[i]), key=lambda i: words[i])
        for place, i in enumerate(members):
            times = most // len(members) + (place < most % len(members))
            draws += [(int(repeated_words(words[[i]], np.array([number]))[0]), i) for number in range(times)]
    np.testing.assert_array_equal(class_balanced(LABELS, selected, 3, 4), [i for _, i in sorted(draws)])


def test_class_codes_have_no_part():
    renamed = np.array([40, 2, 11, -1])[LABELS]
    for epoch in range(3):
        np.testing.assert_array_equal(
            class_balanced(renamed, None, 0, epoch), class_balanced(LABELS, None, 0, epoch)
        )
        np.testing.assert_array_equal(class_capped(renamed, 4, 0, epoch), class_capped(LABELS, 4, 0, epoch))
        np.testing.assert_array_equal(
            m_per_class(renamed, 2, 4, 0, epoch), m_per_class(LABELS, 2, 4, 0, epoch)
        )


def test_the_random_part_is_fair():
    times = np.zeros(len(LABELS))
    for epoch in range(2000):
        times += np.bincount(class_balanced(LABELS, None, 1, epoch), minlength=len(LABELS))
    # 7 / 3 and 7 / 5 draws an epoch; six standard errors.
    np.testing.assert_allclose(times[7:10] / 2000, 7 / 3, atol=0.07)
    np.testing.assert_allclose(times[10:15] / 2000, 7 / 5, atol=0.07)


def test_a_cap_takes_none_twice():
    order = class_capped(LABELS, 4, 0, 0)
    np.testing.assert_array_equal(np.bincount(LABELS[order]), [4, 3, 4])
    assert len(np.unique(order)) == 11
    # What comes first is not what was taken first: classes are mixed well.
    firsts = np.array([class_capped(LABELS, 2, 0, epoch)[0] for epoch in range(600)])
    share = np.bincount(LABELS[firsts], minlength=3) / 600
    np.testing.assert_allclose(share, 1 / 3, atol=0.08)


@pytest.mark.parametrize(
    ("labels", "selected", "message"),
    [
        ([[0]], None, r"labels has shape \(1, 1\)"),
        ([0.0, 1.0], None, "float64"),
        ([0, -2], None, "-1 = unlabelled"),
        ([0, 1], [0, 1], "selected has .*int64"),
        ([0, 1], [True], r"selected has shape \(1,\)"),
    ],
)
def test_labels_and_masks_that_are_none(labels, selected, message):
    with pytest.raises(InputError, match=message):
        class_balanced(labels, selected, 0, 0)
    with pytest.raises(InputError, match=message):
        class_capped(labels, 1, 0, 0, selected=selected)


def test_draws_of_a_class_are_at_least_one():
    with pytest.raises(InputError, match="per_class is 0"):
        class_capped([0, 1], 0, 0, 0)
    with pytest.raises(InputError, match="per_class is 0"):
        class_balanced([0, 1], None, 0, 0, per_class=0)


@pytest.mark.parametrize(("n_classes", "m", "batch_size"), [(7, 4, 12), (6, 2, 12), (5, 3, 3), (9, 1, 4)])
def test_batches_hold_m_of_each_class(n_classes, m, batch_size):
    random = np.random.default_rng(0)
    labels = random.integers(0, n_classes, 300)
    labels[random.random(300) < 0.1] = -1
    order = m_per_class(labels, m, batch_size, 0, 3, n_batches=40)
    assert order.shape == (40 * batch_size,)
    for batch in order.reshape(40, batch_size // m, m):
        classes = labels[batch]
        assert (classes == classes[:, :1]).all()
        assert len(np.unique(classes[:, 0])) == batch_size // m
        assert (classes >= 0).all()
        assert all(len(np.unique(group)) == m for group in batch)
    np.testing.assert_array_equal(order, m_per_class(labels, m, batch_size, 0, 3, n_batches=40))
    assert not np.array_equal(order, m_per_class(labels, m, batch_size, 0, 4, n_batches=40))


def test_small_classes_repeat_and_large_ones_go_through_all():
    labels = np.array([0] * 3 + [1] * 12 + [2])
    order = m_per_class(labels, 4, 12, 0, 0, n_batches=3).reshape(3, 3, 4)
    for batch in order:
        of_class = {labels[group[0]]: group for group in batch}
        assert sorted(np.bincount(of_class[0])) == [1, 1, 2]
        assert (of_class[2] == 15).all()
    # Three turns of four go through the twelve.
    large = order.reshape(-1)[labels[order.reshape(-1)] == 1]
    np.testing.assert_array_equal(np.sort(large), np.arange(3, 15))


def test_turns_and_samples_are_fair():
    labels = np.repeat(np.arange(5), [4, 9, 14, 30, 3])
    order = m_per_class(labels, 3, 6, 0, 0, n_batches=2000)
    turns = np.bincount(labels[order]) / 3
    # Five classes, two a batch: of each round one is left out.
    np.testing.assert_allclose(turns, 800, atol=5 * (1000 * 0.2 * 0.8) ** 0.5)
    times = np.bincount(order)
    for c in range(5):
        mean = times[labels == c].mean()
        np.testing.assert_allclose(times[labels == c], mean, atol=6 * mean**0.5)


def test_the_default_is_one_pass():
    labels = np.repeat(np.arange(5), 8)
    assert m_per_class(labels, 2, 6, 0, 0).shape == (36,)
    assert m_per_class([0, 1], 4, 8, 0, 0).shape == (8,)
    assert m_per_class(labels, 2, 6, 0, 0, n_batches=0).shape == (0,)


@pytest.mark.parametrize(
    ("m", "batch_size", "n_batches", "message"),
    [
        (0, 4, None, "m 0"),
        (3, 4, None, "batch_size is 4, m 3"),
        (4, 2, None, "batch_size is 2"),
        (1, 4, None, "takes 4 classes of 1 samples, labels has 3"),
        (2, 4, -1, "n_batches is -1"),
    ],
)
def test_batches_that_cannot_be_made(m, batch_size, n_batches, message):
    with pytest.raises(InputError, match=message):
        m_per_class(LABELS, m, batch_size, 0, 0, n_batches=n_batches)
    with pytest.raises(InputError, match="labels has 0"):
        m_per_class([-1, -1], 1, 1, 0, 0)


def test_orders_drive_a_data_loader():
    data = TensorDataset(torch.arange(19))
    order = class_balanced(torch.tensor(LABELS), None, 0, 0)
    rows = [
        row for (batch,) in DataLoader(data, batch_size=4, sampler=order.tolist()) for row in batch.tolist()
    ]
    assert rows == order.tolist()


def test_a_wrong_majority_does_not_crowd_out_a_small_class():
    """Balanced draws of a noisy, uneven set: a small class is seen as often, its own noise with it."""
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], [900, 100])
    labels = np.where(random.random(1000) < 0.1, 1 - truth, truth)
    drawn = np.concatenate([class_balanced(labels, None, 0, epoch) for epoch in range(3)])
    assert np.bincount(labels[drawn])[0] == np.bincount(labels[drawn])[1]
    right = labels == truth
    for c in (0, 1):
        np.testing.assert_allclose(
            right[drawn][labels[drawn] == c].mean(), right[labels == c].mean(), atol=0.01
        )


@pytest.mark.slow
def test_a_million_samples():
    labels = np.random.default_rng(0).integers(0, 1000, 1_000_000)
    for draw in (
        lambda: shuffled(np.arange(1_000_000), 0, 0),
        lambda: class_balanced(labels, None, 0, 0),
        lambda: m_per_class(labels, 4, 128, 0, 0),
    ):
        before = time.process_time()
        draw()
        assert time.process_time() - before < 5


def test_neighbours_in_the_order_are_unrelated_to_neighbours_in_the_data():
    order = shuffled(np.arange(20_000), 0, 0)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.03
    assert sum(b == a + 1 for a, b in pairwise(order.tolist())) < 10
