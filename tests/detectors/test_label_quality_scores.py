"""Label quality scores of one model and of several: by hand, beside the reference package, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.detectors.label_quality_scores import (
    find_top_issues,
    get_label_quality_ensemble_scores,
    get_label_quality_scores,
)
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision

METHODS = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
SCHEMES = ["uniform", "accuracy", "log_loss_search", "custom"]


def draw(seed, n, k, dtype=np.float64, sharpness=0.5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    labels[:k] = np.arange(k)[:n]
    probs = rng.dirichlet(np.full(k, sharpness), n)
    probs[rng.random(n) < 0.2] = np.eye(k)[rng.integers(0, k)]
    return labels, np.clip(probs.astype(dtype), 0, 1)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(6, 80),
    st.integers(2, 6),
    st.sampled_from(METHODS),
    st.sampled_from([np.float64, np.float32]),
)
def test_beside_the_reference(seed, n, k, method, dtype):
    rank = pytest.importorskip("cleanlab.rank")
    labels, probs = draw(seed, n, k, dtype)
    for is_adjusted in (False, True):
        if is_adjusted and method == "confidence_weighted_entropy":
            continue
        options = {"method": method, "adjust_pred_probs": is_adjusted}
        expected = rank.get_label_quality_scores(labels, probs, **options)
        ours = get_label_quality_scores(labels, probs, **options)
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, expected)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(8, 60),
    st.integers(2, 5),
    st.integers(2, 4),
    st.sampled_from(SCHEMES),
    st.sampled_from(METHODS),
)
def test_ensembles_beside_the_reference(seed, n, k, n_models, scheme, method):
    rank = pytest.importorskip("cleanlab.rank")
    labels, _ = draw(seed, n, k)
    models = []
    for model in range(n_models):
        probs = 0.7 * draw(seed + 1 + model, n, k)[1]
        probs[np.arange(n), labels] += 0.3 * (np.arange(n) % (model + 1) == 0)
        # The reference refuses averages that rounding lifts above 1: stay a little below.
        models.append((1 - 1e-12) * probs / probs.sum(axis=1, keepdims=True))
    weights = np.random.default_rng(seed).random(n_models) if scheme == "custom" else None
    options = {
        "method": method,
        "adjust_pred_probs": method != "confidence_weighted_entropy" and bool(seed % 2),
        "weight_ensemble_members_by": scheme,
        "custom_weights": weights,
        "verbose": False,
    }
    expected = rank.get_label_quality_ensemble_scores(labels, models, **options)
    np.testing.assert_allclose(
        get_label_quality_ensemble_scores(labels, models, **options), expected, rtol=0, atol=1e-8
    )


def test_by_hand():
    labels, probs = [0, 2], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]
    assert get_label_quality_scores(labels, probs).tolist() == [0.5, 0.25]
    margins = get_label_quality_scores(labels, probs, method="normalized_margin")
    assert margins.tolist() == [0.625, 0.375]
    # Thresholds 0.5, 2 (absent) and 0.25: q - t + 2 = [2, 0.25, 2] and the given shares are 2 / 4.25.
    adjusted = get_label_quality_scores(labels, probs, adjust_pred_probs=True)
    np.testing.assert_allclose(adjusted, [2 / 4.25, 2 / 4.25], rtol=1e-14)


def test_the_compat_switch():
    labels, probs = [0, 0, 1], [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    official = get_label_quality_scores(labels, probs, method="confidence_weighted_entropy")
    limit = get_label_quality_scores(labels, probs, method="confidence_weighted_entropy", compat=False)
    assert official[:2].tolist() == [0.0, 0.0]
    assert limit[:2].tolist() == [1.0, 0.0]
    assert official[2] == pytest.approx(limit[2])


@pytest.mark.parametrize("method", METHODS)
def test_properties(method, monkeypatch):
    labels, probs = draw(1, 200, 5)
    scores = get_label_quality_scores(labels, probs, method=method)
    assert ((scores >= 0) & (scores <= 1)).all()
    rows, columns = np.random.default_rng(0).permutation(200), np.random.default_rng(1).permutation(5)
    np.testing.assert_array_equal(
        get_label_quality_scores(labels[rows], probs[rows], method=method), scores[rows]
    )
    renamed = get_label_quality_scores(np.argsort(columns)[labels], probs[:, columns], method=method)
    np.testing.assert_allclose(renamed, scores, rtol=0, atol=1e-9)
    tensors = get_label_quality_scores(torch.from_numpy(labels), torch.from_numpy(probs), method=method)
    np.testing.assert_array_equal(tensors, scores)
    from tamis.statistics.labelled_rows import LabelledRows

    monkeypatch.setitem(LabelledRows.__init__.__kwdefaults__, "block_elements", 30)
    np.testing.assert_array_equal(get_label_quality_scores(labels, probs, method=method), scores)


@pytest.mark.parametrize("method", METHODS)
def test_one_class_and_one_row(method):
    assert get_label_quality_scores([0, 0], [[1.0], [1.0]], method=method, compat=False).tolist() == [1, 1]
    assert np.isfinite(get_label_quality_scores([1], [[0.5, 0.5]], method=method)).all()


def test_uniform_weights_are_the_mean_and_one_model_is_itself():
    labels, first = draw(2, 50, 3)
    second = draw(3, 50, 3)[1]
    mean = (get_label_quality_scores(labels, first) + get_label_quality_scores(labels, second)) / 2
    both = get_label_quality_ensemble_scores(
        labels, [first, second], weight_ensemble_members_by="uniform", verbose=False
    )
    np.testing.assert_allclose(both, mean, atol=1e-15)
    alone = get_label_quality_ensemble_scores(labels, [first], verbose=False)
    np.testing.assert_array_equal(alone, get_label_quality_scores(labels, first))


def test_weights_are_printed(capsys):
    get_label_quality_ensemble_scores([0, 1], [np.eye(2), np.eye(2)])
    assert capsys.readouterr().out == "Weights of the models by accuracy: 0.5, 0.5\n"


def test_the_better_model_weighs_more():
    labels = np.arange(40) % 2
    good, bad = 0.8 * np.eye(2)[labels] + 0.1, np.full((40, 2), 0.5)
    for scheme in ("accuracy", "log_loss_search"):
        scores = get_label_quality_ensemble_scores(
            labels, [good, bad], weight_ensemble_members_by=scheme, verbose=False
        )
        assert scores.mean() > 0.7


def test_find_top_issues():
    assert find_top_issues([0.9, 0.1, 0.4], top=2).tolist() == [1, 2]
    assert len(find_top_issues(np.ones(3), top=None)) == len(find_top_issues(np.ones(3), top=9)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_ensemble_members_by": "luck"}, "legal are 'uniform', 'accuracy'"),
        ({"custom_weights": [1, 2]}, "make it 'custom'"),
        ({"weight_ensemble_members_by": "custom"}, "custom_weights is None; expected 2 numbers"),
        ({"weight_ensemble_members_by": "custom", "custom_weights": [1.0]}, "expected 2 numbers"),
        ({"weight_ensemble_members_by": "log_loss_search", "log_loss_search_T_values": []}, "is empty"),
        ({"method": "luck"}, "method is 'luck'"),
        ({"method": "confidence_weighted_entropy", "adjust_pred_probs": True}, "does not go with method"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        get_label_quality_ensemble_scores([0, 1], [np.eye(2), np.eye(2)], verbose=False, **options)


def test_bad_models():
    with pytest.raises(InputError, match="pred_probs_list is empty"):
        get_label_quality_ensemble_scores([0, 1], [])
    with pytest.raises(InputError, match=r"matrices of \[2, 3\] columns"):
        get_label_quality_ensemble_scores([0, 1], [np.eye(2), np.eye(3)[:2]])
    with pytest.raises(InputError, match="no model predicts a single label"):
        get_label_quality_ensemble_scores([1, 0], [np.eye(2), np.eye(2)])
    with pytest.raises(InputError, match="row 0 sums to"):
        get_label_quality_scores([0], [[0.2, 0.2]])


def test_planted_noise_is_found():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 5, 2000)
    logits = rng.normal(size=(2, 2000, 5)) + 3 * np.eye(5)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    is_wrong = rng.random(2000) < 0.2
    labels = np.where(is_wrong, (truth + rng.integers(1, 5, 2000)) % 5, truth)
    alone = average_precision(get_label_quality_scores(labels, probs[0]), is_wrong)
    both = get_label_quality_ensemble_scores(labels, list(probs), verbose=False)
    assert average_precision(both, is_wrong) > alone > 0.8
