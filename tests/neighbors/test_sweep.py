"""The sweep over tiles: its bounds, its guesses, and the same answer as the search by blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.neighbors import nearest_neighbors, plan, precision
from tamis.neighbors.exact import pair_values
from tamis.neighbors.formats import Format, fitting_format
from tamis.neighbors.masks import Forbidden
from tamis.neighbors.shortlist import Shortlist, nth_largest, ragged_to_rows
from tamis.neighbors.sides import GROUP, Side, open_panel
from tamis.neighbors.sweep import Sweep, guessed_rank
from tamis.neighbors.vectors import UnitRows

PRECISIONS = ["float32", "bfloat16", "int8"]


def random_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def unit_rows(rows: np.ndarray) -> UnitRows:
    return UnitRows(rows, "rows")


def sweep_all(rows, k, form, *, forbidden=None, reference=None, tile=256, tie_rank=None):
    """Run a sweep with small tiles; rows that it leaves unproven get the index -2."""
    left = unit_rows(rows)
    right = left if reference is None else unit_rows(reference)
    if isinstance(form, str):
        form = fitting_format(form, right.take(torch.arange(len(right))))
    right_side = Side(right, torch.arange(len(right)), form)
    left_side = right_side if reference is None else Side(left, torch.arange(len(left)), form)
    if forbidden is None:
        forbidden = Forbidden(torch.arange(len(left)) if reference is None else None)
    ranks = torch.arange(len(right)) if tie_rank is None else tie_rank
    sweep = Sweep(left_side, right_side, form, forbidden, tie_rank=ranks, k=k, tile=tile)
    indices = np.full((len(rows), k), -2)
    similarities = np.zeros((len(rows), k))
    for numbers, values, columns, is_proven in sweep.run():
        if not is_proven.any():
            continue
        at = numbers[is_proven].numpy()
        indices[at] = columns[is_proven][:, :k].numpy()
        similarities[at] = values[is_proven][:, :k].clamp(-1, 1).numpy()
    assert sweep.is_trusted
    return indices, similarities


def assert_proven_rows_agree(found, expected, *, least: float) -> None:
    is_proven = found[0][:, 0] != -2
    assert is_proven.mean() >= least
    np.testing.assert_array_equal(found[0][is_proven], expected.indices[is_proven])
    np.testing.assert_array_equal(found[1][is_proven].astype(np.float32), expected.similarities[is_proven])


def test_by_hand():
    # Sixteen directions in a plane, ten degrees apart: each row's neighbours are the ones beside it.
    angles = np.deg2rad(10.0 * np.arange(16))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    indices, similarities = sweep_all(rows, 2, "float32", tile=16)
    np.testing.assert_array_equal(np.sort(indices[1:-1]), np.stack([np.arange(14), np.arange(2, 16)], axis=1))
    np.testing.assert_array_equal(indices[[0, 15]], [[1, 2], [14, 13]])
    np.testing.assert_allclose(similarities[1:-1], np.cos(np.deg2rad(10.0)), atol=1e-7)


@pytest.mark.parametrize("form", PRECISIONS)
def test_equals_the_search_by_blocks(form):
    rows = random_rows(1500, 40)
    expected = nearest_neighbors(rows, k=6)
    assert_proven_rows_agree(sweep_all(rows, 6, form), expected, least=0.98)
    queries = random_rows(150, 40, seed=1)
    expected = nearest_neighbors(queries, rows, k=6)
    assert_proven_rows_agree(sweep_all(queries, 6, form, reference=rows), expected, least=0.98)


@given(st.data())
def test_ties_groups_and_odd_sizes(data):
    n, d = data.draw(st.integers(1, 400)), data.draw(st.integers(2, 9))
    k, tile = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([16, 100, 300]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    rows = rng.integers(-2, 3, size=(n, d)).astype(np.float64)
    rows[~rows.any(axis=1)] = 1.0
    groups = rng.integers(-1, 12, size=n).astype(np.int32)
    keys = rng.permutation(n).astype(np.uint64)
    expected = nearest_neighbors(rows, k=k, query_groups=groups, tie_keys=keys)
    codes = torch.from_numpy(groups)
    found = sweep_all(
        rows,
        k,
        data.draw(st.sampled_from(PRECISIONS)),
        forbidden=Forbidden(torch.arange(n), codes, codes),
        tie_rank=torch.from_numpy(np.argsort(np.argsort(keys))),
        tile=tile,
    )
    assert_proven_rows_agree(found, expected, least=0.0)


@pytest.mark.parametrize("form", PRECISIONS)
def test_planted_near_duplicates_are_found(form):
    rng = np.random.default_rng(3)
    rows = random_rows(1200, 64)
    # Nearer to each other than any product but the exact one can tell.
    rows[1::3] = rows[::3] + 1e-6 * rng.normal(size=(400, 64))
    rows[2::3] = rows[::3] + 2e-6 * rng.normal(size=(400, 64))
    indices, _ = sweep_all(rows, 4, form)
    is_proven = indices[:, 0] != -2
    assert is_proven.mean() > 0.95
    assert (np.sort(indices[is_proven][:, :2] // 3) == (np.arange(1200)[is_proven] // 3)[:, None]).all()
    assert_proven_rows_agree((indices, _), nearest_neighbors(rows, k=4), least=0.95)


@pytest.mark.parametrize("form", PRECISIONS)
@pytest.mark.parametrize("kind", ["random", "spiky", "far from the origin", "one heavy column"])
def test_allowances_bound_every_score(form, kind):
    rows = random_rows(400, 48)
    if kind == "spiky":
        rows *= np.random.default_rng(1).random(rows.shape) < 0.05
        rows[:, 0] += 1e-3
    elif kind == "far from the origin":
        rows += 5.0
    elif kind == "one heavy column":
        rows[:, 7] *= 100.0
    unit = unit_rows(rows).block(0, 400)
    fitted = fitting_format(form, unit)
    codes, lost = fitted.encode(unit)
    scores = fitted.product(codes, codes, torch.empty((400, 400), dtype=fitted.score_dtype))
    exact = unit.double() @ unit.double().T
    allowances = fitted.allowances(lost, float(lost.max()))
    assert fitted.is_within(scores, exact, allowances.unsqueeze(1) + allowances).all()
    assert not fitted.is_within(scores, exact + 0.1, allowances.unsqueeze(1)).all()
    for similarity in (-0.2, 0.0, 0.3, 0.9999):
        limit = fitted.scores(torch.full((400, 1), similarity, dtype=torch.float64))
        spared = scores < limit - allowances.unsqueeze(1) - allowances
        assert (exact[spared] < similarity).all()
        assert spared.any() or similarity < exact.min() + 0.1
    never = fitted.scores(torch.tensor([torch.inf], dtype=torch.float64)) - 2 * allowances.max()
    assert (scores < never).all()


def test_rotation_is_used_where_it_helps():
    assert fitting_format("int8", unit_rows(random_rows(300, 64)).block(0, 300)).rotation is None
    spiky = np.eye(64)[np.arange(300) % 64] + 0.01 * random_rows(300, 64)
    turned = fitting_format("int8", unit_rows(spiky).block(0, 300))
    assert turned.rotation is not None
    plain = Format("int8", 64, turned.step)
    unit = unit_rows(spiky).block(0, 300)
    assert turned.encode(unit)[1].median() < 0.2 * plain.encode(unit)[1].median()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_allclose(turned.encode(unit)[1], turned.encode(unit)[1], atol=1e-6)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("k", [1, 2, 10, 60])
@pytest.mark.parametrize("seen", [0.01, 0.2, 0.9, 1.0])
def test_guessed_rank_keeps_its_promise(k, seen):
    rank = guessed_rank(k, seen)

    def chance(r):
        return sum(math.comb(k - 1, i) * seen**i * (1 - seen) ** (k - 1 - i) for i in range(r, k))

    assert 1 <= rank <= k
    assert chance(rank) < 3e-4 + 1e-12 or rank == k
    assert rank == 1 or chance(rank - 1) >= 3e-4 - 1e-12


def test_rows_that_see_too_few_legal_columns_are_left_over():
    rows = random_rows(900, 24)
    groups = torch.zeros(900, dtype=torch.int32)
    groups[500:] = -1
    indices, _ = sweep_all(rows, 5, "int8", forbidden=Forbidden(torch.arange(900), groups, groups))
    expected = nearest_neighbors(rows, k=5, query_groups=groups.numpy())
    is_proven = indices[:, 0] != -2
    assert is_proven[500:].mean() > 0.9
    np.testing.assert_array_equal(indices[is_proven], expected.indices[is_proven])
    same = torch.zeros(900, dtype=torch.int32)
    assert (sweep_all(rows, 5, "int8", forbidden=Forbidden(torch.arange(900), same, same))[0] == -2).all()


def test_rows_that_a_rough_product_cannot_tell_apart_are_given_up():
    # All similarities within 1e-4: int8 leaves every pair open.
    rows = np.ones((400, 16)) + 1e-2 * random_rows(400, 16)
    assert (sweep_all(rows, 3, "int8")[0] == -2).mean() > 0.9
    assert_proven_rows_agree(sweep_all(rows, 3, "float32"), nearest_neighbors(rows, k=3), least=0.9)


def test_a_product_less_precise_than_promised_is_noticed(monkeypatch):
    rows = unit_rows(random_rows(300, 16))
    form = Format("float32", 16)
    plain = torch.mm

    def rough_mm(left, right, out=None):
        product = plain(left, right)
        noise = torch.sin(torch.arange(product.numel(), dtype=torch.float32).view_as(product))
        return out.copy_(product + 0.01 * noise)

    monkeypatch.setattr(torch, "mm", rough_mm)
    side = Side(rows, torch.arange(300), form)
    own = Forbidden(torch.arange(300))
    sweep = Sweep(side, side, form, own, tie_rank=torch.arange(300), k=3, tile=64)
    assert len(list(sweep.run())) == 5
    assert not sweep.is_trusted


def test_a_panel_groups_columns_of_like_floors():
    rows = unit_rows(random_rows(45, 4))
    side = Side(rows, torch.arange(45), Format("float32", 4))
    floor, allowance = torch.linspace(1.0, 0.0, 45, dtype=torch.float64), torch.full((45,), 0.1)
    allowance[10] = 5.0
    panel = open_panel(side, 0, 45, floor, allowance)
    assert len(panel.places) % GROUP == 0
    assert sorted(panel.places[panel.places >= 0].tolist()) == list(range(45))
    assert torch.isinf(panel.floor[panel.places < 0]).all()
    # The one column of unusual allowance shares its group with padding and the highest floors only.
    assert (panel.allowance > 1.0).sum() == 1
    groups = panel.places.view(GROUP, -1).T
    assert set(groups[0].tolist()) == set(range(37, 45))


def test_shortlists_raise_floors_and_drop_what_is_below():
    shortlist = Shortlist(3, longest=4)
    shortlist.add(torch.tensor([0, 0, 1]), torch.tensor([5, 6, 7]), torch.tensor([0.9, 0.5, 0.1]).double())
    shortlist.add(torch.tensor([0, 2]), torch.tensor([8, 9]), torch.tensor([0.7, 0.2]).double())
    floor = torch.full((3,), -torch.inf, dtype=torch.float64)
    floor[2] = 0.3
    shortlist.compact(floor, 2)
    np.testing.assert_allclose(floor, [0.7, -np.inf, 0.3])
    rows, columns, values = shortlist.take()
    np.testing.assert_array_equal(rows, [0, 0, 1])
    np.testing.assert_array_equal(columns, [5, 8, 7])
    np.testing.assert_allclose(values, [0.9, 0.7, 0.1])
    shortlist.add(torch.zeros(5, dtype=torch.int64), torch.arange(5), torch.ones(5, dtype=torch.float64))
    shortlist.compact(floor, 2)
    assert torch.isinf(floor[0])
    assert len(shortlist.take()[0]) == 0


def test_ragged_rows_and_nth_largest_by_hand():
    matrix, place = ragged_to_rows(torch.tensor([0, 0, 2]), torch.tensor([1.0, 3.0, 2.0]).double(), 3)
    np.testing.assert_array_equal(matrix, [[1, 3], [-np.inf, -np.inf], [2, -np.inf]])
    np.testing.assert_array_equal(place, [0, 1, 0])
    np.testing.assert_array_equal(nth_largest(matrix.clone(), 2), [1, -np.inf, -np.inf])
    assert torch.isinf(nth_largest(matrix, 3)).all()
    assert ragged_to_rows(place[:0], matrix[0, :0], 2)[0].shape == (2, 0)


def test_pair_values_are_exact():
    unit = unit_rows(random_rows(20, 7)).block(0, 20).double()
    rows, columns = torch.tensor([0, 0, 3, 19]), torch.tensor([4, 1, 3, 0])
    values = pair_values(unit, unit, rows, columns)
    np.testing.assert_array_equal(values, (unit[rows] * unit[columns]).sum(dim=1))
    assert pair_values(unit, unit, rows[:0], columns[:0]).shape == (0,)


@pytest.mark.parametrize("form", ["auto", *PRECISIONS])
def test_large_searches_sweep_and_agree_with_blocks(form, monkeypatch):
    monkeypatch.setattr(plan, "FEWEST_SWEPT", 500)
    monkeypatch.setattr(plan, "_TILES", (256,))
    monkeypatch.setattr("tamis.neighbors.search.FEWEST_SWEPT", 500)
    rows = random_rows(2300, 24)
    rows[5] = rows[1900]
    rows[77] = 0.0
    keys = np.random.default_rng(1).permutation(2300).astype(np.uint64)
    groups = np.where(np.arange(2300) < 60, np.arange(2300) // 3, -1)
    options = {"k": 5, "tie_keys": keys, "query_groups": groups, "allow_zero": True}
    swept = nearest_neighbors(rows, precision=form, **options)
    few = np.random.default_rng(2).permutation(2300)[:2100]
    swept_few = nearest_neighbors(rows, precision=form, reference_rows=few, **options)
    monkeypatch.undo()
    blocks = nearest_neighbors(rows, **options)
    np.testing.assert_array_equal(swept.indices, blocks.indices)
    np.testing.assert_array_equal(swept.similarities, blocks.similarities)
    blocks = nearest_neighbors(rows, reference_rows=few, **options)
    np.testing.assert_array_equal(swept_few.indices, blocks.indices)
    np.testing.assert_array_equal(swept_few.similarities, blocks.similarities)


def test_a_large_search_is_the_same_in_another_order_and_in_small_memory():
    rows = random_rows(8200, 8).astype(np.float32)
    rng = np.random.default_rng(5)
    keys, order = rng.permutation(8200).astype(np.uint64), rng.permutation(8200)
    plain = nearest_neighbors(rows, k=4, tie_keys=keys)
    shuffled = nearest_neighbors(rows[order], k=4, tie_keys=keys[order], precision="int8")
    np.testing.assert_array_equal(order[shuffled.indices], plain.indices[order])
    np.testing.assert_array_equal(shuffled.similarities, plain.similarities[order])
    small = nearest_neighbors(rows, k=4, tie_keys=keys, memory_budget="8MiB")
    np.testing.assert_array_equal(small.indices, plain.indices)
    np.testing.assert_array_equal(small.similarities, plain.similarities)


def test_the_cheapest_format_that_tells_rows_apart_is_chosen(monkeypatch):
    seconds = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0}
    scale = precision._ROWS * precision._COLUMNS * 1e-9
    monkeypatch.setattr(precision, "_product_seconds", lambda form, _: scale * seconds[form])
    monkeypatch.setattr(precision, "is_int8_exact", lambda _: True)
    alive = torch.arange(6000)
    easy = unit_rows(random_rows(6000, 64))
    assert precision.choose_format("auto", easy, alive, 5).precision == "int8"
    assert precision.choose_format("bfloat16", easy, alive, 5).precision == "bfloat16"
    hard = unit_rows(1.0 + 3e-2 * random_rows(6000, 64))
    assert precision.choose_format("auto", hard, alive, 5).precision == "float32"
    monkeypatch.setattr(precision, "is_int8_exact", lambda _: False)
    assert precision.choose_format("auto", easy, alive, 5).precision == "bfloat16"


def test_int8_products_that_overflow_are_not_trusted(monkeypatch):
    def saturating(left, right):
        return (left.int() @ right.int()).clamp(-(2**15), 2**15)

    precision.is_int8_exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not precision.is_int8_exact(64)

    def missing(left, right):
        raise RuntimeError("not compiled in")

    precision.is_int8_exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", missing)
    assert not precision.is_int8_exact(64)
    precision.is_int8_exact.cache_clear()
    monkeypatch.delattr(torch, "_int_mm")
    assert not precision.is_int8_exact(64)
    precision.is_int8_exact.cache_clear()
