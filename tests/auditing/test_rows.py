"""Which rows are assessed, which belong together, and in which order they are worked on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tamis.auditing import rows as rows_module
from tamis.auditing.material import Material, gather
from tamis.auditing.rows import ONE_GROUP, TOO_SMALL, choose_rows, find_neighbors, without_verdict
from tamis.data import from_arrays
from tamis.runs import StageStore


def _material(
    labels: Sequence[object], features: object = None, groups: Sequence[object] | None = None
) -> Material:
    if features is None:
        features = np.random.default_rng(0).normal(size=(len(labels), 3))
    return gather(
        from_arrays(features, labels, None, groups=groups),
        encoder=None,
        out_of_sample=None,
        has_named_columns=False,
        memory_budget=None,
        device="cpu",
    )


def test_reasons_by_hand() -> None:
    labels = ["a"] * 6 + ["b"] * 5 + ["c"] * 4 + [None, "a"]
    features = np.random.default_rng(0).normal(size=(17, 3))
    features[16] = np.nan
    rows = choose_rows(_material(labels, features))
    assert rows.reasons[:11].tolist() == [None] * 11
    assert rows.reasons[11:].tolist() == [TOO_SMALL] * 4 + ["unlabelled", "unreadable"]
    assert sorted(rows.rows.tolist()) == list(range(11))
    # Larger classes first: a is canonical class 0, b is 1.
    assert rows.classes.tolist() == [0, 1]
    assert rows.codes[np.argsort(rows.rows)].tolist() == [0] * 6 + [1] * 5


def test_canonical_order_ignores_positions_and_names() -> None:
    rng = np.random.default_rng(1)
    features, codes = rng.normal(size=(60, 4)), rng.integers(0, 3, size=60)
    order = rng.permutation(60)
    one = choose_rows(_material(codes.tolist(), features))
    two = choose_rows(_material([("z", "m", "a")[code] for code in codes[order]], features[order]))
    assert order[two.rows].tolist() == one.rows.tolist()
    assert two.codes.tolist() == one.codes.tolist()


def test_groups_join_copies_and_the_users_groups() -> None:
    features = np.random.default_rng(0).normal(size=(12, 3))
    features[7] = features[2]
    groups = ["p", None, "p", "q", "q", *[None] * 7]
    rows = choose_rows(_material([0, 1] * 6, features, groups))
    assert rows.groups[0] == rows.groups[2] == rows.groups[7] >= 0
    assert rows.groups[3] == rows.groups[4] not in (-1, rows.groups[0])
    others = rows.groups[[1, 5, 6, 8, 9, 10, 11]]
    assert len({*others, rows.groups[0], rows.groups[3]}) == 9, "the others are alone"
    assert rows.exact_groups[2] == rows.exact_groups[7] >= 0
    assert rows.exact_groups[0] == -1


def test_a_class_of_one_group_or_one_content_is_not_assessed() -> None:
    features = np.random.default_rng(0).normal(size=(30, 3))
    labels = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    grouped = choose_rows(_material(labels, features, [None] * 20 + ["one"] * 10))
    assert set(grouped.reasons[20:]) == {ONE_GROUP}
    assert set(grouped.reasons[:20]) == {None}
    features[20:] = features[20]
    assert set(choose_rows(_material(labels, features)).reasons[20:]) == {ONE_GROUP}


def test_without_verdict() -> None:
    rows = choose_rows(_material([0, 1] * 6 + [2]))
    none = without_verdict(rows, "because")
    assert none.reasons.tolist() == ["because"] * 12 + [TOO_SMALL]
    assert len(none.rows) == len(none.codes) == len(none.classes) == 0
    assert rows.reasons[0] is None


def test_neighbours_leave_out_the_row_its_group_and_the_unreadable() -> None:
    features = np.random.default_rng(0).normal(size=(40, 3))
    features[5] = np.nan
    material = _material([0, 1] * 20, features, ["g"] * 4 + [None] * 36)
    rows = choose_rows(material)
    found, notes = find_neighbors(material, rows, StageStore(None, ""), None)
    assert found is not None
    assert not notes
    assert found.indices.shape == (40, 20)
    assert 5 not in found.indices
    for row in range(40):
        assert row not in found.indices[row]
    assert not np.isin(found.indices[:4], np.arange(4)).any()


def test_a_reference_subset_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "choose_reference", lambda n, d, *, n_classes: 30)
    material = _material([0, 1] * 30)
    found, notes = find_neighbors(material, choose_rows(material), StageStore(None, ""), None)
    assert found is not None
    assert len(np.unique(found.indices[found.indices >= 0])) <= 30
    assert "class-balanced reference of 30 of the 60 rows (approximation)" in notes[0]


def test_no_features_no_neighbours() -> None:
    dataset = from_arrays(None, [0, 1] * 5, np.tile([[0.6, 0.4], [0.7, 0.3]], (5, 1)))
    material = gather(
        dataset, encoder=None, out_of_sample=None, has_named_columns=False, memory_budget=None, device="cpu"
    )
    assert find_neighbors(material, choose_rows(material), StageStore(None, ""), None) == (None, [])
