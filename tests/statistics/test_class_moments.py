"""Moments of classes: by hand, against numpy, blocks, order, merging, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.class_moments import class_moments, merged_moments


def rows_of(seed=0, n=60, d=3, k=5):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)) * 3 + 50), torch.tensor(rng.integers(0, k, n))


def assert_same(left, right, rel=1e-12):
    for mine, other in zip(left, right, strict=True):
        torch.testing.assert_close(mine.double(), other.double(), rtol=rel, atol=rel)


def test_against_numpy():
    rows, labels = rows_of()
    labels[labels == 3] = -1
    found = class_moments([(rows, labels)], 5, 3)
    for k in range(5):
        members = rows[labels == k].numpy()
        assert found.counts[k] == len(members)
        if len(members):
            np.testing.assert_allclose(found.means[k], members.mean(axis=0), rtol=1e-13)
            np.testing.assert_allclose(found.variances[k], members.var(axis=0), rtol=1e-10)
    assert not found.means[3].any()
    assert not found.variances[3].any()


@pytest.mark.parametrize("size", [1, 7, 59])
def test_blocks_and_order_change_nothing(size):
    rows, labels = rows_of()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(size))
    blocks = list(zip(rows[order].split(size), labels[order].split(size), strict=True))
    assert_same(class_moments(blocks, 5, 3), class_moments([(rows, labels)], 5, 3))


def test_a_large_offset_costs_no_precision():
    rows, labels = rows_of()
    far = class_moments(zip((rows + 1e6).split(9), labels.split(9), strict=True), 5, 3)
    torch.testing.assert_close(
        far.variances, class_moments([(rows, labels)], 5, 3).variances, rtol=1e-8, atol=0
    )


def test_relabelling_moves_the_rows():
    rows, labels = rows_of()
    names = torch.tensor([3, 0, 4, 1, 2])
    found, renamed = (class_moments([(rows, codes)], 5, 3) for codes in (labels, names[labels]))
    assert_same(found, [each[names] for each in renamed])


def test_momentum_one_is_all_rows_together_in_any_order():
    rows, labels = rows_of()
    parts = [class_moments([part], 5, 3) for part in zip(rows.split(17), labels.split(17), strict=True)]
    pooled = class_moments([(rows, labels)], 5, 3)
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        merged = parts[order[0]]
        for number in order[1:]:
            merged = merged_moments(merged, parts[number], momentum=1.0)
        assert_same(merged, pooled)


def test_momentum_by_hand():
    # One class: rows 0 and 2 (mean 1, variance 1), then 10 (mean 10, variance 0).
    first = class_moments([(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 0]))], 2, 1)
    then = class_moments([(torch.tensor([[10.0]]), torch.tensor([0]))], 2, 1)
    merged = merged_moments(first, then, momentum=0.2)  # W = max(1/3, 0.8)
    assert merged.means[0, 0].item() == pytest.approx(0.2 * 1 + 0.8 * 10)
    assert merged.variances[0, 0].item() == pytest.approx(0.2 * 1 + 0.8 * 0 + 0.8 * 0.2 * 81)
    assert merged.counts.tolist() == [3, 0]
    # The count grows: W = max(1/4, 0.2) on the next row with a long memory.
    again = merged_moments(merged, then, momentum=0.8)
    assert again.means[0, 0].item() == pytest.approx(0.75 * merged.means[0, 0].item() + 0.25 * 10)


def test_momentum_zero_forgets_and_absent_classes_stay():
    rows, labels = rows_of()
    labels[labels == 2] = 1
    first = class_moments([(rows, labels)], 5, 3)
    block = (rows[:9] * 2, torch.tensor([0] * 9))
    fresh = class_moments([block], 5, 3)
    merged = merged_moments(first, fresh, momentum=0.0)
    torch.testing.assert_close(merged.means[0], fresh.means[0])
    assert torch.equal(merged.means[1:], first.means[1:])
    assert torch.equal(merged.variances[1:], first.variances[1:])
    assert torch.equal(merged.counts[1:], first.counts[1:])


def test_half_precision_is_summed_in_float64():
    rows = torch.full((5000, 1), 0.1, dtype=torch.float16)
    found = class_moments([(rows, torch.zeros(5000, dtype=torch.int64))], 1, 1)
    assert found.means.dtype == torch.float64
    assert found.means.item() == pytest.approx(float(rows[0]), rel=1e-12)


def test_edges():
    nothing = class_moments([], 2, 3)
    assert nothing.counts.tolist() == [0, 0]
    left_out = class_moments([(torch.full((2, 3), torch.nan), torch.tensor([-1, -1]))], 2, 3)
    assert_same(left_out, nothing)
    single = class_moments([(torch.ones(1, 3), torch.tensor([1]))], 2, 3)
    assert not single.variances.any()
    with pytest.raises(InputError, match="row 1 of a block holds NaN"):
        class_moments([(torch.tensor([[1.0], [torch.inf]]), torch.tensor([0, 0]))], 2, 1)
    with pytest.raises(InputError, match="labels row 0 is 2"):
        class_moments([(torch.ones(1, 3), torch.tensor([2]))], 2, 3)
    with pytest.raises(InputError, match=r"expected floats of shape \(n, 3\)"):
        class_moments([(torch.ones(1, 2), torch.tensor([1]))], 2, 3)
    with pytest.raises(InputError, match="n_classes is 0"):
        class_moments([], 0, 3)
    with pytest.raises(InputError, match="both must be made for the same"):
        merged_moments(nothing, class_moments([], 2, 2))
    with pytest.raises(InputError, match="momentum is 2"):
        merged_moments(nothing, nothing, momentum=2.0)
