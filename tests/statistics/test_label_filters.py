"""Filters: masks by hand, against the reference package, intersections, order, edges, noise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from tamis.errors import InputError, TamisWarning
from tamis.statistics.confident_joint import confident_joint
from tamis.statistics.label_filters import (
    argmax_confusion,
    low_scores,
    off_diagonal,
    predicted_neq_given,
    prune_by_both,
    prune_by_class,
    prune_by_noise_rate,
)
from tamis.statistics.label_quality import normalized_margin, self_confidence
from tamis.statistics.latent import calibrate_joint

PRUNING = {
    "prune_by_noise_rate": prune_by_noise_rate,
    "prune_by_class": prune_by_class,
    "both": prune_by_both,
}
ROW_BY_ROW = {"confident_learning": off_diagonal, "predicted_neq_given": predicted_neq_given}
FILTERS = [*PRUNING.values(), *ROW_BY_ROW.values()]


def draw(n, k, seed=0, concentration=0.5):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, concentration), n)
    labels = (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    labels[: 4 * k] = np.tile(np.arange(k), 4)
    return labels, probs


def test_by_hand():
    # Three rows given 0, four given 1. The joint says: one row of 0 is a 1, two rows of 1 are 0.
    labels = [0, 0, 0, 1, 1, 1, 1]
    given = [0.9, 0.4, 0.3, 0.8, 0.2, 0.1, 0.45]
    probs = [[g, 1 - g] if label == 0 else [1 - g, g] for label, g in zip(labels, given, strict=True)]
    joint = torch.tensor([[2, 1], [2, 2]])
    expected = [False, False, True, False, True, True, False]
    for prune in PRUNING.values():
        assert prune(labels, probs, joint=joint).tolist() == expected
    assert predicted_neq_given(labels, probs).tolist() == [False, True, True, False, True, True, True]
    # Half of the counted noise: 0.5 and 1 rows, cut to 0 and 1.
    assert prune_by_noise_rate(labels, probs, joint=joint, frac_noise=0.5).nonzero().tolist() == [[5]]
    # Class 0 has only three rows and is left alone; three rows must stay in class 1, so one may go.
    with pytest.warns(TamisWarning, match="left alone: 0"):
        mask = prune_by_noise_rate(labels, probs, joint=joint, min_examples_per_class=3)
    assert mask.nonzero().tolist() == [[5]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_against_the_reference_package(seed):
    issues = pytest.importorskip("cleanlab.filter")
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 7))
    labels, probs = draw(int(rng.integers(4 * k, 200)), k, seed)
    frac, smallest = float(rng.choice([1.0, 0.5, 0.3])), int(rng.choice([1, 5]))
    counts = torch.bincount(torch.from_numpy(labels), minlength=k)
    joint = calibrate_joint(confident_joint(labels, probs), counts, compat=True)
    options = {"frac_noise": frac, "min_examples_per_class": smallest}
    for name, prune in PRUNING.items():
        expected = issues.find_label_issues(labels, probs, filter_by=name, n_jobs=1, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TamisWarning)
            np.testing.assert_array_equal(prune(labels, probs, joint=joint, **options), expected)
    for name, rule in ROW_BY_ROW.items():
        expected = issues.find_label_issues(labels, probs, filter_by=name, n_jobs=1)
        np.testing.assert_array_equal(rule(labels, probs), expected)
    for score in (self_confidence, normalized_margin):
        expected = issues.find_label_issues(labels, probs, filter_by=f"low_{score.__name__}", n_jobs=1)
        ours = low_scores(score(labels, probs), int(off_diagonal(labels, probs).sum()))
        np.testing.assert_array_equal(ours, expected)
    expected = issues.find_label_issues_using_argmax_confusion_matrix(labels, probs)
    confusion = calibrate_joint(argmax_confusion(labels, probs), counts, compat=True)
    np.testing.assert_array_equal(prune_by_noise_rate(labels, probs, joint=confusion), expected)


@pytest.mark.parametrize("seed", range(5))
def test_both_is_the_intersection(seed):
    labels, probs = draw(150, 5, seed)
    first, second = prune_by_noise_rate(labels, probs), prune_by_class(labels, probs)
    assert torch.equal(prune_by_both(labels, probs), first & second)
    assert bool((first & second).any())


@pytest.mark.parametrize("rule", FILTERS)
def test_row_order_and_perfect_predictions(rule):
    labels, probs = draw(150, 5)
    rows = np.random.default_rng(1).permutation(150)
    np.testing.assert_array_equal(rule(labels[rows], probs[rows]), rule(labels, probs)[rows])
    assert not rule(labels, np.eye(5)[labels]).any()
    assert not (rule(labels, probs).numpy() & (probs.argmax(axis=1) == labels)).any()


@pytest.mark.parametrize("rule", FILTERS)
def test_one_class_flags_nothing(rule):
    assert not rule([0, 0], [[1.0], [1.0]]).any()


@pytest.mark.parametrize("prune", PRUNING.values())
def test_small_classes_are_left_alone_with_one_warning(prune):
    labels, probs = draw(60, 3)
    labels[labels == 2] = 0
    labels[7] = 2
    probs[7] = [0.98, 0.01, 0.01]
    with pytest.warns(TamisWarning, match="1 classes have at most 1 rows and are left alone: 2") as caught:
        assert not prune(labels, probs)[7]
    assert len(caught) == 1


def test_no_more_than_counted_are_pruned():
    labels, probs = draw(300, 4)
    counts = torch.bincount(torch.from_numpy(labels), minlength=4)
    joint = calibrate_joint(confident_joint(labels, probs), counts)
    mask = prune_by_noise_rate(labels, probs, joint=joint)
    for k in range(4):
        assert mask[torch.from_numpy(labels) == k].sum() <= joint[k].sum() - joint[k, k]
    assert not prune_by_noise_rate(labels, probs, joint=joint, frac_noise=0.0).any()


def test_low_scores_by_hand_and_limits():
    scores = torch.tensor([0.5, 0.1, 0.1, 0.9])
    assert low_scores(scores, 1).tolist() == [False, True, False, False]
    assert not low_scores(scores, 0).any()
    assert low_scores(scores, 4).all()
    with pytest.raises(InputError, match=r"count is 5; legal are 0\.\.4"):
        low_scores(scores, 5)


def test_bad_input_is_refused():
    for prune in PRUNING.values():
        with pytest.raises(InputError, match=r"frac_noise is 1\.5"):
            prune([0, 0], [[1.0, 0.0], [1.0, 0.0]], frac_noise=1.5)
        with pytest.raises(InputError, match="min_examples_per_class is -1"):
            prune([0, 0], [[1.0, 0.0], [1.0, 0.0]], min_examples_per_class=-1)
        with pytest.raises(InputError, match=r"joint has shape \(3, 3\); expected \(2, 2\)"):
            prune([0, 0], [[1.0, 0.0], [1.0, 0.0]], joint=torch.eye(3))
    for rule in FILTERS:
        with pytest.raises(InputError, match="look like logits"):
            rule([0], [[2.0, -2.0]])


@pytest.mark.parametrize("rule", FILTERS)
def test_planted_noise_is_flagged(rule):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 3000)
    logits = rng.normal(size=(3000, 4)) + 4 * np.eye(4)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = rng.random(3000) < 0.2
    labels = np.where(is_wrong, (truth + 1) % 4, truth)
    mask = rule(labels, probs).numpy()
    assert is_wrong[mask].mean() > 0.85
    assert mask[is_wrong].mean() > 0.85
