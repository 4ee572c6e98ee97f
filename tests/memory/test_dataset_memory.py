"""A place for every sample: overwriting, rows without direction, state."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import InputError
from tamis.memory.dataset_memory import DatasetMemory

ROWS = torch.tensor([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0]])


def test_stores_unit_rows_and_overwrites():
    memory = DatasetMemory(5, 2)
    memory.store(torch.tensor([4, 0, 2]), ROWS, 2 * ROWS)
    torch.testing.assert_close(memory.features[4], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(memory.plain, memory.features)
    assert memory.is_stored.tolist() == [True, False, True, False, True]
    memory.store(torch.tensor([4]), ROWS[1:2], ROWS[2:])
    assert memory.features[4].tolist() == [0.0, 1.0]
    assert memory.plain[4].tolist() == [-1.0, 0.0]
    assert len(memory) == 3


def test_of_a_repeated_sample_the_last_row_stays():
    memory = DatasetMemory(3, 2, has_plain=False)
    memory.store(torch.tensor([1, 1, 1]), ROWS)
    assert memory.features[1].tolist() == [-1.0, 0.0]


def test_rows_without_direction_leave_what_was_there():
    memory = DatasetMemory(3, 2, has_plain=False)
    memory.store(torch.tensor([0, 1]), ROWS[:2])
    before = memory.features.clone()
    memory.store(torch.tensor([0, 2]), torch.tensor([[0.0, 0.0], [float("nan"), 1.0]]))
    assert torch.equal(memory.features, before)
    assert memory.is_stored.tolist() == [True, True, False]


def test_state_is_complete_and_no_gradient_is_kept():
    memory = DatasetMemory(4, 2, dtype=torch.float64)
    memory.store(torch.tensor([1, 3]), ROWS[:2].half().requires_grad_(), ROWS[:2])
    assert not memory.features.requires_grad
    other = DatasetMemory(4, 2, dtype=torch.float64)
    other.load_state_dict(memory.state_dict())
    for name, value in memory.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    memory.store(torch.empty(0, dtype=torch.int64), torch.empty(0, 2), torch.empty(0, 2))
    assert len(memory) == 2


def test_refusals():
    memory = DatasetMemory(3, 2, has_plain=False)
    with pytest.raises(InputError, match="0 to 2"):
        memory.store(torch.tensor([3]), ROWS[:1])
    with pytest.raises(InputError, match="do not fit"):
        memory.store(torch.tensor([0]), ROWS)
    with pytest.raises(InputError, match="has_plain"):
        memory.store(torch.tensor([0]), ROWS[:1], ROWS[:1])
    with pytest.raises(InputError, match="n_samples is 0"):
        DatasetMemory(0, 2)
