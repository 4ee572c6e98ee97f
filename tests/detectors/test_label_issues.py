"""find_label_issues and its like: by hand, beside the reference package, properties, edges, noise."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tamis
from tamis.detectors.label_issue_baselines import (
    find_label_issues_using_argmax_confusion_matrix,
    find_predicted_neq_given,
)
from tamis.detectors.label_issues import find_label_issues, order_label_issues
from tamis.errors import InputError, TamisWarning

PRUNING = ["prune_by_noise_rate", "prune_by_class", "both"]
OTHERS = ["confident_learning", "predicted_neq_given", "low_normalized_margin", "low_self_confidence"]
SCORES = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]


@contextlib.contextmanager
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def draw(seed, n, k, kind="smooth", dtype=np.float64, absent=0):
    """Return labels and probabilities: smooth, with many ties, or saturated."""
    rng = np.random.default_rng(seed)
    if kind == "ties":
        counts = rng.integers(0, 4, (n, k)).astype(np.float64)
        counts[counts.sum(axis=1) == 0, 0] = 1.0
        probs = counts / counts.sum(axis=1, keepdims=True)
    elif kind == "saturated":
        probs = np.eye(k)[rng.integers(0, k, n)]
    else:
        probs = rng.dirichlet(np.full(k, rng.choice([0.1, 0.5, 3.0])), n)
    labels = (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    is_random = rng.random(n) < rng.choice([0.0, 0.3])
    labels = np.where(is_random, rng.integers(0, k, n), labels)
    labels = np.where(labels >= k - absent, 0, labels)
    labels[0], labels[-1] = 0, 1  # the reference refuses a single class
    return labels, probs.astype(dtype)


CASES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(2, 150),
    st.integers(2, 9),
    st.sampled_from(["smooth", "smooth", "ties", "saturated"]),
    st.sampled_from([np.float64, np.float32]),
    st.integers(0, 2),
).filter(lambda case: case[2] - case[5] >= 2)


def test_by_hand():
    labels, probs = [0, 0, 1, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    for rule in [*PRUNING, *OTHERS]:
        assert find_label_issues(labels, probs, filter_by=rule).tolist() == [False] * 4 + [True]
    ranked = find_label_issues(labels, probs, return_indices_ranked_by="normalized_margin")
    assert ranked.tolist() == [4]
    # Of class 0 one row is to go and of class 1 two: the least confident ones that are no argmax.
    labels, given = [0, 0, 0, 1, 1, 1, 1], [0.9, 0.4, 0.3, 0.8, 0.2, 0.1, 0.45]
    probs = [[g, 1 - g] if label == 0 else [1 - g, g] for label, g in zip(labels, given, strict=True)]
    mask = find_label_issues(labels, probs, filter_by="prune_by_class", num_to_remove_per_class=[1, 2])
    assert mask.nonzero()[0].tolist() == [2, 4, 5]


@given(CASES, st.sampled_from(PRUNING), st.sampled_from([1.0, 0.7, 0.3, 0.0]), st.sampled_from([0, 1, 3, 10]))
def test_pruning_beside_the_reference(case, rule, frac, at_least):
    reference = pytest.importorskip("cleanlab.filter").find_label_issues
    labels, probs = draw(*case)
    options = {"filter_by": rule, "frac_noise": frac, "min_examples_per_class": at_least}
    with silent():
        expected = reference(labels, probs, n_jobs=1, **options)
        np.testing.assert_array_equal(find_label_issues(labels, probs, **options), expected)


@given(CASES, st.sampled_from(OTHERS))
def test_other_rules_beside_the_reference(case, rule):
    reference = pytest.importorskip("cleanlab.filter").find_label_issues
    labels, probs = draw(*case)
    with silent():
        expected = reference(labels, probs, n_jobs=1, filter_by=rule)
        np.testing.assert_array_equal(find_label_issues(labels, probs, filter_by=rule), expected)


@given(CASES, st.sampled_from(PRUNING), st.integers(0, 30))
def test_numbers_to_remove_beside_the_reference(case, rule, most):
    reference = pytest.importorskip("cleanlab.filter").find_label_issues
    labels, probs = draw(*case)
    numbers = np.random.default_rng(case[0]).integers(0, most + 1, probs.shape[1])
    options = {"filter_by": rule, "num_to_remove_per_class": numbers.tolist()}
    with silent():
        expected = reference(labels, probs, n_jobs=1, **options)
        np.testing.assert_array_equal(find_label_issues(labels, probs, **options), expected)


@given(CASES, st.sampled_from(["prune_by_noise_rate", "confident_learning"]), st.sampled_from(SCORES))
def test_ranked_beside_the_reference(case, rule, score):
    module = pytest.importorskip("cleanlab.filter")
    labels, probs = draw(*case)
    probs = np.clip(probs, 0, 1)
    adjusted = {} if score == "confidence_weighted_entropy" else {"adjust_pred_probs": case[0] % 2 == 0}
    options = {"filter_by": rule, "return_indices_ranked_by": score, "rank_by_kwargs": adjusted}
    with silent():
        expected = module.find_label_issues(labels, probs, n_jobs=1, **options)
        np.testing.assert_array_equal(find_label_issues(labels, probs, **options), expected)
        mask = find_label_issues(labels, probs, filter_by=rule)
        order = order_label_issues(mask, labels, probs, rank_by=score, rank_by_kwargs=adjusted)
        np.testing.assert_array_equal(order, expected)


@given(CASES, st.booleans())
def test_other_joints_beside_the_reference(case, is_whole):
    module = pytest.importorskip("cleanlab.filter")
    labels, probs = draw(*case)
    k = probs.shape[1]
    joint = np.random.default_rng(case[0]).gamma(0.5, 10, (k, k))
    joint = joint.astype(int) if is_whole else joint
    with silent():
        for rule in PRUNING:
            options = {"confident_joint": joint, "filter_by": rule, "frac_noise": 0.6}
            expected = module.find_label_issues(labels, probs, n_jobs=1, **options)
            np.testing.assert_array_equal(find_label_issues(labels, probs, **options), expected)
        # Its own function for this starts processes, and counts only classes that occur.
        confusion = np.zeros((k, k), dtype=int).T
        np.add.at(confusion, (labels, probs.argmax(axis=1)), 1)
        confusion = module.calibrate_confident_joint(confusion, labels)
        expected = module.find_label_issues(labels, probs, n_jobs=1, confident_joint=confusion)
        ours = find_label_issues_using_argmax_confusion_matrix(labels, probs)
        np.testing.assert_array_equal(ours, expected)
    expected = module.find_predicted_neq_given(labels, probs)
    np.testing.assert_array_equal(find_predicted_neq_given(labels, probs), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "k"), [(20_000, 3), (4_000, 300)])
def test_many_rows_and_classes_beside_the_reference(n, k, dtype):
    module = pytest.importorskip("cleanlab.filter")
    labels, probs = draw(5, n, k, dtype=dtype)
    with silent():
        for rule in PRUNING:
            expected = module.find_label_issues(labels, probs, n_jobs=1, filter_by=rule)
            np.testing.assert_array_equal(find_label_issues(labels, probs, filter_by=rule), expected)


@pytest.mark.parametrize("rule", [*PRUNING, *OTHERS])
def test_row_order_and_class_order(rule):
    labels, probs = draw(1, 300, 5)
    rng = np.random.default_rng(2)
    rows, columns = rng.permutation(300), rng.permutation(5)
    mask = find_label_issues(labels, probs, filter_by=rule)
    assert mask.any()
    np.testing.assert_array_equal(find_label_issues(labels[rows], probs[rows], filter_by=rule), mask[rows])
    renamed = np.argsort(columns)[labels]
    moved = find_label_issues(renamed, probs[:, columns], filter_by=rule)
    if rule in OTHERS:
        np.testing.assert_array_equal(moved, mask)
    else:  # equal remainders are rounded by place, as in the reference
        assert (moved != mask).mean() < 0.02


@pytest.mark.parametrize("rule", [*PRUNING, *OTHERS])
def test_layouts_types_and_memory_maps_give_the_same(rule, tmp_path):
    labels, probs = draw(3, 400, 6, dtype=np.float32)
    expected = find_label_issues(labels, probs, filter_by=rule)
    np.save(tmp_path / "p.npy", probs)
    wide = np.empty((400, 12), dtype=np.float32)
    wide[:, ::2] = probs
    others = [
        np.load(tmp_path / "p.npy", mmap_mode="r"),
        torch.from_numpy(probs),
        np.asfortranarray(probs),
        wide[:, ::2],
        probs.astype(">f4"),
    ]
    for other in others[:-1]:
        np.testing.assert_array_equal(
            find_label_issues(torch.from_numpy(labels), other, filter_by=rule), expected
        )
    assert find_label_issues(labels.tolist(), others[-1], filter_by=rule).shape == (400,)


@pytest.mark.parametrize("rule", [*PRUNING, *OTHERS])
def test_block_size_changes_nothing(rule, monkeypatch):
    from tamis.statistics import labelled_rows, pruning

    labels, probs = draw(4, 500, 7, kind="ties")
    expected = find_label_issues(labels, probs, filter_by=rule)
    monkeypatch.setitem(labelled_rows.LabelledRows.__init__.__kwdefaults__, "block_elements", 20)
    for name in ("_TAKEN_ELEMENTS", "_COLUMN_ELEMENTS", "_SORTED_TOGETHER"):
        monkeypatch.setattr(pruning, name, 8)
    np.testing.assert_array_equal(find_label_issues(labels, probs, filter_by=rule), expected)


def test_both_is_the_intersection_and_perfect_predictions_have_no_issues():
    labels, probs = draw(6, 300, 4)
    first, second, both = (find_label_issues(labels, probs, filter_by=rule) for rule in PRUNING)
    np.testing.assert_array_equal(both, first & second)
    for rule in [*PRUNING, *OTHERS]:
        assert not find_label_issues(labels, np.eye(4)[labels], filter_by=rule).any()


def test_edges():
    for rule in [*PRUNING, *OTHERS]:
        with silent():
            assert not find_label_issues([0, 0], [[1.0], [1.0]], filter_by=rule).any()
            assert not find_label_issues([0, 0], [[0.9, 0.1], [0.8, 0.2]], filter_by=rule).any()
            assert find_label_issues([1], [[0.3, 0.7]], filter_by=rule).tolist() == [False]
            assert len(find_label_issues([3, 7], np.full((2, 9), 1 / 9), filter_by=rule)) == 2


def test_small_classes_are_left_alone_with_one_warning():
    labels, probs = [0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.99, 0.01]]
    with pytest.warns(TamisWarning, match="1 classes have at most 1 rows and are left alone: 1") as caught:
        assert not find_label_issues(labels, probs)[3]
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_arguments_without_effect_warn():
    labels, probs = draw(7, 60, 3)
    with pytest.warns(TamisWarning, match="frac_noise has no effect"):
        find_label_issues(labels, probs, filter_by="confident_learning", frac_noise=0.5)
    with pytest.warns(TamisWarning, match="confident_joint has no effect") as caught:
        find_label_issues(labels, probs, filter_by="confident_learning", confident_joint=np.eye(3))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_by": "guess"}, "filter_by is 'guess'; legal are 'prune_by_noise_rate'"),
        ({"multi_label": True}, "one label a row"),
        ({"frac_noise": 1.5}, r"frac_noise is 1\.5; legal are numbers in \[0, 1\]"),
        ({"min_examples_per_class": -1}, "min_examples_per_class is -1"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"num_to_remove_per_class": [1]}, "one whole number from 0 on for each of the 2 classes"),
        ({"num_to_remove_per_class": [1, -1]}, "one whole number from 0 on"),
        (
            {"num_to_remove_per_class": [1, 1], "filter_by": "confident_learning"},
            "does not go with filter_by",
        ),
        ({"confident_joint": np.eye(3)}, r"confident_joint has shape \(3, 3\); expected \(2, 2\)"),
        ({"confident_joint": np.full((2, 2), np.nan)}, "finite counts"),
        ({"return_indices_ranked_by": "luck"}, "method is 'luck'; legal are 'self_confidence'"),
        ({"return_indices_ranked_by": "self_confidence", "rank_by_kwargs": {"x": 1}}, "only legal key"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        find_label_issues([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], **options)


@pytest.mark.parametrize(
    ("labels", "probs", "message"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 1.0]], "row 1 holds NaN"),
        ([0, 1], [[0.5, 0.5], [0.2, 0.2]], r"row 1 sums to 0\.4"),
        ([0, 1], [[0.5, 0.5], [4.0, -3.0]], "row 1 has entries outside"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"labels row 1 is 2; legal are 0\.\.1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], r"labels has shape \(1,\)"),
        (["a", "b"], [[0.5, 0.5], [0.5, 0.5]], "labels has dtype"),
        ([0, 1], [0.5, 0.5], r"pred_probs has shape \(2,\)"),
        ([0, 1], [["x", "y"], ["x", "y"]], "pred_probs has dtype"),
        ([0, 1], [[0.5], [0.5, 0.5]], "not a table of numbers"),
    ],
)
def test_bad_data(labels, probs, message):
    for function in (find_label_issues, find_predicted_neq_given):
        with pytest.raises(InputError, match=message):
            function(labels, probs)


def test_bad_masks():
    with pytest.raises(InputError, match=r"label_issues_mask has shape \(1,\)"):
        order_label_issues([True], [0, 1], np.eye(2))
    with pytest.raises(InputError, match="dtype int64"):
        order_label_issues([0, 1], [0, 1], np.eye(2))


def test_verbose_prints_the_number(capsys):
    find_label_issues([0, 0, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]], verbose=True)
    assert capsys.readouterr().out == "Number of label issues found: 1\n"


def test_planted_noise_is_flagged():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 3000)
    logits = rng.normal(size=(3000, 4)) + 4 * np.eye(4)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = rng.random(3000) < 0.2
    labels = np.where(is_wrong, (truth + 1) % 4, truth)
    for rule in [*PRUNING, *OTHERS]:
        mask = tamis.find_label_issues(labels, probs, filter_by=rule)
        assert is_wrong[mask].mean() > 0.85
        assert mask[is_wrong].mean() > 0.85


def test_torch_is_not_loaded():
    code = (
        "import sys, tamis; tamis.find_label_issues([0, 1], [[0.9, 0.1], [0.2, 0.8]]); "
        "tamis.compute_confident_joint([0, 1], [[0.9, 0.1], [0.2, 0.8]]); "
        "assert not {'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
