"""The blocked neighbour search against exact integer arithmetic, scikit-learn and itself in other blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from tamis.errors import InputError
from tamis.neighbors import candidates, nearest_neighbors


def random_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def integer_search(queries, reference, k, *, forbidden, keys):
    """Slow reference: similarities as whole numbers, so ties are ties and every order is exact."""

    def grid(rows):
        unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        return [[int(v) for v in row] for row in np.rint(unit * 2**24)]

    left, right = grid(queries), grid(reference)
    indices = np.full((len(left), k), -1)
    similarities = np.full((len(left), k), -np.inf)
    for i, row in enumerate(left):
        legal = [j for j in range(len(right)) if not forbidden(i, j)]
        dots = {j: sum(a * b for a, b in zip(row, right[j], strict=True)) for j in legal}
        best = sorted(legal, key=lambda j: (-dots[j], keys[j], j))[:k]
        indices[i, : len(best)] = best
        similarities[i, : len(best)] = [min(1.0, dots[j] / 2**48) for j in best]
    return indices, similarities


def assert_same(found, other) -> None:
    np.testing.assert_array_equal(found.indices, other.indices)
    np.testing.assert_array_equal(found.similarities, other.similarities)


def test_by_hand():
    rows = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 0.5], [-1.0, 0.0]])
    found = nearest_neighbors(rows, k=2)
    np.testing.assert_array_equal(found.indices, [[1, 2], [2, 0], [1, 0], [2, 1]])
    np.testing.assert_allclose(
        found.similarities, [[0.6, 0.0], [0.8, 0.6], [0.8, 0.0], [0.0, -0.6]], atol=1e-7
    )
    assert found.indices.dtype == np.int64
    assert found.similarities.dtype == np.float32


def test_self_is_excluded_by_index_not_by_distance():
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [5.0, -1.0]])
    np.testing.assert_array_equal(nearest_neighbors(rows, k=1).indices[:, 0], [1, 0, 0])
    np.testing.assert_array_equal(nearest_neighbors(rows, k=1, exclude_self=False).indices[:, 0], [0, 0, 2])


@given(st.data())
def test_equals_integer_arithmetic_with_ties_and_groups(data):
    n, d, k = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    # Few distinct directions: most similarities are tied with many others.
    rows = rng.integers(-1, 2, size=(n, d)).astype(np.float64)
    rows[~rows.any(axis=1)] = 1.0
    groups = rng.integers(-1, 4, size=n)
    keys = rng.permutation(n).astype(np.uint64)
    expected = integer_search(
        rows,
        rows,
        k,
        forbidden=lambda i, j: i == j or (groups[i] >= 0 and groups[i] == groups[j]),
        keys=keys,
    )
    for precision in ("float32", "bfloat16"):
        found = nearest_neighbors(rows, k=k, query_groups=groups, tie_keys=keys, precision=precision)
        np.testing.assert_array_equal(found.indices, expected[0])
        np.testing.assert_allclose(found.similarities, expected[1], atol=1e-7)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_agrees_with_scikit_learn(precision):
    rows, queries = random_rows(700, 24), random_rows(90, 24, seed=1)
    found = nearest_neighbors(queries, rows, k=9, precision=precision)
    distances, indices = (
        NearestNeighbors(n_neighbors=9, metric="cosine", algorithm="brute").fit(rows).kneighbors(queries)
    )
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=3e-7)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("copies", [1, 60])
def test_block_size_and_threads_do_not_matter(precision, copies):
    # 60 copies of each row: no margin of candidates can hold a whole tie.
    rows = np.repeat(random_rows(1200 // copies, 100), copies, axis=0).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        whole = nearest_neighbors(rows, k=7)
        assert_same(nearest_neighbors(rows, k=7, memory_budget="1MiB", precision=precision), whole)
        torch.set_num_threads(1)
        assert_same(nearest_neighbors(rows, k=7, memory_budget="3MiB", precision=precision), whole)
    finally:
        torch.set_num_threads(before)


def test_row_order_does_not_matter():
    rows = np.repeat(random_rows(150, 16), 3, axis=0)
    rng = np.random.default_rng(5)
    keys, order = rng.integers(0, 2**63, size=(450, 2)).astype(np.uint64), rng.permutation(450)
    keys[:, 0] //= 2**61  # the second column must decide most ties
    plain = nearest_neighbors(rows, k=6, tie_keys=keys)
    shuffled = nearest_neighbors(rows[order], k=6, tie_keys=keys[order], memory_budget="1MiB")
    np.testing.assert_array_equal(order[shuffled.indices], plain.indices[order])
    np.testing.assert_array_equal(shuffled.similarities, plain.similarities[order])


def test_memory_mapped_half_floats_and_tensors_equal_arrays(tmp_path):
    rows = random_rows(400, 40).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    plain = nearest_neighbors(rows, k=5)
    assert_same(nearest_neighbors(mapped, k=5, memory_budget="1MiB"), plain)
    assert_same(nearest_neighbors(torch.from_numpy(rows), k=5), plain)
    assert_same(nearest_neighbors(rows.astype(np.float64) * 1e200, k=5), plain)


def test_reference_rows_equal_a_search_among_them():
    rows = random_rows(300, 12)
    chosen = np.random.default_rng(2).permutation(300)[:80]
    found = nearest_neighbors(rows, k=4, reference_rows=chosen)
    # One group a row: no row is its own neighbour, which is what the index does.
    groups = np.arange(300)
    other = nearest_neighbors(rows, rows[chosen], k=4, query_groups=groups, reference_groups=groups[chosen])
    np.testing.assert_array_equal(found.indices, chosen[other.indices])
    np.testing.assert_array_equal(found.similarities, other.similarities)
    assert not (found.indices == np.arange(300)[:, None]).any()
    assert set(found.indices.ravel()) <= set(chosen)


def test_groups_of_reference_rows_come_from_the_queries():
    rows = np.repeat(random_rows(40, 8), 2, axis=0)
    groups = np.repeat(np.arange(40), 2)
    found = nearest_neighbors(rows, k=3, reference_rows=np.arange(0, 80, 2), query_groups=groups)
    assert (groups[found.indices] != groups[:, None]).all()


def test_too_few_neighbours_are_marked():
    rows = random_rows(5, 4)
    found = nearest_neighbors(rows, k=6, query_groups=np.array([0, 0, 0, 0, -1]))
    np.testing.assert_array_equal(found.indices[0], [4, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(np.sort(found.indices[4]), [-1, -1, 0, 1, 2, 3])
    assert (np.isneginf(found.similarities) == (found.indices < 0)).all()


def test_zero_rows_are_refused_or_left_alone():
    rows = random_rows(30, 4)
    rows[[3, 7]] = 0.0
    with pytest.raises(InputError, match=r"queries row 3 is all zeros.*allow_zero"):
        nearest_neighbors(rows, k=2)
    found = nearest_neighbors(rows, k=2, allow_zero=True)
    assert (found.indices[[3, 7]] == -1).all()
    assert not np.isin(found.indices, [3, 7]).any()
    kept = np.setdiff1d(np.arange(30), [3, 7])
    plain = nearest_neighbors(rows[kept], k=2)
    np.testing.assert_array_equal(found.indices[kept], kept[plain.indices])


def test_empty_and_single_inputs():
    assert nearest_neighbors(np.empty((0, 3)), k=2).indices.shape == (0, 2)
    assert (nearest_neighbors(np.ones((1, 3)), k=2).indices == -1).all()
    assert (nearest_neighbors(np.ones((4, 3)), np.empty((0, 3)), k=2).indices == -1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    rows = random_rows(9000, 3)
    rows[8123, 1] = bad
    with pytest.raises(InputError, match=r"queries row 8123 holds NaN or infinity"):
        nearest_neighbors(rows, k=1)
    with pytest.raises(InputError, match=r"reference row 8123"):
        nearest_neighbors(rows[:5], rows, k=1)
    with pytest.raises(InputError, match=r"queries row 8123"):
        nearest_neighbors(rows, k=1, reference_rows=np.arange(8100, 8200))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"k": 1, "queries": np.ones(4)}, r"shape \(4,\)"),
        ({"k": 1, "queries": np.ones((4, 0))}, r"shape \(4, 0\)"),
        ({"k": 1, "queries": np.ones((4, 2), dtype=complex)}, "complex128"),
        ({"k": 1, "queries": [[1.0, 2.0]]}, "queries is a list"),
        ({"k": 1, "reference": np.ones((4, 3))}, "2 columns but reference has 3"),
        ({"k": 1, "reference_rows": np.array([0, 9])}, "runs from 0 to 9"),
        ({"k": 1, "reference_rows": np.array([0, 0])}, "names a row twice"),
        ({"k": 1, "reference_rows": np.array([0.5])}, "float64"),
        ({"k": 1, "reference": np.ones((4, 2)), "reference_rows": np.array([0])}, "not both"),
        ({"k": 1, "query_groups": np.zeros(3, dtype=int)}, r"query_groups has shape \(3,\)"),
        ({"k": 1, "reference_groups": np.zeros(4, dtype=int)}, "groups are incomplete"),
        (
            {"k": 1, "reference": np.ones((4, 2)), "query_groups": np.zeros(4, dtype=int)},
            "groups are incomplete",
        ),
        ({"k": 1, "tie_keys": np.zeros(4)}, r"tie_keys has shape \(4,\) and dtype float64"),
        ({"k": 1, "precision": "float16"}, "precision is 'float16'"),
        ({"k": 1, "memory_budget": "many"}, "memory_budget"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    queries = arguments.pop("queries", np.ones((4, 2)))
    with pytest.raises(InputError, match=message):
        nearest_neighbors(queries, arguments.pop("reference", None), **arguments)


def test_a_backend_less_precise_than_promised_is_noticed(monkeypatch):
    rows = random_rows(600, 32)
    honest = nearest_neighbors(rows, k=5, precision="float32")
    plain_mm = torch.mm

    def rough_mm(left, right, out=None):
        product = plain_mm(left, right)
        if product.dtype == torch.float32:
            noise = torch.sin(torch.arange(product.numel(), dtype=torch.float32).view_as(product))
            product = product + 0.05 * noise
        return product if out is None else out.copy_(product)

    monkeypatch.setattr(torch, "mm", rough_mm)
    assert_same(nearest_neighbors(rows, k=5, precision="float32"), honest)


def test_candidates_beyond_the_margin_are_not_needed_on_ordinary_data():
    rows = torch.from_numpy(random_rows(2000, 64)).float()
    rows = torch.nn.functional.normalize(rows, dim=1)
    values, columns = candidates._best_columns(rows[:50] @ rows[:1984].T, 12)
    expected = (rows[:50] @ rows[:1984].T).topk(12, dim=1)
    np.testing.assert_array_equal(columns.sort(dim=1).values, expected.indices.sort(dim=1).values)
    np.testing.assert_array_equal(values.sort(dim=1).values, expected.values.sort(dim=1).values)


@pytest.mark.slow
@pytest.mark.shared
def test_real_features_are_the_same_in_both_precisions(shared):
    with np.load(shared / "data" / "cifar10_features_efflite0.npz", allow_pickle=False) as stored:
        rows = stored["train"][:20_000]
    fast = nearest_neighbors(rows, k=20, precision="bfloat16")
    assert_same(fast, nearest_neighbors(rows, k=20, precision="float32", memory_budget="64MiB"))
    few = NearestNeighbors(n_neighbors=21, metric="cosine", algorithm="brute").fit(rows.astype(np.float64))
    distances, indices = few.kneighbors(rows[:500].astype(np.float64))
    np.testing.assert_allclose(fast.similarities[:500], 1 - distances[:, 1:], atol=1e-6)
    assert (fast.indices[:500] == indices[:, 1:]).mean() > 0.999
