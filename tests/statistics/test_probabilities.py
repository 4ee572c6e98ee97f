"""Predicted probabilities: what is accepted, what is refused and how, what gives bad ones away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.statistics.probabilities import (
    best_column_permutation,
    check_probabilities,
    label_tensor,
    looks_in_sample,
    probability_tensor,
)


def draw(n, k, seed=0, sharpness=4.0):
    """Return labels and probabilities of a fairly good model."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + sharpness * np.eye(k)[labels]
    probs = np.exp(logits)
    return labels, probs / probs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_sum_to_one_and_the_input_is_left_alone(dtype):
    given_probs = np.array([[0.5, 0.5005], [0.25, 0.75]], dtype=dtype)
    before = given_probs.copy()
    checked = check_probabilities(given_probs)
    assert checked.dtype == np.float64
    np.testing.assert_allclose(checked.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(given_probs, before)


def test_renormalised_by_hand():
    np.testing.assert_allclose(
        check_probabilities([[0.5, 0.5005]]), [[0.5 / 1.0005, 0.5005 / 1.0005]], rtol=1e-15
    )


def test_read_only_memory_maps_and_tensors_are_accepted(tmp_path):
    _, probs = draw(20, 3)
    np.save(tmp_path / "probs.npy", probs)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    np.testing.assert_array_equal(check_probabilities(mapped), check_probabilities(probs))
    np.testing.assert_array_equal(check_probabilities(torch.from_numpy(probs)), check_probabilities(probs))
    assert probability_tensor(torch.eye(2)).dtype == torch.float32
    assert probability_tensor(torch.eye(2, dtype=torch.int64)).dtype == torch.float64


def test_tiny_negatives_are_rounding():
    checked = check_probabilities([[1.0 + 1e-8, -1e-8]])
    assert checked.min() >= 0.0
    assert checked.sum() == 1.0


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (
            [[0.5, 0.5], [3.2, -1.0]],
            r"row 1 has entries outside \[0, 1\].*row 1 sums to 2\.2.*look like logits",
        ),
        ([[0.5, 0.5], [0.5, 0.51]], r"row 1 sums to 1\.01 \(1 such rows\), expected 1 ± 1e-3"),
        ([[0.2, 0.1], [0.5, 0.5]], r"row 0 sums to 0\.3.*weights, divide each row by its sum"),
        ([[0.0, 0.0]], r"row 0 sums to 0"),
        ([[70.0, 30.0], [20.0, 80.0]], "percentages; divide them by 100"),
        ([[7.0, 3.0], [2.0, 9.0]], "if they are counts, divide"),
        ([[0.5, 0.5], [np.nan, 0.5]], r"row 1 holds NaN or infinity"),
        ([[np.inf, 0.5]], r"row 0 holds NaN or infinity"),
        ([[np.inf, -np.inf]], r"row 0 holds NaN or infinity"),
        ([0.5, 0.5], r"has shape \(2,\); expected \(samples, classes\)"),
        (np.empty((0, 3)), r"has shape \(0, 3\)"),
        (np.empty((3, 0)), r"has shape \(3, 0\)"),
        ([["a", "b"]], r"has dtype <U1; expected real numbers"),
        (np.array([[0.5 + 1j, 0.5]]), "dtype complex128"),
        ([[0.5, 0.5], [1.0]], "not a table of numbers"),
    ],
)
def test_what_is_refused_and_why(probs, message):
    with pytest.raises(InputError, match=message):
        check_probabilities(probs)


def test_the_number_of_columns():
    with pytest.raises(InputError, match=r"2 columns but there are 3 classes; give one column a class"):
        check_probabilities([[0.5, 0.5]], n_classes=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], r"labels row 1 is 2; legal are 0\.\.1"),
        ([-1, 0], r"labels row 0 is -1; legal are 0\.\.1.*leave unlabelled rows out"),
        ([0], r"labels has shape \(1,\); expected \(2,\)"),
        ([[0, 1]], r"labels has shape \(1, 2\)"),
        (["cat", "dog"], r"labels has dtype <U3.*return_inverse"),
        ([0.0, 0.5], r"labels row 1 is 0\.5; expected whole numbers"),
        ([np.nan, 0.0], r"labels row 0 is nan"),
    ],
)
def test_labels_that_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        check_probabilities([[0.5, 0.5], [0.5, 0.5]], labels)


def test_labels_of_other_kinds():
    for labels in ([0, 1], [0.0, 1.0], [False, True], np.array([0, 1], dtype=np.uint8), torch.tensor([0, 1])):
        assert label_tensor(labels, n_samples=2, n_classes=2).tolist() == [0, 1]


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_any_simplex_rows_pass_unchanged(n, k, seed):
    probs = np.random.default_rng(seed).dirichlet(np.ones(k), n)
    np.testing.assert_allclose(check_probabilities(probs), probs, rtol=0, atol=1e-12)


def test_in_sample_needs_a_hundred_rows_and_no_exception():
    labels, probs = draw(100, 4, sharpness=50.0)
    assert looks_in_sample(probs, labels)
    assert not looks_in_sample(probs[:99], labels[:99])
    other = labels.copy()
    other[7] = (other[7] + 1) % 4
    assert not looks_in_sample(probs, other)


def test_a_tied_argmax_agrees_with_the_label():
    assert looks_in_sample(np.full((100, 2), 0.5), np.ones(100, dtype=np.int64))


def test_one_class_is_never_in_sample():
    assert not looks_in_sample(np.ones((200, 1)), np.zeros(200, dtype=np.int64))


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_permutation_of_all_columns_is_found(k):
    labels, probs = draw(400, k)
    order = np.roll(np.arange(k), 1)
    found = best_column_permutation(probs[:, order], labels)
    assert found is not None
    np.testing.assert_array_equal(probs[:, order][:, found], probs)


def test_two_swapped_columns_of_ten_are_found():
    labels, probs = draw(600, 10)
    order = np.arange(10)
    order[[2, 7]] = order[[7, 2]]
    found = best_column_permutation(probs[:, order], labels)
    assert found is not None
    np.testing.assert_array_equal(found, order)


def test_shuffled_rows_and_absent_classes_do_not_matter():
    labels, probs = draw(300, 6)
    keep = labels != 4
    labels, probs = labels[keep], np.roll(probs[keep], 1, axis=1)
    rows = np.random.default_rng(1).permutation(len(labels))
    first = best_column_permutation(probs, labels)
    second = best_column_permutation(probs[rows], labels[rows])
    assert first is not None
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[[0, 1, 2, 3, 5]], [1, 2, 3, 4, 0])


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("k", [2, 3, 10, 50])
def test_sixty_percent_of_wrong_labels_do_not_look_permuted(kind, k):
    for seed in range(25):
        truth, probs = draw(500, k, seed)
        rng = np.random.default_rng(1000 + seed)
        step = rng.integers(1, k, 500) if kind == "symmetric" else 1
        labels = np.where(rng.random(500) < 0.6, (truth + step) % k, truth)
        assert best_column_permutation(probs, labels) is None


@pytest.mark.parametrize("k", [2, 5, 100, 400])
@pytest.mark.parametrize("concentration", [0.01, 1.0])
def test_a_useless_model_does_not_look_permuted(k, concentration):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        probs = rng.dirichlet(np.full(k, concentration), 800) + 1e-9
        probs /= probs.sum(axis=1, keepdims=True)
        assert best_column_permutation(probs, rng.integers(0, k, 800)) is None


def test_no_permutation_of_one_class_or_of_few_rows():
    assert best_column_permutation(np.ones((50, 1)), np.zeros(50, dtype=np.int64)) is None
    labels, probs = draw(10, 3)
    assert best_column_permutation(np.roll(probs, 1, axis=1), labels) is None
