"""Instance-dependent noise: probabilities by hand and against loops, flip rates, blocks, scale."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import truncnorm

from tamis.errors import InputError
from tamis.noise import flip_rate_moments, flip_rates, instance_dependent, instance_dependent_probs

K, N, D = 4, 3_000, 6
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K
FEATURES = RNG.random((N, D))
PER_CLASS = RNG.normal(size=(K, D, K))
SHARED = RNG.normal(size=(D, K))


def _slow(features, labels, rates, projection):
    """Return the probabilities by loops over samples and classes."""
    rows = []
    for sample, label, rate in zip(features, labels, rates, strict=True):
        matrix = projection[label] if projection.ndim == 3 else projection
        scores = [sum(sample[j] * matrix[j, k] for j in range(len(sample))) for k in range(matrix.shape[1])]
        powers = [0.0 if k == label else float(np.exp(score)) for k, score in enumerate(scores)]
        rows.append([rate * power / sum(powers) for power in powers])
        rows[-1][label] = 1 - rate
    return rows


def test_probabilities_by_hand() -> None:
    projection = np.log([[1.0, 2.0, 3.0]])
    probs = instance_dependent_probs([[1.0], [1.0]], [0, 2], [0.5, 0.3], projection)
    np.testing.assert_allclose(probs, [[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]])


@pytest.mark.parametrize("projection", [PER_CLASS, SHARED], ids=["per class", "shared"])
def test_probabilities_against_loops(projection) -> None:
    rates = flip_rates(0.4, 40)
    probs = instance_dependent_probs(FEATURES[:40], LABELS[:40], rates, projection)
    np.testing.assert_allclose(probs, _slow(FEATURES[:40], LABELS[:40], rates, projection), atol=1e-12)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(1 - probs[np.arange(40), LABELS[:40]], rates)


def test_features_of_zero_give_uniform_wrong_labels() -> None:
    probs = instance_dependent_probs(0 * FEATURES[:8], LABELS[:8], np.full(8, 0.3), PER_CLASS)
    wrong = np.full((8, K), 0.1)
    wrong[np.arange(8), LABELS[:8]] = 0.7
    np.testing.assert_allclose(probs, wrong)


def test_equal_inputs_share_probabilities_and_labels_matter_per_class_only() -> None:
    features, rates = np.repeat(FEATURES[:1], 2, axis=0), np.array([0.3, 0.3])
    probs = instance_dependent_probs(features, [1, 1], rates, PER_CLASS)
    np.testing.assert_array_equal(probs[0], probs[1])
    # The odds of classes 2 and 3 seen from the clean labels 0 and 1.
    odds = {}
    for name, projection in (("per class", PER_CLASS), ("shared", SHARED)):
        two = instance_dependent_probs(features, [0, 1], rates, projection)
        odds[name] = two[:, 2] / two[:, 3]
    assert odds["shared"][0] == pytest.approx(odds["shared"][1])
    assert odds["per class"][0] != pytest.approx(odds["per class"][1])


def test_temperature_spreads_and_scale_concentrates() -> None:
    rates = np.full(N, 0.4)
    largest = [
        instance_dependent_probs(scale * FEATURES, LABELS, rates, PER_CLASS, temperature=heat)
        .max(axis=1)
        .mean()
        for scale, heat in ((1, 100.0), (1, 1.0), (255, 1.0))
    ]
    assert largest == sorted(largest)
    same = [instance_dependent_probs(2 * FEATURES, LABELS, rates, PER_CLASS, temperature=2.0)]
    same.append(instance_dependent_probs(FEATURES, LABELS, rates, PER_CLASS))
    np.testing.assert_allclose(*same, atol=1e-12)
    huge = instance_dependent_probs(1e6 * FEATURES, LABELS, rates, PER_CLASS)
    np.testing.assert_allclose(huge.sum(axis=1), 1)


@given(rate=st.floats(0, 1), std=st.floats(0.01, 2))
def test_moments_agree_with_scipy(rate: float, std: float) -> None:
    known = truncnorm(-rate / std, (1 - rate) / std, loc=rate, scale=std)
    assert flip_rate_moments(rate, std).mean == pytest.approx(known.mean(), abs=1e-9)
    assert flip_rate_moments(rate, std).std == pytest.approx(known.std(), abs=1e-6)


@pytest.mark.parametrize(
    ("rate", "mean"), [(0.05, 0.1009), (0.1, 0.1288), (0.2, 0.2055), (0.4, 0.4), (0.97, 0.908)]
)
def test_the_rate_is_not_the_nominal_one_near_the_ends(rate: float, mean: float) -> None:
    rates = flip_rates(rate, 100_000)
    assert rates.min() >= 0
    assert rates.max() <= 1
    moments = flip_rate_moments(rate)
    assert moments.mean == pytest.approx(mean, abs=1e-3 if rate > 0.9 else 5e-5)
    assert abs(rates.mean() - moments.mean) < 4 * moments.std / np.sqrt(100_000)
    assert rates.std() == pytest.approx(moments.std, rel=0.02)


def test_flip_rates_follow_the_truncated_normal() -> None:
    from scipy.stats import kstest

    assert kstest(flip_rates(0.1, 20_000), truncnorm(-1, 9, loc=0.1, scale=0.1).cdf).pvalue > 1e-4


def test_no_spread() -> None:
    assert set(flip_rates(0.3, 5, std=0)) == {0.3}
    assert tuple(flip_rate_moments(0.3, 0)) == (0.3, 0.0)
    unchanged = instance_dependent(LABELS, FEATURES, 0.0, K, std=0)
    np.testing.assert_array_equal(unchanged.labels, LABELS)


@pytest.mark.parametrize("per_class", [True, False])
def test_labels_come_from_the_probabilities(per_class: bool) -> None:
    noisy = instance_dependent(LABELS, FEATURES, 0.4, K, per_class_projection=per_class)
    assert noisy.transition is None
    probs = noisy.sample_probs
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(1 - probs[np.arange(N), LABELS], flip_rates(0.4, N))
    assert noisy.expected_rate == pytest.approx(flip_rates(0.4, N).mean())
    # How often each class was drawn, against the sum of its probabilities: four standard errors.
    drawn = np.bincount(noisy.labels, minlength=K)
    assert (np.abs(drawn - probs.sum(axis=0)) < 4 * np.sqrt((probs * (1 - probs)).sum(axis=0))).all()
    # Wrong labels fall where their probability is high.
    wrong = noisy.is_wrong
    assert probs[wrong, noisy.labels[wrong]].mean() > 1.2 * 0.4 / (K - 1)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = instance_dependent(LABELS, FEATURES, 0.4, K)
    # The package has the function under the module's name.
    monkeypatch.setattr(sys.modules["tamis.noise.instance_dependent"], "_BLOCK_CELLS", 50)
    blocked = instance_dependent(LABELS, FEATURES, 0.4, K)
    assert blocked.digest == whole.digest
    np.testing.assert_allclose(blocked.sample_probs, whole.sample_probs, atol=1e-12)
    assert instance_dependent(LABELS, FEATURES, 0.4, K, keep_probs=False).sample_probs is None


def test_images_types_and_memory_maps(tmp_path) -> None:
    images = (FEATURES.reshape(N, 2, 3) * 255).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)
    results = [
        instance_dependent(LABELS, each, 0.4, K) for each in (images, mapped, images.reshape(N, 6) * 1.0)
    ]
    assert len({result.digest for result in results}) == 1


def test_a_missing_class_is_legal() -> None:
    noisy = instance_dependent([0, 2] * 50, FEATURES[:100], 0.5, K)
    assert set(noisy.labels) <= set(range(K))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": FEATURES[:3]}, r"features has shape \(3, 6\); give one row for each of the 4 labels"),
        ({"features": FEATURES[:4, 0]}, r"features has shape \(4,\)"),
        ({"features": FEATURES[:4].astype(str)}, "real numbers"),
        (
            {"features": np.where(np.arange(4)[:, None] == 2, np.nan, FEATURES[:4])},
            "features row 2 holds NaN",
        ),
        (
            {"features": np.where(np.arange(4)[:, None] == 1, np.inf, FEATURES[:4])},
            "features row 1 holds NaN",
        ),
        ({"temperature": 0}, "temperature must be a number > 0"),
        ({"std": -1}, "std must be a number >= 0"),
        ({"std": float("inf")}, "std must be a number >= 0"),
        ({"n_classes": 1}, "n_classes must be"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        instance_dependent(**{"labels": [0, 1, 0, 1], "features": FEATURES[:4], "n_classes": K, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projection": np.zeros((3, D, K))}, r"projection has shape \(3, 6, 4\)"),
        ({"projection": np.zeros((D - 1, K))}, "features have 6 columns"),
        ({"projection": np.full((D, K), np.nan)}, "finite projection"),
        ({"flip_rates": [0.1]}, "flip_rates must be 2 numbers"),
        ({"flip_rates": [0.1, 1.2]}, "flip_rates must be 2 numbers"),
        ({"labels": [0, K]}, f"labels row 1 is {K}"),
    ],
)
def test_wrong_probability_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"features": FEATURES[:2], "labels": [0, 1], "flip_rates": [0.1, 0.2], "projection": SHARED}
    with pytest.raises(InputError, match=message):
        instance_dependent_probs(**(arguments | changes))
