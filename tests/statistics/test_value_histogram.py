"""Streamed values: exact while few, binned beyond; blocks and merging must not matter."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.statistics.value_histogram import ValueHistogram


def draw(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.exponential(0.01, n), rng.normal(3, 1, n), [0.0, -2.0, 1e-40, 1e12]])


def test_few_values_are_kept():
    state = ValueHistogram().partial_fit([3.0, 1.0]).partial_fit([2.0])
    assert state.is_exact
    assert state.points().means.tolist() == [1.0, 2.0, 3.0]
    assert state.points().counts.tolist() == [1.0] * 3
    assert (state.count, state.minimum, state.maximum) == (3, 1.0, 3.0)


def test_bins_keep_count_mean_and_variance():
    values = draw()
    points = ValueHistogram(exact_values=0).partial_fit(values).points()
    assert len(points.means) < len(values) / 2
    assert (np.diff(points.means) >= 0).all()
    assert points.counts.sum() == len(values)
    assert points.counts @ points.means == pytest.approx(values.sum(), rel=1e-12)
    squares = points.counts @ (points.variances + points.means**2)
    assert squares == pytest.approx((values**2).sum(), rel=1e-12)


def test_a_bin_is_a_512th_of_an_octave():
    values = np.random.default_rng(0).uniform(1.0, 2.0, 20_000)
    points = ValueHistogram(exact_values=0).partial_fit(values).points()
    assert len(points.means) == 512
    expected = np.bincount(((values - 1) * 512).astype(int), values) / np.bincount(
        ((values - 1) * 512).astype(int)
    )
    np.testing.assert_allclose(points.means, expected, atol=1e-4)


def test_resolution_grows_towards_every_origin():
    values = np.concatenate([np.linspace(0, 1e-4, 999), 1 - np.linspace(0, 1e-4, 999)])
    both = ValueHistogram((0.0, 1.0), exact_values=0).partial_fit(values).points()
    one = ValueHistogram((0.0,), exact_values=0).partial_fit(values).points()
    assert (both.means > 0.5).sum() > 400 > 2 >= (one.means > 0.5).sum()
    assert both.counts @ both.means == pytest.approx(values.sum(), rel=1e-12)


@pytest.mark.parametrize("exact_values", [0, 300, 100_000])
def test_blocks_and_merging_do_not_matter(exact_values):
    values = draw(2000)
    np.random.default_rng(1).shuffle(values)

    def seen(*blocks):
        state = ValueHistogram(exact_values=exact_values)
        for block in blocks:
            state.partial_fit(block)
        return state

    pieces = np.split(values, [100, 150, 2500])
    states = [
        seen(values),
        seen(*pieces),
        seen(pieces[0]).merge(seen(pieces[1])).merge(seen(*pieces[2:])),
        seen(pieces[3]).merge(seen(pieces[1]).merge(seen(pieces[2]))).merge(seen(pieces[0])),
    ]
    first = states[0].points()
    for state in states[1:]:
        assert (state.count, state.minimum, state.maximum) == (len(values), values.min(), values.max())
        for ours, theirs in zip(state.points(), first, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_caller_may_reuse_its_array():
    block = np.array([1.0, 2.0])
    state = ValueHistogram().partial_fit(block)
    block[:] = 9.0
    assert state.points().means.tolist() == [1.0, 2.0]


def test_merging_leaves_the_other_state_alone():
    other = ValueHistogram(exact_values=2).partial_fit([1.0, 2.0])
    ValueHistogram(exact_values=2).partial_fit([3.0]).merge(other).partial_fit([4.0])
    assert other.points().means.tolist() == [1.0, 2.0]


def test_nothing_and_extremes():
    assert len(ValueHistogram().points().means) == 0
    assert ValueHistogram().partial_fit([]).count == 0
    points = ValueHistogram(exact_values=0).partial_fit([1e100, -1e100, 5e-324, 0.0]).points()
    np.testing.assert_allclose(points.means[[0, -1]], [-1e100, 1e100])


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="values row 1 is nan"):
        ValueHistogram().partial_fit([1.0, float("nan")])
    with pytest.raises(InputError, match=r"values has shape \(1, 1\)"):
        ValueHistogram().partial_fit([[1.0]])
    with pytest.raises(InputError, match="states must share them"):
        ValueHistogram((0.0,)).merge(ValueHistogram((1.0,)))
    with pytest.raises(InputError, match="origins is"):
        ValueHistogram(())
    with pytest.raises(InputError, match="exact_values is -1"):
        ValueHistogram(exact_values=-1)
