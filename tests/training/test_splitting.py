"""The held-out part: shares, content, groups, duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data import from_arrays
from tamis.errors import InputError
from tamis.training.source import Source
from tamis.training.splitting import held_out


def source_of(features: np.ndarray, labels: object, groups: list[str | None] | None = None) -> Source:
    dataset = from_arrays(features, labels, groups=groups)
    return Source(dataset, "features", features, None, {})


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def test_no_share_holds_nothing_out() -> None:
    rows, held = held_out(source_of(drawn(9), np.arange(9) % 3), 0.0)
    assert rows.tolist() == list(range(9))
    assert held.tolist() == []


@given(share=st.sampled_from([0.1, 0.25, 0.5]), seed=st.integers(0, 5))
def test_the_same_share_of_every_class(share: float, seed: int) -> None:
    labels = np.repeat([0, 1], [80, 20])
    rows, held = held_out(source_of(drawn(100, seed), labels), share)
    assert sorted([*rows, *held]) == list(range(100))
    assert np.bincount(labels[held]).tolist() == [round(80 * share), round(20 * share)]


def test_the_order_of_rows_and_the_names_of_classes_do_not_matter() -> None:
    features, labels = drawn(60), np.arange(60) % 3
    _, held = held_out(source_of(features, labels), 0.2)
    order = np.random.default_rng(1).permutation(60)
    _, moved = held_out(source_of(features[order], 2 - labels[order]), 0.2)
    assert sorted(order[moved].tolist()) == held.tolist()


def test_groups_and_duplicates_stay_together() -> None:
    features = drawn(60)
    features[30:40] = features[:10]
    groups = [str(row % 20) if row >= 40 else None for row in range(60)]
    rows, held = held_out(source_of(features, np.arange(60) % 2, groups), 0.3)
    assert 10 <= len(held) <= 26
    kept_content = {features[row].tobytes() for row in rows}
    assert not kept_content & {features[row].tobytes() for row in held}
    assert not {groups[row] for row in rows if groups[row]} & {groups[row] for row in held if groups[row]}


def test_unlabelled_and_unreadable_rows_are_not_held_out() -> None:
    labels = [None if row < 20 else row % 2 for row in range(60)]
    source = replace(source_of(drawn(60), labels), unreadable={59: "broken"})
    rows, held = held_out(source, 0.5)
    assert set(range(20)) <= set(rows.tolist())
    assert 59 not in rows
    assert 59 not in held


@pytest.mark.parametrize(
    ("groups", "message"),
    [(["all"] * 12, "nothing to hold out"), (["a"] * 6 + ["b"] * 6, "nothing to hold out")],
)
def test_groups_too_large(groups: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        held_out(source_of(drawn(12), np.arange(12) % 2, groups), 0.2)
