"""Outliers: hand numbers, a comparison with the local outlier factor, planted ones and edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import LocalOutlierFactor

from tamis.detectors.outlier import outliers
from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors


def blobs(seed=0):
    """Return rows around five directions, the last 20 anywhere."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 24))
    rows = centres[rng.integers(0, 5, size=1000)] + 0.4 * rng.normal(size=(1000, 24))
    rows[980:] = 2.0 * rng.normal(size=(20, 24))
    return rows, np.arange(1000) >= 980


def test_by_hand():
    # Logarithms of the distances are 0, 1, ..., 4 units of log(2) below log(0.8).
    similarities = 1.0 - 0.05 * 2.0 ** np.arange(5)[:, None]
    found = outliers(similarities, k=1, threshold=1.0)
    # The median is 2; the upper half lies 1 and 2 above it: spread 1.4826 * 1.5.
    z = (np.arange(5) - 2.0) / (1.4826 * 1.5)
    np.testing.assert_allclose(found.scores, 1.0 / (1.0 + np.exp(z - 1.0)), rtol=1e-6)
    assert not found.is_issue.any()


def test_planted_outliers_are_found_as_well_as_by_local_outlier_factor():
    rows, is_out = blobs()
    found = outliers(nearest_neighbors(rows, k=10).similarities)
    ours = average_precision_score(is_out, -found.scores)
    factor = LocalOutlierFactor(n_neighbors=10, metric="cosine", algorithm="brute").fit(rows)
    assert ours > 0.95
    assert ours >= average_precision_score(is_out, -factor.negative_outlier_factor_) - 0.02
    assert found.is_issue[is_out].mean() > 0.9
    assert found.is_issue[~is_out].mean() < 0.01


def test_row_order_and_scale_do_not_matter():
    rows, _ = blobs(1)
    order = np.random.default_rng(2).permutation(1000)
    plain = outliers(nearest_neighbors(rows, k=10).similarities)
    shuffled = outliers(nearest_neighbors(3.0 * rows[order], k=10).similarities)
    np.testing.assert_allclose(shuffled.scores, plain.scores[order], atol=1e-6)


def test_scores_fall_strictly_with_distance():
    rng = np.random.default_rng(3)
    similarities = np.sort(rng.uniform(0.0, 0.9, size=500))[:, None]
    assert (np.diff(outliers(similarities, k=1).scores) > 0).all()


def test_edges():
    assert len(outliers(np.empty((0, 3))).scores) == 0
    alone = outliers(np.full((3, 2), -np.inf))
    np.testing.assert_array_equal(alone.scores, [1.0, 1.0, 1.0])
    assert not alone.is_issue.any()
    assert not outliers(np.ones((5, 2))).is_issue.any()
    # A missing neighbour does not count as a far one.
    partly = np.c_[np.linspace(0.8, 0.95, 50), np.linspace(0.8, 0.95, 50)]
    partly[10, 1] = -np.inf
    np.testing.assert_allclose(outliers(partly).scores, outliers(partly[:, :1]).scores)


@pytest.mark.parametrize(
    ("similarities", "options", "message"),
    [
        (np.zeros(3), {}, r"shape \(3,\)"),
        (np.full((3, 1), np.nan), {}, "holds NaN"),
        (np.zeros((3, 1)), {"k": 0}, "k is 0"),
        (np.zeros((3, 1)), {"threshold": 0.0}, "threshold 0.0"),
    ],
)
def test_wrong_arguments_are_explained(similarities, options, message):
    with pytest.raises(InputError, match=message):
        outliers(similarities, **options)
