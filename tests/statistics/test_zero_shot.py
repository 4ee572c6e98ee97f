"""Class probabilities from prompts: by hand, against a loop, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.statistics.zero_shot import zero_shot_probabilities


def draw(n=30, d=6, counts=(2, 1, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), [rng.normal(size=(count, d)) for count in counts]


def test_by_hand():
    probs = zero_shot_probabilities([[3.0, 0.0]], [[[2.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0]]], temperature=0.5)
    weights = np.array([np.exp(2.0) + 1.0, np.exp(-2.0)])
    np.testing.assert_allclose(probs[0], weights / weights.sum(), rtol=1e-14)


def test_against_a_loop():
    images, texts = draw()
    expected = np.empty((30, 3))
    for row, x in enumerate(images):
        for code, prompts in enumerate(texts):
            cosines = [x @ t / np.linalg.norm(x) / np.linalg.norm(t) for t in prompts]
            expected[row, code] = sum(np.exp(cosine / 0.07) for cosine in cosines)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(zero_shot_probabilities(images, texts), expected, rtol=1e-10)


def test_scale_order_and_blocks(monkeypatch):
    images, texts = draw()
    probs = zero_shot_probabilities(images, texts)
    scaled = zero_shot_probabilities(images * 1e6, [1e-3 * each for each in texts])
    np.testing.assert_allclose(scaled, probs, rtol=1e-9)
    rows, classes = np.random.default_rng(1).permutation(30), [2, 0, 1]
    moved = zero_shot_probabilities(images[rows], [texts[c] for c in classes])
    np.testing.assert_allclose(moved, probs[rows][:, classes], rtol=1e-12)
    monkeypatch.setattr("tamis.statistics.zero_shot._BLOCK_CELLS", 14)
    np.testing.assert_allclose(zero_shot_probabilities(images, texts), probs, rtol=1e-12)


def test_numbers_of_prompts_are_priors():
    images, texts = draw()
    probs = zero_shot_probabilities(images, texts)
    twice = [np.concatenate([each, each]) for each in texts]
    np.testing.assert_allclose(zero_shot_probabilities(images, twice), probs, rtol=1e-10)
    one = zero_shot_probabilities(images, [twice[0], *texts[1:]])
    assert (one[:, 0] > probs[:, 0]).all()
    odds = one[:, 0] / one[:, 1] / (probs[:, 0] / probs[:, 1])
    np.testing.assert_allclose(odds, 2.0)


def test_both_ends_of_the_temperature():
    images, texts = draw()
    np.testing.assert_allclose(
        zero_shot_probabilities(images, texts, temperature=1e9)[0], [2 / 6, 1 / 6, 3 / 6]
    )
    sharp = zero_shot_probabilities(images, texts, temperature=1e-6)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in texts]
    best = np.stack([(images @ each.T).max(1) for each in unit], 1).argmax(1)
    np.testing.assert_array_equal(sharp, np.eye(3)[best])


def test_half_precision_and_rows_without_direction():
    images, texts = draw()
    half = zero_shot_probabilities(images.astype(np.float16), [each.astype(np.float16) for each in texts])
    np.testing.assert_allclose(half, zero_shot_probabilities(images, texts), atol=0.02)
    np.testing.assert_allclose(zero_shot_probabilities(np.zeros((1, 6)), texts)[0], [2 / 6, 1 / 6, 3 / 6])
    assert zero_shot_probabilities(np.zeros((0, 6)), texts).shape == (0, 3)


@pytest.mark.parametrize(
    ("images", "texts", "options", "message"),
    [
        ([1.0, 2.0], [[[1.0, 2.0]]], {}, r"image_features has shape \(2,\)"),
        ([["a"]], [[[1.0]]], {}, "image_features has shape"),
        ([[np.inf]], [[[1.0]]], {}, "image_features row 0"),
        ([[1.0]], [], {}, "text_features is empty"),
        ([[1.0]], [[[1.0, 2.0]]], {}, r"text_features\[0\] has shape \(1, 2\)"),
        ([[1.0]], [[[1.0]]], {"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_bad_input_is_refused(images, texts, options, message):
    with pytest.raises(InputError, match=message):
        zero_shot_probabilities(images, texts, **options)
