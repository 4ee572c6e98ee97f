"""The mixup probe: out of sample, reproducible to the bit, resistant to wrong labels."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from tamis.errors import InputError
from tamis.metrics.ranking import average_precision
from tamis.statistics import mixup_mlp
from tamis.statistics.mixup_mlp import mixup_mlp_probabilities

SMALL = {"hidden": 16, "epochs": 5}


def rings(n=600, rate=0.2, seed=0):
    """Return two features in four quadrants labelled like a chessboard, given codes, true codes."""
    rng = np.random.default_rng(seed)
    features = rng.choice([-1.0, 1.0], size=(n, 2)) + rng.normal(size=(n, 2)) * 0.3
    truth = (features[:, 0] * features[:, 1] > 0).astype(np.int64)
    return features, np.where(rng.random(n) < rate, 1 - truth, truth), truth


@pytest.fixture
def folds():
    return np.arange(600) % 3


def test_learns_what_a_linear_model_cannot_and_finds_planted_noise(folds):
    features, codes, truth = rings()
    log_probs = mixup_mlp_probabilities(features, codes, folds, n_classes=2, hidden=32)
    own = log_probs[np.arange(600), codes]
    assert average_precision(own, codes != truth) > 0.9
    assert (log_probs.argmax(axis=1) == truth).mean() > 0.95
    linear = cross_val_predict(LogisticRegression(), features, codes, method="predict_proba")
    assert average_precision(linear[np.arange(600), codes], codes != truth) < 0.5


def test_without_mixup_and_layers_it_is_about_logistic_regression():
    # With a wide layer and a linear truth, the network's probabilities come near the regression's.
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2000, 3))
    codes = (rng.random(2000) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(np.int64)
    folds = np.arange(2000) % 2
    probs = np.exp(mixup_mlp_probabilities(features, codes, folds, n_classes=2, alpha=0.0, hidden=32))
    expected = 1 / (1 + np.exp(-2 * features[:, 0]))
    assert np.abs(probs[:, 1] - expected).mean() < 0.06


@pytest.mark.usefixtures("short_training")
def test_log_probabilities_of_every_row(folds):
    features, codes, _ = rings()
    log_probs = mixup_mlp_probabilities(features, codes, folds, n_classes=4, ensemble=2, **SMALL)
    assert log_probs.shape == (600, 4)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-5)
    assert np.exp(log_probs[:, 2:]).max() < 0.3


@pytest.mark.usefixtures("short_training")
def test_threads_change_no_bit_and_no_global_state_is_used(folds):
    features, codes, _ = rings()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    state = torch.random.get_rng_state()
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (2, 1):
            torch.set_num_threads(n_threads)
            found.append(mixup_mlp_probabilities(features, codes, folds, n_classes=2, **SMALL))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    first, second = found
    np.testing.assert_array_equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())
    other = mixup_mlp_probabilities(features, codes, folds, n_classes=2, random_state=1, **SMALL)
    assert np.abs(other - first).max() > 1e-3


@pytest.mark.usefixtures("short_training")
def test_a_label_does_not_change_its_own_prediction(folds):
    features, codes, _ = rings()
    changed = codes.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    first = mixup_mlp_probabilities(features, codes, folds, n_classes=2, **SMALL)
    second = mixup_mlp_probabilities(features, changed, folds, n_classes=2, **SMALL)
    np.testing.assert_array_equal(second[folds == 1], first[folds == 1])
    assert np.abs(second - first)[folds != 1].max() > 1e-3


def test_rows_that_are_only_predicted(folds):
    features, codes, truth = rings()
    only = np.arange(600) >= 570
    folds = np.where(only, -1, folds)
    first = mixup_mlp_probabilities(features, codes, folds, n_classes=2, hidden=32)
    # Neither their targets nor those of unlabelled rows count.
    codes[only] = -1
    np.testing.assert_array_equal(
        mixup_mlp_probabilities(features, codes, folds, n_classes=2, hidden=32), first
    )
    assert (first[only].argmax(axis=1) == truth[only]).mean() > 0.9
    # Without the row in any fold, its prediction is the mean of all folds' networks.
    single = [
        mixup_mlp_probabilities(
            np.vstack([features[~only], features[only]]),
            np.concatenate([codes[~only], codes[only]]),
            np.concatenate([folds[~only], np.full(30, fold)]),
            n_classes=2,
            hidden=32,
        )[570:]
        for fold in range(3)
    ]
    np.testing.assert_allclose(np.exp(first[only]), np.mean(np.exp(single), axis=0), atol=0.02)


@pytest.mark.usefixtures("short_training")
def test_soft_targets_equal_hard_ones_where_they_are_hard(folds):
    features, codes, _ = rings()
    hard = mixup_mlp_probabilities(features, codes, folds, n_classes=2, **SMALL)
    soft = mixup_mlp_probabilities(features, np.eye(2)[codes], folds, n_classes=2, **SMALL)
    np.testing.assert_array_equal(soft, hard)


@pytest.mark.usefixtures("short_training")
def test_scale_offset_and_constant_columns_do_not_matter(folds):
    features, codes, _ = rings()
    first = mixup_mlp_probabilities(features, codes, folds, n_classes=2, **SMALL)
    moved = mixup_mlp_probabilities(features * 1000 - 7, codes, folds, n_classes=2, **SMALL)
    np.testing.assert_allclose(np.exp(moved), np.exp(first), atol=1e-3)
    constant = np.column_stack([features, np.full(600, 3.3)])
    assert np.isfinite(mixup_mlp_probabilities(constant, codes, folds, n_classes=2, **SMALL)).all()


def test_few_rows_and_one_class():
    features = np.array([[0.0], [1.0], [2.0]])
    log_probs = mixup_mlp_probabilities(
        features, np.zeros(3, int), np.array([0, 1, 0]), n_classes=2, hidden=4
    )
    assert (log_probs[:, 0] > log_probs[:, 1]).all()


def test_the_learning_rate_rises_and_falls():
    assert mixup_mlp._rate(0.0) == pytest.approx(0.1)
    assert mixup_mlp._rate(0.1) == 1.0
    assert mixup_mlp._rate(0.55) == pytest.approx(0.5)
    assert mixup_mlp._rate(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": np.array([0, 0, 0, 0])}, "no row with a target lies outside fold 0"),
        ({"folds": np.array([-1, -1, -1, -1])}, "no row with a target lies outside fold"),
        ({"folds": np.array([0, 1])}, r"folds has shape \(2,\)"),
        ({"folds": np.array([0.0, 1.0, 0.0, 1.0])}, "type float64"),
        ({"targets": np.array([0, 1, 2, 0])}, "legal are 0 to 1"),
        ({"features": np.array([[0.0], [1.0], [np.nan], [1.0]])}, "features row 2 holds NaN or infinity"),
        ({"features": np.zeros((4, 0))}, r"features has shape \(4, 0\)"),
        ({"hidden": 0}, "hidden is 0; expected at least 1"),
        ({"ensemble": 0}, "ensemble is 0"),
        ({"alpha": -1.0}, "alpha is -1.0; expected at least 0"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"random_state": -3}, "random_state is -3"),
    ],
)
def test_bad_input_is_refused(change, message):
    call = {
        "features": np.array([[0.0], [1.0], [2.0], [1.0]]),
        "targets": np.array([0, 1, 1, 0]),
        "folds": np.array([0, 1, 0, 1]),
        "n_classes": 2,
    }
    with pytest.raises(InputError, match=message):
        mixup_mlp_probabilities(**(call | change))


@pytest.mark.slow
@pytest.mark.shared
def test_evidence_on_the_page(shared):
    page = Path(__file__).resolve().parents[2] / "docs" / "probes.md"
    text = page.read_text(encoding="utf-8")
    row = re.search(r"^\| network with mixup \| (.*) \| (.*) \| (.*) \| .* \|$", text, flags=re.MULTILINE)
    assert row is not None
    features = np.load(shared / "data" / "cifar10_features_efflite0.npz")["train"]
    names = ["aggre_label", "random_label1", "worse_label"]
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *names])
    folds = np.random.default_rng(7).permutation(50_000) % 5
    measured = []
    for name in names:
        codes = table[name].to_numpy().astype(np.int64)
        log_probs = mixup_mlp_probabilities(features, codes, folds, n_classes=10)
        own = log_probs[np.arange(50_000), codes]
        measured.append(average_precision(own, codes != table["label"].to_numpy()))
    # Training is sensitive to the last bit of a product, so other processors end a little elsewhere.
    np.testing.assert_allclose(measured, [float(value) for value in row.groups()], atol=4e-3)
