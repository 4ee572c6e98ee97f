"""Absorbing, relabelling, pseudo labels: by hand, a loop, properties, edges, a set that grows clean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tamis.errors import InputError
from tamis.targets import absorb_and_relabel, pseudo_labels


def drawn(n=200, k=4, seed=0):
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(k, 0.3), size=n)
    return probs, random.integers(0, k, n), random.random(n) < 0.2


def test_by_hand():
    probs = [[0.9, 0.1], [0.1, 0.9], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]
    found = absorb_and_relabel(probs, [0, 0, 0, 0, 0], [False] * 5, theta_r=0.7, theta_r2=0.9)
    assert found.labels.tolist() == [0, 1, 0, 0, 0]
    assert found.selected.tolist() == [True, True, True, False, False]


def test_against_a_loop():
    probs, labels, keep = drawn()
    current, selected = labels.copy(), keep.copy()
    for i in range(len(labels)):
        top = int(np.argmax(probs[i]))
        if top == labels[i] and probs[i, top] >= 0.7:
            selected[i] = True
        if top != labels[i] and probs[i, top] >= 0.95:
            selected[i], current[i] = True, top
    found = absorb_and_relabel(probs, labels, keep, theta_r=0.7, theta_r2=0.95)
    np.testing.assert_array_equal(found.labels, current)
    np.testing.assert_array_equal(found.selected, selected)


def test_comparisons_include_the_threshold():
    for dtype in (torch.float32, torch.float64):
        probs = torch.tensor([[0.8, 0.2], [0.8, 0.2]], dtype=dtype)
        found = absorb_and_relabel(probs, [0, 1], [False, False])
        assert found.selected.all()
        assert found.labels.tolist() == [0, 0]


def test_thresholds_above_one_leave_the_first_selection():
    probs, labels, keep = drawn()
    found = absorb_and_relabel(probs, labels, keep, theta_r=2, theta_r2=2)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.selected, keep)


def test_the_first_selection_stays_and_labels_change_where_relabelled_only():
    probs, labels, keep = drawn()
    fewer = None
    for theta in (0.5, 0.7, 0.9, 1.01):
        found = absorb_and_relabel(probs, labels, keep, theta_r2=theta)
        is_changed = found.labels.numpy() != labels
        assert found.selected.numpy()[keep].all()
        np.testing.assert_array_equal(
            is_changed, (probs.max(axis=1) >= theta) & (probs.argmax(axis=1) != labels)
        )
        assert found.selected.numpy()[is_changed].all()
        assert fewer is None or not (is_changed & ~fewer).any()
        fewer = is_changed


def test_no_memory_and_inputs_untouched():
    probs, labels, keep = drawn()
    before = probs.copy(), labels.copy(), keep.copy()
    first = absorb_and_relabel(probs, labels, keep)
    second = absorb_and_relabel(probs, labels, keep)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.selected, second.selected)
    for old, new in zip(before, (probs, labels, keep), strict=True):
        np.testing.assert_array_equal(old, new)


def test_rows_and_classes_change_place_together():
    probs, labels, keep = drawn()
    whole = absorb_and_relabel(probs, labels, keep)
    rows, classes = np.random.default_rng(1).permutation(200), np.array([2, 0, 3, 1])
    moved = absorb_and_relabel(probs[rows][:, classes], np.argsort(classes)[labels][rows], keep[rows])
    np.testing.assert_array_equal(classes[moved.labels], whole.labels[rows])
    np.testing.assert_array_equal(moved.selected, whole.selected[rows])
    # Block by block.
    parts = [
        absorb_and_relabel(probs[i : i + 7], labels[i : i + 7], keep[i : i + 7]) for i in range(0, 200, 7)
    ]
    np.testing.assert_array_equal(torch.cat([part.labels for part in parts]), whole.labels)
    np.testing.assert_array_equal(torch.cat([part.selected for part in parts]), whole.selected)


def test_equal_classes_agree_with_the_given_label():
    even = [[0.5, 0.5], [0.5, 0.5]]
    found = absorb_and_relabel(even, [0, 1], [False, False], theta_r=0.5, theta_r2=0.5)
    assert found.labels.tolist() == [0, 1]
    assert found.selected.all()


def test_unlabelled_rows_come_in_by_relabelling_only():
    found = absorb_and_relabel([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], [-1, -1, -1], [False, True, False])
    assert found.labels.tolist() == [0, -1, -1]
    assert found.selected.tolist() == [True, False, False]


def test_one_class_and_no_rows():
    found = absorb_and_relabel([[1.0], [1.0]], [0, 0], [False, False])
    assert found.selected.all()
    empty = absorb_and_relabel(np.ones((0, 3)), np.ones(0, dtype=int), np.ones(0, dtype=bool))
    assert empty.labels.shape == empty.selected.shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": [[3.0, -1.0], [0.5, 0.5]]}, r"row 0 .*largest entry 3.*softmax"),
        ({"probs": [[0.5, 0.5], [float("nan"), 0.5]]}, r"row 1 .*diverged"),
        ({"probs": [0.5, 0.5]}, r"shape \(2,\)"),
        ({"probs": [[1, 0], [0, 1]]}, "int64"),
        ({"labels": [0, 2]}, "row 1 is 2"),
        ({"labels": [0]}, r"expected .* shape \(2,\)"),
        ({"labels": [0.0, 1.0]}, "float"),
        ({"keep": [0, 1]}, "keep has .*int64"),
        ({"keep": [True]}, r"keep has shape \(1,\)"),
        ({"theta_r": float("nan")}, "theta_r is nan"),
        ({"theta_r2": float("nan")}, "theta_r2 nan"),
    ],
)
def test_illegal_arguments(change, message):
    whole = {"probs": [[0.9, 0.1], [0.5, 0.5]], "labels": [0, 1], "keep": [True, False]}
    with pytest.raises(InputError, match=message):
        absorb_and_relabel(**whole | change)


def test_the_selected_set_grows_and_stays_clean():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 1500)
    rows = random.normal(size=(4, 8))[truth] * 1.6 + random.normal(size=(1500, 8))
    labels = np.where(random.random(1500) < 0.5, random.integers(0, 4, 1500), truth)
    # A small, mostly right first selection.
    keep = (random.random(1500) < 0.08) & ((labels == truth) | (random.random(1500) < 0.1))
    current, selected = labels, keep
    for _ in range(4):
        model = LogisticRegression().fit(rows[selected], current[selected])
        found = absorb_and_relabel(model.predict_proba(rows), labels, keep)
        current, selected = found.labels.numpy(), found.selected.numpy()
    assert (labels == truth).mean() < 0.7
    assert selected.mean() > 0.8
    assert (current == truth)[selected].mean() > 0.96


def test_pseudo_labels():
    probs, _, _ = drawn()
    everyone = pseudo_labels(probs)
    np.testing.assert_array_equal(everyone.labels, probs.argmax(axis=1))
    np.testing.assert_array_equal(everyone.confidence, probs.max(axis=1))
    sure = pseudo_labels(torch.tensor(probs), threshold=0.9)
    np.testing.assert_array_equal(sure.labels, np.where(probs.max(axis=1) >= 0.9, probs.argmax(axis=1), -1))
    assert (pseudo_labels(probs, threshold=1.01).labels == -1).all()
    assert pseudo_labels(torch.tensor([[0.7, 0.3]]).bfloat16(), threshold=0.5).labels.tolist() == [0]
    assert pseudo_labels([[0.4, 0.6]]).labels.dtype == torch.int64
    with pytest.raises(InputError, match="threshold is nan"):
        pseudo_labels(probs, threshold=float("nan"))
    with pytest.raises(InputError, match="row 0"):
        pseudo_labels([[0.2, 8.0]])
