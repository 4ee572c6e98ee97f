"""The memory of embeddings: first in, first out, and its sums those of what it holds."""

from __future__ import annotations

import math
from collections import deque

import pytest
import torch

from tamis.errors import InputError
from tamis.memory import EmbeddingMemory

D, C = 6, 4


def batch(n, seed=0, d=D, c=C, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=dtype), torch.randint(0, c, (n,), generator=generator)


def check_sums(memory, tolerance):
    """Sums, counts, lengths and low copy are those of the rows held, computed in plain loops."""
    embeddings, labels = memory.rows
    for k in range(memory.n_classes):
        members = embeddings[labels == k].double()
        assert int(memory.counts[k]) == len(members)
        torch.testing.assert_close(memory.sums[k].double(), members.sum(0), rtol=0, atol=tolerance)
        if not len(members):
            assert not memory.sums[k].any()
            assert memory.lengths[k] == 0
    torch.testing.assert_close(memory.lengths, memory.sums.norm(dim=1), rtol=1e-5, atol=tolerance)
    if memory._is_low:
        assert torch.equal(memory.low_sums, memory.sums.to(memory.low_sums.dtype))


class TestFirstInFirstOut:
    def test_by_hand(self):
        memory = EmbeddingMemory(3, 2, 2)
        memory.enqueue(torch.tensor([[3.0, 4.0], [0.0, -2.0]]), torch.tensor([1, 0]), torch.tensor([7, 8]))
        assert memory.rows.labels.tolist() == [1, 0]
        torch.testing.assert_close(memory.rows.embeddings, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
        assert memory.index.tolist() == [7, 8, -1]
        memory.enqueue(torch.tensor([[5.0, 0.0], [0.0, 5.0]]), torch.tensor([1, 1]))
        assert memory.rows.labels.tolist() == [1, 0, 1]  # slot 0 was overwritten: the oldest
        torch.testing.assert_close(memory.sums, torch.tensor([[0.0, -1.0], [1.0, 1.0]]))
        assert memory.counts.tolist() == [1, 2]
        assert memory.index.tolist() == [-1, 8, -1]
        memory.reset()
        assert memory.rows.labels.tolist() == []
        assert memory.index.tolist() == [-1, -1, -1]
        assert not any(buffer.any() for buffer in (memory.sums, memory.counts, memory.lengths))

    @pytest.mark.parametrize("sizes", [(3,) * 9, (1, 5, 7, 2, 8, 3), (20, 4, 7, 30), (0, 7, 0, 7)])
    @pytest.mark.parametrize("n_classes", [C, None])
    def test_against_a_deque(self, sizes, n_classes):
        memory, held = EmbeddingMemory(7, D, n_classes), deque(maxlen=7)
        for step, n in enumerate(sizes):
            rows, labels = batch(n, step)
            memory.enqueue(rows, labels, 100 * step + torch.arange(n))
            held.extend(
                (100 * step + i, *row) for i, row in enumerate((rows / rows.norm(dim=1)[:, None]).tolist())
            )
            m = int(memory.n_rows)
            assert m == len(held)
            got = torch.cat([memory.index[:m, None].double(), memory.rows.embeddings.double()], 1)
            got = got[got[:, 0].argsort()]
            wanted = torch.tensor(list(held), dtype=torch.float64).reshape(m, D + 1)
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
            if n_classes:
                check_sums(memory, 1e-5)

    def test_rows_carry_no_gradient(self):
        memory = EmbeddingMemory(8, D, C)
        rows, labels = batch(4)
        rows.requires_grad_()
        memory.enqueue(2 * rows, labels)
        assert not memory.rows.embeddings.requires_grad
        assert not memory.sums.requires_grad


class TestRunningSums:
    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-5), (torch.float16, 1e-5)],
    )
    def test_equal_those_of_the_bank(self, dtype, tolerance):
        memory = EmbeddingMemory(50, D, C, dtype=dtype, product_dtype=torch.bfloat16, recompute_every=10**6)
        for step in range(60):
            memory.enqueue(*batch(1 + step % 13, step))
        check_sums(memory, tolerance)

    def test_fresh_sums_take_drift_away(self):
        drifting = EmbeddingMemory(40, D, 2, recompute_every=10**9)
        fresh = EmbeddingMemory(40, D, 2, recompute_every=20)
        for step in range(400):
            rows, labels = batch(20, step, c=2)
            drifting.enqueue(rows, labels)
            fresh.enqueue(rows, labels)
        exact = torch.zeros(2, D, dtype=torch.float64)
        exact.index_add_(0, fresh.rows.labels, fresh.rows.embeddings.double())
        errors = [(each.sums.double() - exact).abs().max() for each in (drifting, fresh)]
        assert errors[1] <= 1e-6
        assert errors[0] <= 1e-4
        drifting.recompute()
        assert torch.equal(drifting.sums, fresh.sums)

    def test_a_class_that_leaves_leaves_nothing(self):
        memory = EmbeddingMemory(4, D, 3, recompute_every=10**9)
        memory.enqueue(batch(4, 1)[0], torch.tensor([2, 2, 2, 2]))
        memory.enqueue(batch(4, 2)[0], torch.tensor([0, 1, 0, 1]))
        assert not memory.sums[2].any()
        assert memory.counts.tolist() == [2, 2, 0]

    def test_products(self):
        rows, labels = batch(64, 1)
        units = rows / rows.norm(dim=1, keepdim=True)
        plain, low = (EmbeddingMemory(64, D, C, product_dtype=each) for each in (None, torch.bfloat16))
        for memory in (plain, low):
            memory.enqueue(rows, labels)
        exact = units @ plain.sums.T
        assert torch.equal(plain.class_products(units, labels), exact)
        got = low.class_products(units, labels)
        own = torch.arange(64), labels
        torch.testing.assert_close(got[own], exact[own], rtol=0, atol=1e-5)
        assert 0 < (got - exact).abs().max() < 0.01 * plain.lengths.max()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(plain.class_products(units, labels), exact)


class TestState:
    def test_a_resumed_memory_is_the_same(self):
        memory = EmbeddingMemory(23, D, C, product_dtype=torch.bfloat16)
        for step in range(7):
            memory.enqueue(*batch(9, step))
        other = EmbeddingMemory(23, D, C, product_dtype=torch.bfloat16)
        other.load_state_dict({name: each.clone() for name, each in memory.state_dict().items()})
        for step in range(7, 20):
            memory.enqueue(*batch(9, step))
            other.enqueue(*batch(9, step))
        for name, value in memory.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name

    def test_shapes_never_change(self):
        memory = EmbeddingMemory(5, D, C)
        before = {name: (each.shape, each.dtype) for name, each in memory.state_dict().items()}
        memory.enqueue(*batch(9))
        assert {name: (each.shape, each.dtype) for name, each in memory.state_dict().items()} == before
        assert "size=5" in repr(memory)


class TestEdges:
    def test_zero_and_undefined_rows(self):
        memory = EmbeddingMemory(8, 2, 2)
        rows = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [0.0, 1e30], [1e-42, 0.0]])
        memory.enqueue(rows, torch.tensor([0, 0, 1, 1, 1]), torch.arange(5))
        assert memory.index[:3].tolist() == [0, 3, 4]
        assert memory.rows.embeddings[0].tolist() == [0.0, 0.0]
        torch.testing.assert_close(memory.sums, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        assert memory.counts.tolist() == [1, 2]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtype_of_the_batch(self, dtype):
        memory = EmbeddingMemory(8, D, C)
        rows, labels = batch(5)
        memory.enqueue(rows.to(dtype), labels)
        assert memory.rows.embeddings.dtype == memory.sums.dtype == torch.float32
        expected = rows.to(dtype).float()
        expected /= expected.norm(dim=1, keepdim=True)
        torch.testing.assert_close(memory.rows.embeddings, expected)

    def test_empty_batch(self):
        memory = EmbeddingMemory(8, D, C)
        memory.enqueue(torch.zeros(0, D), torch.zeros(0, dtype=torch.int64))
        assert int(memory.n_rows) == 0

    def test_without_classes_any_label(self):
        memory = EmbeddingMemory(8, D)
        memory.enqueue(batch(2)[0], torch.tensor([-5, 10**12]))
        assert memory.rows.labels.tolist() == [-5, 10**12]
        with pytest.raises(InputError, match="n_classes is None"):
            memory.class_products(torch.zeros(1, D), torch.tensor([0]))
        memory.recompute()

    @pytest.mark.parametrize(
        ("rows", "labels", "index", "message"),
        [
            (torch.zeros(2, D), torch.tensor([0, C]), None, f"labels row 1 is {C}; legal are 0 to 3"),
            (torch.zeros(2, D), torch.tensor([-1, 0]), None, "labels row 0 is -1"),
            (torch.zeros(2, D), torch.tensor([0]), None, "labels has shape"),
            (torch.zeros(2, 3), torch.tensor([0, 1]), None, r"embeddings has shape \(2, 3\)"),
            (torch.zeros(2, D, dtype=torch.int64), torch.tensor([0, 1]), None, "dtype torch.int64"),
            (torch.zeros(2, D), torch.tensor([0, 1]), torch.tensor([0]), "index has shape"),
        ],
    )
    def test_refusals_change_nothing(self, rows, labels, index, message):
        memory = EmbeddingMemory(8, D, C)
        with pytest.raises(InputError, match=message):
            memory.enqueue(rows, labels, index)
        assert int(memory.n_rows) == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"size": 0}, "size is 0"),
            ({"embedding_size": 0}, "embedding_size is 0"),
            ({"n_classes": 0}, "n_classes is 0"),
            ({"recompute_every": 0}, "recompute_every is 0"),
            ({"dtype": torch.int8}, "dtype is torch.int8"),
            ({"product_dtype": torch.float32}, "product_dtype is torch.float32"),
        ],
    )
    def test_wrong_parameters(self, arguments, message):
        with pytest.raises(InputError, match=message):
            EmbeddingMemory(**{"size": 4, "embedding_size": 4, "n_classes": 2} | arguments)


def test_in_a_loop_of_pytorch_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    memory, loss = EmbeddingMemory(32, D), losses.ContrastiveLoss()
    for step in range(3):
        rows, labels = batch(8, step)
        rows.requires_grad_()
        ref_emb, ref_labels = memory.rows
        value = loss(rows, labels)
        if len(ref_labels):
            value = value + loss(rows, labels, ref_emb=ref_emb, ref_labels=ref_labels)
        value.backward()
        assert torch.isfinite(rows.grad).all()
        memory.enqueue(rows, labels)
    assert int(memory.n_rows) == 24
