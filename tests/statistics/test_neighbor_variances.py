"""Corrected variances: by hand, against loops, properties, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics import neighbor_variances
from tamis.statistics.class_moments import ClassMoments
from tamis.statistics.neighbor_variances import (
    NeighborCorrection,
    borrowing_share,
    corrected_variances,
)

COUNTS = [5, 1, 9, 2, 40, 41, 3, 0, 7]


def moments(seed=0, counts=COUNTS, d=4, scale=1.0):
    rng = np.random.default_rng(seed)
    counts = torch.tensor(counts)
    variances = torch.tensor(rng.gamma(2.0, size=(len(counts), d))) * (counts > 1)[:, None]
    return ClassMoments(torch.tensor(rng.normal(size=(len(counts), d))) * scale, variances, counts)


def minmax(values, k, lenders):
    low, high = min(values[j] for j in lenders), max(values[j] for j in lenders)
    return {j: (values[j] - low) / (high - low) if high > low else 0.0 for j in lenders}


def by_loops(found, rule):
    mu, var, n = (np.asarray(each, dtype=float) for each in found)
    big = [k for k in range(len(n)) if n[k] > 1]
    overall = sum(n[k] * var[k] for k in big) / sum(n[k] for k in big)
    corrected, borrowed = [], []
    for k in range(len(n)):
        lenders = [j for j in big if j != k]
        d_m = {j: np.linalg.norm(mu[k] ** 2 - mu[j] ** 2) for j in lenders}
        d_v = {j: np.linalg.norm(var[k] - var[j]) for j in lenders}
        if rule.normalize == "minmax":
            d_m, d_v = minmax(d_m, k, lenders), minmax(d_v, k, lenders)
        near = sorted(lenders, key=lambda j: d_m[j])[: rule.n_neighbors]
        weights = [
            n[j]
            * math.exp(-(d_m[j] ** 2) / (2 * rule.sigma_mean**2) - d_v[j] ** 2 / (2 * rule.sigma_variance**2))
            for j in near
        ]
        lent = sum(w * var[j] for w, j in zip(weights, near, strict=True)) / sum(weights)
        alpha = 0.0 if n[k] > rule.tau else 1 / (1 + math.log(1 + rule.beta * max(n[k] - 1, 0)))
        borrowed.append(lent)
        corrected.append((1 - alpha) * var[k] + alpha * ((1 - rule.gamma) * lent + rule.gamma * overall))
    return np.array(corrected), np.array(borrowed), overall


def test_by_hand():
    # Class 0 has one row; class 1 (variance 2, 4 rows) is nearer in squared means than class 2 (variance 6).
    found = ClassMoments(
        torch.tensor([[1.0], [-1.5], [2.0]], dtype=torch.float64),
        torch.tensor([[0.0], [2.0], [6.0]], dtype=torch.float64),
        torch.tensor([1, 4, 4]),
    )
    result = corrected_variances(found, NeighborCorrection(n_neighbors=2, gamma=0.1))
    assert result.neighbors[0].tolist() == [1, 2]
    d_1, d_2 = (1 - 2.25) ** 2, (1 - 4.0) ** 2
    w_1, w_2 = 4 * math.exp(-d_1 / 2 - 4 / 2), 4 * math.exp(-d_2 / 2 - 36 / 2)
    lent = (w_1 * 2 + w_2 * 6) / (w_1 + w_2)
    assert result.borrowed[0].item() == pytest.approx(lent)
    assert result.overall.item() == 4.0
    assert result.corrected[0].item() == pytest.approx(0.9 * lent + 0.1 * 4.0)
    alpha = 1 / (1 + math.log(1.3))
    lent_to_1 = 6.0  # the only other class of two rows
    assert result.corrected[1].item() == pytest.approx((1 - alpha) * 2 + alpha * (0.9 * lent_to_1 + 0.1 * 4))
    assert result.neighbors[1].tolist() == [2, -1]


@pytest.mark.parametrize("normalize", ["none", "minmax"])
@pytest.mark.parametrize("n_neighbors", [1, 3, 25])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops(normalize, n_neighbors, seed):
    found = moments(seed)
    rule = NeighborCorrection(
        n_neighbors=n_neighbors,
        normalize=normalize,
        gamma=0.3,
        beta=0.5,
        sigma_mean=0.7,
        sigma_variance=1.9,
    )
    result = corrected_variances(found, rule)
    corrected, borrowed, overall = by_loops(found, rule)
    np.testing.assert_allclose(result.borrowed, borrowed, rtol=1e-10)
    np.testing.assert_allclose(result.overall, overall, rtol=1e-12)
    np.testing.assert_allclose(result.corrected, corrected, rtol=1e-10)


def test_share_falls_from_one_to_zero():
    share = borrowing_share(torch.arange(60), beta=0.1, tau=40)
    assert share[0] == share[1] == 1.0
    assert (share[1:41].diff() < 0).all()
    assert share[40] > 0
    assert not share[41:].any()


def test_gamma_one_takes_the_global_variance_only():
    found = moments(counts=[1, 1, 8, 9])
    result = corrected_variances(found, NeighborCorrection(gamma=1.0))
    torch.testing.assert_close(result.corrected[:2], result.overall.expand(2, -1))


def test_infinite_widths_average_by_count():
    found = moments()
    rule = NeighborCorrection(n_neighbors=25, gamma=0.0, sigma_mean=math.inf, sigma_variance=math.inf)
    lent = corrected_variances(found, rule).borrowed[1]
    weights = (found.counts * (found.counts > 1)).double()
    torch.testing.assert_close(lent, weights @ found.variances / weights.sum())


def test_distances_that_would_make_every_weight_vanish():
    found = moments(scale=100.0)
    result = corrected_variances(found, NeighborCorrection(n_neighbors=3))
    nearest = result.neighbors[:, 0]
    assert (nearest >= 0).all()
    # So far apart, only the neighbour of the largest weight counts.
    assert torch.isfinite(result.corrected).all()
    difference = (result.borrowed[:, None] - found.variances[result.neighbors]).abs().amax(dim=2)
    assert (difference.amin(dim=1) < 1e-9).all()


def test_minmax_ignores_the_scale_of_the_embeddings():
    found = moments()
    rule = NeighborCorrection(normalize="minmax")
    scaled = ClassMoments(found.means * 30, found.variances * 900, found.counts)
    torch.testing.assert_close(
        corrected_variances(scaled, rule).corrected, corrected_variances(found, rule).corrected * 900
    )


def test_relabelling_moves_the_rows_bit_for_bit_even_with_ties():
    found = moments()
    # Means that differ in sign only are equally far, and 5 classes stand on one point.
    means = found.means.clone()
    means[3] = -means[0]
    means[4:] = means[2]
    found = found._replace(means=means)
    for seed in range(3):
        order = torch.randperm(len(COUNTS), generator=torch.Generator().manual_seed(seed))
        for normalize in ("none", "minmax"):
            rule = NeighborCorrection(n_neighbors=2, normalize=normalize)
            moved = corrected_variances(ClassMoments(*(each[order] for each in found)), rule)
            assert torch.equal(moved.corrected, corrected_variances(found, rule).corrected[order])


def test_blocks_change_nothing(monkeypatch):
    found = moments()
    whole = corrected_variances(found)
    monkeypatch.setattr(neighbor_variances, "_BLOCK", 20)  # two classes at a time
    parts = corrected_variances(found)
    torch.testing.assert_close(parts.corrected, whole.corrected, rtol=1e-12, atol=1e-12)
    assert torch.equal(parts.neighbors, whole.neighbors)


def test_few_classes():
    lone = moments(counts=[6])
    torch.testing.assert_close(corrected_variances(lone).corrected, lone.variances)
    # Nobody can lend to the only class of two rows or more: it takes the variance of all, its own.
    one_large = moments(counts=[6, 1, 1])
    result = corrected_variances(one_large)
    torch.testing.assert_close(result.corrected, one_large.variances[:1].expand(3, -1))
    singles = moments(counts=[1, 1, 0])
    result = corrected_variances(singles)
    assert not result.corrected.any()
    assert (result.neighbors == -1).all()


def test_classes_on_one_point():
    found = moments()
    same = found._replace(means=torch.zeros_like(found.means))
    for normalize in ("none", "minmax"):
        result = corrected_variances(same, NeighborCorrection(normalize=normalize))
        assert torch.isfinite(result.corrected).all()


def test_float32_moments():
    found = moments()
    single = ClassMoments(found.means.float(), found.variances.float(), found.counts)
    torch.testing.assert_close(
        corrected_variances(single).corrected, corrected_variances(found).corrected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"gamma": 1.1}, "gamma is 1.1"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"sigma_mean": 0.0}, "sigma_mean is 0.0"),
        ({"normalize": "rows"}, "normalize is 'rows'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        NeighborCorrection(**options)
