"""Open-set noise: disjoint rows, rates, exact counts, foreign rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.noise import open_set, pair_flip, replace_inputs

LABELS = np.arange(20_000) % 10
UNEQUAL = np.repeat(np.arange(10), [5, 400, 33, 71, 0, 250, 1, 99, 10, 131])


@pytest.mark.parametrize("open_labels", ["keep", "uniform"])
def test_rates_and_disjoint_rows(open_labels: str) -> None:
    noisy = open_set(LABELS, 0.2, n_foreign=5_000, closed_rate=0.1, open_labels=open_labels)
    bound = 4 * np.sqrt(0.25 / len(LABELS))
    assert abs(noisy.open_rate - 0.2) < bound
    assert abs(noisy.closed_rate - 0.1) < bound
    assert noisy.realised_rate == pytest.approx(noisy.open_rate + noisy.closed_rate)
    assert (noisy.nominal_rate, noisy.expected_rate) == (pytest.approx(0.3), pytest.approx(0.3))
    np.testing.assert_array_equal(noisy.is_wrong & ~noisy.is_open, (noisy.labels != LABELS) & ~noisy.is_open)
    np.testing.assert_array_equal(noisy.true_labels == -1, noisy.is_open)
    np.testing.assert_array_equal(noisy.replacement >= 0, noisy.is_open)
    if open_labels == "keep":
        np.testing.assert_array_equal(noisy.labels[noisy.is_open], LABELS[noisy.is_open])
    else:
        shares = np.bincount(noisy.labels[noisy.is_open], minlength=10) / noisy.is_open.sum()
        np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / noisy.is_open.sum()))
    # Of the samples kept, 0.1 / 0.8 carry the label of another class.
    np.testing.assert_allclose(noisy.transition.diagonal(), 0.875)
    np.testing.assert_allclose(noisy.realised_transition, noisy.transition, atol=4 * np.sqrt(0.25 / 1_500))


@given(rate=st.floats(0, 0.6), closed=st.floats(0, 0.4), exact=st.sampled_from(["global", "per_class"]))
def test_exact_counts(rate: float, closed: float, exact: str) -> None:
    noisy = open_set(UNEQUAL, rate, closed_rate=closed, exact=exact)
    is_closed = noisy.is_wrong & ~noisy.is_open
    if exact == "global":
        assert noisy.is_open.sum() == int(rate * len(UNEQUAL))
        assert is_closed.sum() == int(closed * len(UNEQUAL))
    else:
        sizes = np.bincount(UNEQUAL, minlength=10)
        assert np.bincount(UNEQUAL[noisy.is_open], minlength=10).tolist() == [int(rate * n) for n in sizes]
        assert np.bincount(UNEQUAL[is_closed], minlength=10).tolist() == [int(closed * n) for n in sizes]
    assert noisy.expected_rate == pytest.approx(noisy.realised_rate)


def test_each_foreign_row_at_most_once() -> None:
    noisy = open_set(LABELS, 0.2, n_foreign=4_200, exact="global")
    used = noisy.replacement[noisy.is_open]
    assert len(set(used)) == 4_000
    assert 0 <= used.min() <= used.max() < 4_200
    with pytest.raises(InputError, match="4000 samples are to be replaced and n_foreign is 3999"):
        open_set(LABELS, 0.2, n_foreign=3_999, exact="global")


def test_replacement_is_part_of_the_digest() -> None:
    few, many = (open_set(LABELS[:100], 0.2, n_foreign=size) for size in (50, 60))
    assert few.labels.tolist() == many.labels.tolist()
    assert few.digest != many.digest


def test_replacing_inputs() -> None:
    inputs, foreign = np.zeros((100, 2, 2), np.uint8), np.full((40, 2, 2), 0.5, np.float32)
    noisy = open_set(LABELS[:100], 0.3, n_foreign=40, exact="global")
    replaced = replace_inputs(inputs, foreign, noisy)
    np.testing.assert_array_equal(replaced[:, 0, 0] == 0.5, noisy.is_open)
    assert not inputs.any()


@pytest.mark.parametrize(
    ("inputs", "foreign", "message"),
    [
        (np.zeros((99, 2)), np.zeros((40, 2)), "for 100 labels"),
        (np.zeros((100, 2)), np.zeros((40, 3)), "of the same shape"),
        (np.zeros((100, 2)), np.zeros((5, 2)), "there are 5"),
    ],
)
def test_wrong_inputs_are_refused(inputs: np.ndarray, foreign: np.ndarray, message: str) -> None:
    noisy = open_set(LABELS[:100], 0.3, n_foreign=40, exact="global")
    with pytest.raises(InputError, match=message):
        replace_inputs(inputs, foreign, noisy)


def test_a_result_without_foreign_rows_replaces_nothing() -> None:
    with pytest.raises(InputError, match="names no foreign rows"):
        replace_inputs([0, 1], [2], pair_flip([0, 1], 0.0, 2))


def test_all_and_nothing() -> None:
    everything = open_set([0, 1], 1.0, 2)
    assert everything.is_open.all()
    assert everything.transition is None
    nothing = open_set([0, 1], 0.0, 2, n_foreign=0)
    assert not nothing.is_wrong.any()
    assert nothing.replacement.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0.7, "closed_rate": 0.4}, "sum to more than 1"),
        ({"closed_rate": -0.1}, "closed_rate must be a number"),
        ({"open_labels": "drop"}, "open_labels must be"),
        ({"n_foreign": -1}, "n_foreign must be"),
        ({"exact": "some"}, "exact must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_set([0, 1], **arguments)
