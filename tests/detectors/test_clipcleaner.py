"""The selection with a vision-language model: rules, fill, order, edges, planted noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

from tamis.detectors import CLIPCleaner
from tamis.detectors.clip_rules import (
    ClipScores,
    cleaner_heap,
    clip_scores,
    consistency,
    fill_empty_classes,
    four_rules,
    likelihood_in_class,
    log_likelihood,
)
from tamis.detectors.visual_probabilities import visual_probabilities
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision

ATTRIBUTES = ("clean_scores_", "suggested_labels_", "keep_", "is_issue_", "is_filled_", "probs_lr_")


def space(n=240, k=4, d=8, seed=0, rate=0.2, spread=0.4):
    """Return labels, image features, prompts and true labels in one space."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    images = (np.eye(d)[truth] + rng.normal(scale=spread, size=(n, d))) * rng.uniform(0.5, 3, (n, 1))
    prompts = [np.eye(d)[[c]] + rng.normal(scale=0.1, size=(2 + c % 2, d)) for c in range(k)]
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return labels, images, prompts, truth


def test_scores_by_hand():
    probs = np.array([[0.8, 0.2], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]])
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(log_likelihood(probs, labels), np.log([0.8, 0.2, 0.4, 0.5]))
    np.testing.assert_allclose(likelihood_in_class(probs, labels), [1.0, 0.0, 0.5, 1.0], atol=1e-12)
    np.testing.assert_allclose(consistency(probs, labels), [1.0, 0.25, 2 / 3, 1.0])
    assert log_likelihood([[0.0, 1.0]], [0])[0] == pytest.approx(-708.4, abs=0.1)


def test_the_whole_selection_against_the_algorithm_written_out():
    labels, images, prompts, _ = space()
    cleaner = CLIPCleaner().fit(labels, images, prompts)
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    s = np.stack(
        [np.exp(unit @ (t / np.linalg.norm(t, axis=1, keepdims=True)).T / 0.07).sum(1) for t in prompts], 1
    )
    zero = s / s.sum(1, keepdims=True)
    model = LogisticRegression(class_weight="balanced", max_iter=10000).fit(unit, labels)
    visual = model.predict_proba(unit)
    np.testing.assert_allclose(cleaner.probs_zero_, zero, atol=1e-12)
    np.testing.assert_allclose(cleaner.probs_lr_, visual, atol=1e-4)
    kept = np.ones(len(labels), dtype=bool)
    for probs in (zero, visual):
        given = probs[np.arange(len(labels)), labels]
        kept &= given / probs.max(1) >= 0.8
        for c in range(4):
            rows = np.flatnonzero(labels == c)
            u = np.log(given[rows])
            u = np.sort((u - u.min()) / np.ptp(u))[:, None]
            mixture = GaussianMixture(2, random_state=0).fit(u)
            ranked = rows[np.argsort(np.log(given[rows]))]
            kept[ranked] &= mixture.predict_proba(u)[:, mixture.means_[:, 0].argmax()] >= 0.5
    np.testing.assert_array_equal(cleaner.keep_, kept)
    np.testing.assert_array_equal(cleaner.is_issue_, ~kept)


def test_attributes_and_reading_early():
    labels, images, prompts, _ = space(60)
    cleaner = CLIPCleaner()
    with pytest.raises(NotFittedError, match="call fit first"):
        _ = cleaner.keep_
    assert cleaner.fit(labels, images, prompts) is cleaner
    assert cleaner.classes_.tolist() == [0, 1, 2, 3]
    assert ((cleaner.clean_scores_ >= 0) & (cleaner.clean_scores_ <= 1)).all()
    np.testing.assert_allclose(cleaner.probs_lr_.sum(1), 1.0)


@pytest.mark.parametrize("options", [{}, {"lr_cv": 3}])
def test_row_order_class_codes_and_scale_do_not_matter(options):
    labels, images, prompts, _ = space(150)
    images[7], labels[7] = images[3], (labels[3] + 1) % 4
    first = CLIPCleaner(**options).fit(labels, images, prompts)
    rows = np.random.default_rng(1).permutation(150)
    moved = CLIPCleaner(**options).fit(labels[rows], images[rows], prompts)
    for name in ATTRIBUTES:
        np.testing.assert_allclose(getattr(moved, name), getattr(first, name)[rows], rtol=0, atol=1e-6)
    classes = np.array([2, 0, 3, 1])  # new code c is old class classes[c]
    renamed = CLIPCleaner(**options).fit(np.argsort(classes)[labels], images, [prompts[c] for c in classes])
    np.testing.assert_allclose(renamed.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(renamed.keep_, first.keep_)
    np.testing.assert_array_equal(classes[renamed.suggested_labels_], first.suggested_labels_)
    np.testing.assert_allclose(renamed.probs_lr_, first.probs_lr_[:, classes], atol=1e-6)
    if not options:  # folds are dealt by a hash of the features
        scaled = CLIPCleaner().fit(labels, images * 7, [each * 0.1 for each in prompts])
        np.testing.assert_allclose(scaled.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)


def test_rounding_does_not_decide_where_prompts_tell_no_classes_apart():
    labels, images, prompts, _ = space(150)
    first, scaled = (CLIPCleaner().fit(labels, images * by, [prompts[0]] * 4) for by in (1.0, 3.7))
    assert (first.scores_.zero_loss == 1).all()
    np.testing.assert_array_equal(scaled.keep_, first.keep_)
    # The same at probabilities next to 1.
    probs = np.array([[1.0, 1e-17], [1.0 - 1e-15, 1e-15], [1.0, 0.0]])
    assert likelihood_in_class(probs, [0, 0, 0]).tolist() == [1.0, 1.0, 1.0]


def test_the_selection_shrinks_with_both_thresholds_and_lies_in_each_rule():
    labels, images, prompts, _ = space(200, spread=0.6)
    cleaner = CLIPCleaner().fit(labels, images, prompts)
    scores = clip_scores(cleaner.probs_zero_, cleaner.probs_lr_, labels)

    def kept(gmm, cons):
        return four_rules(scores, labels, 4, theta_gmm=gmm, theta_cons=cons)

    for name in ("theta_gmm", "theta_cons"):
        sets = [four_rules(scores, labels, 4, **{name: value}) for value in (0.0, 0.2, 0.5, 0.8, 1.0)]
        assert all((larger | ~smaller).all() for larger, smaller in pairwise(sets))
    assert kept(0.0, 0.0).all()
    most = scores.zero_consistency >= 0.8
    for each in (most, scores.visual_consistency >= 0.8, cleaner_heap(scores.zero_loss, labels, 4) >= 0.5):
        assert (each | ~kept(0.5, 0.8)).all()
    strict = kept(0.0, 1.0)
    is_both = (cleaner.probs_zero_.argmax(1) == labels) & (cleaner.probs_lr_.argmax(1) == labels)
    np.testing.assert_array_equal(strict, is_both)


def test_fill_takes_the_likely_end():
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    scores = np.array([0.0, 0.5, 1.0, 0.0, 0.6, 1.0, 0.0, 1.0])
    keep = np.array([1, 1, 0, 0, 0, 0, 1, 0], dtype=bool)
    filled = fill_empty_classes(keep, labels, scores, 3)
    assert np.flatnonzero(filled & ~keep).tolist() == [5]
    official = fill_empty_classes(keep, labels, scores, 3, fill="official")
    assert np.flatnonzero(official & ~keep).tolist() == [3]
    # Nothing kept at all: max(1, floor(8 / 9)) = 1 a class, none for the absent class 3.
    nothing = fill_empty_classes(np.zeros(8, dtype=bool), labels, scores, 4)
    assert np.flatnonzero(nothing).tolist() == [2, 5, 7]
    # floor(40 / 4) = 10 is more than the one row that the other class kept.
    many = np.repeat([0, 1], 20)
    keep = np.arange(40) == 0
    assert fill_empty_classes(keep, many, np.arange(40.0), 2)[20:].sum() == 10
    with pytest.raises(InputError, match="legal are 'highest' and 'official'"):
        fill_empty_classes(keep, many, np.arange(40.0), 2, fill="lowest")


def test_small_constant_and_absent_classes():
    scores = np.array([0.3, 0.7, 0.7, 0.1, 0.5, 0.9])
    labels = np.array([0, 1, 1, 3, 3, 3])
    np.testing.assert_array_equal(cleaner_heap(scores, labels, 5)[:3], 1.0)
    probs = np.full((4, 3), 1 / 3)
    given = np.array([0, 0, 1, 1])
    every = clip_scores(probs, probs, given)
    assert all((each == 1.0).all() for each in every)
    assert four_rules(ClipScores(*every), given, 3).all()
    labels, images, prompts, _ = space(80, k=4)
    labels[labels == 2] = 0
    cleaner = CLIPCleaner().fit(labels, images, prompts)
    assert (cleaner.probs_lr_[:, 2] == 0).all()
    assert np.isfinite(cleaner.clean_scores_).all()
    one = CLIPCleaner().fit([1, 1], [[1.0, 0.0], [0.0, 1.0]], [[[1.0, 0.0]], [[0.0, 1.0]]])
    assert one.probs_lr_.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert one.keep_.tolist() == [False, True]


def test_copies_share_a_fold():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20, 3))
    features, labels = np.repeat(base, 2, axis=0), np.arange(40) % 2
    # Two copies with two labels: a model that never saw either knows nothing.
    probs = visual_probabilities(features, labels, 2, cv=20)
    np.testing.assert_allclose(probs[0::2], probs[1::2], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 7]}, "labels row 1 is 7"),
        ({"images": [[1.0, np.nan], [0.0, 1.0]]}, r"image_features row 0 holds NaN"),
        ({"prompts": [[[1.0, 0.0]], np.zeros((0, 2))]}, r"text_features\[1\] has shape \(0, 2\)"),
        ({"prompts": [[[1.0, 0.0]], [[1.0, 0.0, 2.0]]]}, r"expected \(prompts, 2\)"),
        ({"options": {"temperature": 0.0}}, "temperature is 0.0"),
        ({"options": {"theta_cons": -1.0}}, "theta_cons is -1.0"),
        ({"options": {"lr_cv": 1}}, "lr_cv is 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"labels": [0, 1], "images": [[1.0, 0.0], [0.0, 1.0]], "prompts": [[[1.0, 0.0]], [[0.0, 1.0]]]}
    given |= {"options": {}} | change
    with pytest.raises(InputError, match=message):
        CLIPCleaner(**given["options"]).fit(given["labels"], given["images"], given["prompts"])
    with pytest.raises(InputError, match="probs has shape"):
        consistency([[-0.1, 1.1]], [0])


@pytest.mark.parametrize("options", [{}, {"lr_cv": 5}])
def test_planted_noise(options):
    labels, images, prompts, truth = space(1200, seed=3, rate=0.3)
    cleaner = CLIPCleaner(**options).fit(labels, images, prompts)
    is_wrong = labels != truth
    assert average_precision(cleaner.clean_scores_, is_wrong) > 0.95
    assert (labels == truth)[cleaner.keep_].mean() > 0.99
    assert cleaner.keep_[~is_wrong].mean() > 0.5
    assert (cleaner.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.85
