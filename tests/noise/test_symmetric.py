"""Symmetric noise: rates, conventions, exact counts, draws that depend on seed and position only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tamis
from tamis.errors import InputError
from tamis.noise import symmetric

LABELS = np.arange(20_000) % 10
PINNED_LABELS = [1, 1, 2, 3, 2, 3, 2, 2, 0, 1, 2, 3]
PINNED_DIGEST = "c1f71caa2eff7a380a151c0a610c7070"


def test_transition_by_hand() -> None:
    third = symmetric([0, 1, 2], rate=0.3, n_classes=3).transition
    np.testing.assert_allclose(third, [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]])
    with_true = symmetric([0, 1, 2], rate=0.3, n_classes=3, convention="include_true").transition
    np.testing.assert_allclose(with_true, [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


@pytest.mark.shared
def test_transition_agrees_with_golden_cases(golden: Path) -> None:
    cases = json.loads((golden / "noise_models_class_conditional.json").read_text(encoding="utf-8"))
    cases = [case for case in cases if case["case"].startswith("symmetric")]
    assert cases
    for case in cases:
        params, expected = case["params"], np.array(case["expected"]["T"])
        noisy = symmetric(case["inputs"]["y"], params["noise_rate"], params["num_classes"])
        np.testing.assert_allclose(noisy.transition, expected, rtol=case["rtol"], atol=1e-9)


@pytest.mark.parametrize(("convention", "expected"), [("exclude_true", 0.4), ("include_true", 0.36)])
def test_realised_rate_and_empirical_transition(convention: str, expected: float) -> None:
    noisy = symmetric(LABELS, 0.4, 10, convention=convention, random_state=3)
    # Four standard errors of a share of 20,000, and of 2,000 for one row of the matrix.
    assert abs(noisy.realised_rate - expected) < 4 * np.sqrt(0.25 / 20_000)
    counts = np.zeros((10, 10))
    np.add.at(counts, (LABELS, noisy.labels), 1)
    np.testing.assert_allclose(counts / 2_000, noisy.transition, atol=4 * np.sqrt(0.25 / 2_000))
    assert noisy.nominal_rate == 0.4
    assert noisy.realised_rate == pytest.approx((noisy.labels != LABELS).mean())


@given(
    rate=st.floats(0, 1),
    n_classes=st.integers(2, 12),
    seed=st.integers(0, 2**64 - 1),
    convention=st.sampled_from(["exclude_true", "include_true"]),
    exact=st.sampled_from(["none", "global", "per_class"]),
)
def test_properties(rate: float, n_classes: int, seed: int, convention: str, exact: str) -> None:
    labels = np.arange(n_classes * 7) % n_classes
    noisy = symmetric(labels, rate, n_classes, convention, seed, exact)
    assert noisy.labels.min() >= 0
    assert noisy.labels.max() < n_classes
    np.testing.assert_array_equal(noisy.is_wrong, noisy.labels != labels)
    np.testing.assert_allclose(noisy.transition.sum(axis=1), 1)
    assert not noisy.is_open.any()
    if exact == "global" and convention == "exclude_true":
        assert noisy.is_wrong.sum() == int(rate * len(labels))
    if exact == "per_class" and convention == "exclude_true":
        counts = np.bincount(labels[noisy.is_wrong], minlength=n_classes)
        assert set(counts) == {int(rate * len(labels)) // n_classes}
    assert noisy.digest == symmetric(labels, rate, n_classes, convention, seed, exact).digest


def test_a_draw_depends_on_seed_and_position_only() -> None:
    whole = symmetric(LABELS, random_state=5)
    start = symmetric(LABELS[:777], random_state=5)
    np.testing.assert_array_equal(whole.labels[:777], start.labels)
    # Another label at one position changes that position and no other.
    changed = LABELS.copy()
    changed[10] = (changed[10] + 1) % 10
    other = symmetric(changed, random_state=5)
    np.testing.assert_array_equal(np.delete(other.labels, 10), np.delete(whole.labels, 10))
    assert symmetric(LABELS, random_state=6).digest != whole.digest


def test_higher_rate_flips_a_superset() -> None:
    low, high = symmetric(LABELS, 0.1), symmetric(LABELS, 0.3)
    assert not (low.is_wrong & ~high.is_wrong).any()


def test_rate_zero_and_one() -> None:
    np.testing.assert_array_equal(symmetric(LABELS, 0.0).labels, LABELS)
    assert symmetric(LABELS, 1.0).is_wrong.all()


def test_digest_is_the_same_on_every_machine() -> None:
    noisy = symmetric(np.arange(12) % 4, 0.5, 4)
    assert noisy.labels.tolist() == PINNED_LABELS
    assert noisy.digest == PINNED_DIGEST


def test_edge_inputs() -> None:
    empty = symmetric([], 0.4, 10)
    assert (len(empty.labels), empty.realised_rate) == (0, 0.0)
    # A class without samples is legal, also when counts are exact per class.
    two_of_three = symmetric([0, 2] * 30, 0.5, 3, exact="per_class")
    assert np.bincount(np.array([0, 2] * 30)[two_of_three.is_wrong], minlength=3).tolist() == [10, 0, 10]


def test_arrays_are_read_only() -> None:
    noisy = tamis.noise.symmetric([0, 1])
    with pytest.raises(ValueError, match="read-only"):
        noisy.labels[0] = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -0.1}, "rate must be a number from 0 to 1"),
        ({"rate": 1.5}, "rate must be a number from 0 to 1"),
        ({"rate": float("nan")}, "rate must be a number from 0 to 1"),
        ({"rate": "0.4"}, "rate must be a number from 0 to 1"),
        ({"n_classes": 1}, "n_classes must be a whole number of at least 2"),
        ({"n_classes": 3}, "labels row 3 is 3, outside 0 to 2"),
        ({"labels": [-1, 0]}, "labels row 0 is -1"),
        ({"labels": [[0, 1]]}, r"labels has shape \(1, 2\)"),
        ({"labels": ["cat", "dog"]}, "labels has dtype"),
        ({"labels": [0.0, 1.0]}, "labels has dtype float64"),
        ({"convention": "both"}, "convention must be"),
        ({"exact": True}, "exact must be"),
        ({"random_state": -1}, "random_state must be"),
        ({"random_state": 0.5}, "random_state must be"),
        ({"labels": [0] * 99 + [1], "n_classes": 2, "exact": "per_class"}, "class 1 has 1; lower the rate"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        symmetric(**{"labels": [0, 1, 2, 3], **arguments})
