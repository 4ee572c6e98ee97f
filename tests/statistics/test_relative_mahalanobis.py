"""Class scatter, relative Mahalanobis scores, and distances without the row itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tamis.errors import InputError
from tamis.metrics.ranking import auroc
from tamis.statistics.class_scatter import ClassScatter
from tamis.statistics.relative_mahalanobis import (
    beyond_quantile,
    class_distances,
    gaussians,
    relative_mahalanobis,
    usual_epsilon,
)


def blobs(sizes=(6, 9, 12), d=4, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    mix = rng.normal(size=(d, d))
    features = rng.normal(size=(len(sizes), d))[labels] * 3 + rng.normal(size=(len(labels), d)) @ mix
    return features + offset, labels


def slow_within(features, labels):
    total = np.zeros((features.shape[1],) * 2)
    for c in set(labels):
        away = features[labels == c] - features[labels == c].mean(axis=0)
        total += away.T @ away
    return total


def test_scatter_against_direct_sums():
    features, labels = blobs(offset=1e6)
    state = ClassScatter(4, 4).partial_fit(features, labels)
    centred = features - features.mean(axis=0)
    np.testing.assert_allclose(state.within, slow_within(features, labels), rtol=1e-8)
    np.testing.assert_allclose(state.total, centred.T @ centred, rtol=1e-8)
    np.testing.assert_allclose(state.mean, features.mean(axis=0), rtol=1e-13)
    assert state.counts.tolist() == [6, 9, 12, 0]
    assert (state.means[3] == 0).all()


def test_blocks_merge_order_and_class_codes_do_not_matter():
    features, labels = blobs()
    whole = ClassScatter(3, 4).partial_fit(features, labels)
    parts = [ClassScatter(3, 4).partial_fit(features[i::5], labels[i::5]) for i in range(5)]
    codes = torch.tensor([2, 0, 1])
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        merged = ClassScatter(3, 4)
        for place in order:
            merged.merge(parts[place])
        np.testing.assert_allclose(merged.within, whole.within, atol=1e-10)
        np.testing.assert_allclose(merged.means, whole.means, atol=1e-12)
    renamed = ClassScatter(3, 4).partial_fit(features, codes[labels])
    np.testing.assert_allclose(whole.reindexed(codes, 3).means, renamed.means, atol=1e-12)
    np.testing.assert_allclose(whole.reindexed(codes, 3).within, renamed.within, atol=1e-10)


def test_score_against_scipy():
    features, labels = blobs()
    queries, _ = blobs(seed=5)
    inside = features[labels == 0]
    state, background = (
        ClassScatter(1, 4).partial_fit(inside),
        ClassScatter(3, 4).partial_fit(features, labels),
    )
    got = relative_mahalanobis(queries, state, background, epsilon=0.1)
    eye = 0.1 * np.eye(4)
    near = np.linalg.inv(np.cov(inside.T, bias=True) + eye)
    wide = np.linalg.inv(np.cov(features.T, bias=True) + eye)
    expected = [
        mahalanobis(x, inside.mean(axis=0), near) ** 2 - mahalanobis(x, features.mean(axis=0), wide) ** 2
        for x in queries
    ]
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_classes_with_a_shared_covariance():
    features, labels = blobs(sizes=(40, 50, 60))
    state = ClassScatter(4, 4).partial_fit(features, labels)
    got = relative_mahalanobis(features, state, epsilon=0.0)
    shared, whole = (
        np.linalg.inv(slow_within(features, labels) / 150),
        np.linalg.inv(np.cov(features.T, bias=True)),
    )
    expected = [
        min(mahalanobis(x, features[labels == c].mean(axis=0), shared) ** 2 for c in range(3))
        - mahalanobis(x, features.mean(axis=0), whole) ** 2
        for x in features
    ]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    inside = gaussians(state, 0.0)
    to = class_distances(features, labels, inside, gaussians(state, 0.0, pooled=True))
    nearest = np.where(to.given <= to.rival, labels, to.rival_class)
    model = LinearDiscriminantAnalysis(priors=np.full(3, 1 / 3)).fit(features, labels)
    np.testing.assert_array_equal(nearest, model.predict(features))


@pytest.mark.parametrize("sizes", [(6, 9, 12), (2, 3, 30), (1, 8, 9), (20,)])
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_without_self_equals_a_fit_without_the_row(sizes, epsilon):
    features, labels = blobs(sizes)
    n, k = len(labels), len(sizes)
    state = ClassScatter(k, 4).partial_fit(features, labels)
    inside, around = gaussians(state, epsilon), gaussians(state, epsilon, pooled=True)
    to = class_distances(features, labels, inside, around, leave_one_out=True, class_block=2)
    for row in range(n):
        rest = np.arange(n) != row
        # The sum of the shrinkage stays what it was with all rows.
        kept = epsilon * n / (n - 1)
        part = ClassScatter(k, 4).partial_fit(features[rest], labels[rest])
        own = class_distances(
            features[[row]], labels[[row]], gaussians(part, kept), gaussians(part, kept, pooled=True)
        )
        if not (labels[rest] == labels[row]).any():
            assert to.given[row] == np.inf
        else:
            np.testing.assert_allclose(to.given[row], own.given[0], rtol=1e-7)
        np.testing.assert_allclose(to.rival[row], own.rival[0], rtol=1e-7)
        np.testing.assert_allclose(to.background[row], own.background[0], rtol=1e-7)
        assert to.rival_class[row] == own.rival_class[0]


def test_linear_maps_do_not_matter_without_shrinkage():
    features, labels = blobs(sizes=(30, 40))
    queries, _ = blobs(seed=2)
    turn = np.random.default_rng(1).normal(size=(4, 4)) * [1e-6, 1.0, 1e3, 1e6]
    scores = [
        relative_mahalanobis(q, ClassScatter(2, 4).partial_fit(f, labels), epsilon=0.0)
        for q, f in ((queries, features), (queries @ turn, features @ turn))
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6, atol=1e-6)


def test_trusted_rows_score_lower_than_others_and_the_quantile_holds():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 8))
    trusted, fresh, other = (
        rng.normal(size=(2000, 8)) @ mix,
        rng.normal(size=(4000, 8)) @ mix,
        3 * rng.normal(size=(2000, 8)),
    )
    state = ClassScatter(1, 8).partial_fit(trusted)
    background = ClassScatter(1, 8).partial_fit(np.concatenate([trusted, other]))
    clean, noise = (relative_mahalanobis(rows, state, background) for rows in (fresh, other))
    is_other = np.repeat([False, True], [4000, 2000])
    assert auroc(-torch.cat([clean, noise]).numpy(), is_other) > 0.9
    for rate in (0.01, 0.1):
        dropped = beyond_quantile(clean[2000:], clean[:2000], rate)
        assert abs(float(dropped.double().mean()) - rate) < 0.015
        assert beyond_quantile(noise, clean[:2000], rate).double().mean() > 0.5


def test_singular_covariances():
    features, labels = blobs()
    flat = np.concatenate([features, features[:, :1]], axis=1)
    state = ClassScatter(3, 5).partial_fit(flat, labels)
    with pytest.raises(InputError, match="the covariance is singular with epsilon 0"):
        gaussians(state, 0.0)
    assert torch.isfinite(relative_mahalanobis(flat, state)).all()
    few = ClassScatter(1, 50).partial_fit(np.random.default_rng(0).normal(size=(5, 50)))
    with pytest.raises(InputError, match="fewer rows than features"):
        gaussians(few, 0.0)
    constant = ClassScatter(1, 2).partial_fit(np.ones((3, 2)))
    assert usual_epsilon(constant) == 1.0
    assert relative_mahalanobis(np.ones((1, 2)), constant).tolist() == [0.0]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: ClassScatter(1, 0), "n_features is 0"),
        (lambda: ClassScatter(2, 1).partial_fit([[1.0]]), "labels are missing; there are 2 classes"),
        (lambda: ClassScatter(2, 1).partial_fit([[1.0]], [3]), "labels row 0 is 3"),
        (lambda: ClassScatter(1, 1).partial_fit([[1.0], [np.nan]]), "row 1 holds NaN"),
        (lambda: ClassScatter(1, 1).partial_fit([[1e200], [-1e200]]), "too large to be squared"),
        (lambda: ClassScatter(1, 1).merge(ClassScatter(1, 2)), "both must be made for the same"),
        (lambda: gaussians(ClassScatter(1, 1), 1.0), "there is no row"),
        (lambda: gaussians(ClassScatter(1, 1).partial_fit([[1.0]]), -1.0), "epsilon is -1.0"),
        (lambda: usual_epsilon(ClassScatter(1, 1), -1.0), "shrinkage is -1.0"),
        (lambda: beyond_quantile(torch.ones(1), torch.ones(1), 2.0), "rate is 2.0 of 1 clean scores"),
        (lambda: beyond_quantile(torch.ones(1), torch.ones(0), 0.5), "of 0 clean scores"),
    ],
)
def test_bad_input_is_refused(action, message):
    with pytest.raises(InputError, match=message):
        action()


def test_rows_left_out():
    state = ClassScatter(2, 1).partial_fit([[1.0], [np.nan], [3.0]], [0, -1, 0])
    assert state.counts.tolist() == [2, 0]
    assert state.within.tolist() == [[2.0]]
    assert ClassScatter(1, 1).partial_fit([[np.nan]], [-1]).count == 0
