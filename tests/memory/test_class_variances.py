"""Class variances as a module: passes, correction, state, noisy members."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.memory import ClassVariances
from tamis.statistics.class_moments import class_moments, merged_moments
from tamis.statistics.neighbor_variances import NeighborCorrection, corrected_variances


def rows_of(seed=0, n=80, d=3, k=6):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.integers(0, k, n))


def test_passes_are_merged_with_the_momentum():
    passes = [rows_of(seed) for seed in range(3)]
    spread = ClassVariances(6, 3, momentum=0.8, dtype=torch.float64)
    expected = class_moments([], 6, 3)
    for rows, labels in passes:
        spread.update(zip(rows.split(7), labels.split(7), strict=True))
        expected = merged_moments(expected, class_moments([(rows, labels)], 6, 3), 0.8)
    torch.testing.assert_close(spread.means, expected.means)
    torch.testing.assert_close(spread.variances, expected.variances)
    assert torch.equal(spread.counts, expected.counts)
    assert spread.corrected is None
    assert spread.effective is spread.variances


def test_the_correction_is_applied_to_what_is_used():
    rows, labels = rows_of()
    rule = NeighborCorrection(n_neighbors=2)
    spread = ClassVariances(6, 3, correction=rule)
    spread.update([(rows, labels)])
    expected = corrected_variances(class_moments([(rows, labels)], 6, 3), rule).corrected
    torch.testing.assert_close(spread.effective, expected.float())
    assert not torch.equal(spread.effective, spread.variances)


def test_state_is_complete():
    spread = ClassVariances(6, 3, correction=NeighborCorrection(), momentum=0.8)
    spread.update([rows_of(0)])
    restored = ClassVariances(6, 3, correction=NeighborCorrection(), momentum=0.8)
    restored.load_state_dict(spread.state_dict())
    for each in (spread, restored):
        each.update([rows_of(1)])
    for name, value in spread.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name
    assert all(value.shape[0] == 6 for value in spread.state_dict().values())


def test_a_refused_pass_changes_nothing():
    spread = ClassVariances(6, 3)
    spread.update([rows_of()])
    before = {name: value.clone() for name, value in spread.state_dict().items()}
    rows, labels = rows_of(1)
    with pytest.raises(InputError, match="row 0 of a block holds NaN"):
        spread.update([(rows, labels), (rows * torch.nan, labels)])
    assert all(torch.equal(value, before[name]) for name, value in spread.state_dict().items())


def test_no_gradient_is_kept():
    rows, labels = rows_of()
    spread = ClassVariances(6, 3)
    spread.update([(rows.requires_grad_(), labels)])
    assert not spread.effective.requires_grad


def test_strangers_inflate_a_class_and_leaving_them_out_mends_it():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 40)
    rows = torch.tensor(rng.normal(size=(80, 2)) + 6.0 * truth[:, None])
    is_wrong = np.arange(80) % 8 == 0
    given = torch.tensor(np.where(is_wrong, 1 - truth, truth))
    noisy, filtered = ClassVariances(2, 2), ClassVariances(2, 2)
    noisy.update([(rows, given)])
    filtered.update([(rows, given.masked_fill(torch.tensor(is_wrong), -1))])
    assert (noisy.effective > 3 * filtered.effective).all()
    assert filtered.effective.mean().item() == pytest.approx(1.0, abs=0.25)


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="momentum is -1"):
        ClassVariances(2, 2, momentum=-1)
    with pytest.raises(InputError, match="n_features is 0"):
        ClassVariances(2, 0)
