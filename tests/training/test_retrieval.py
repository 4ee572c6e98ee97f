"""Whole trainings of embeddings: what comes back, what is held out, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.training.conftest import Planted

from tamis.errors import InputError
from tamis.evaluation import retrieval_metrics
from tamis.training import TrainedModel, train

N_CLASSES = 8


@pytest.fixture(scope="module")
def identities() -> Planted:
    """Return 8 identities of 20 rows in 8 of 16 dimensions, the others louder noise; a fifth is wrong."""
    draw = np.random.default_rng(0)
    truth = np.arange(160) % N_CLASSES
    signal = 2.5 * np.eye(N_CLASSES)[truth] + 0.6 * draw.normal(size=(160, N_CLASSES))
    features = np.hstack([signal, 1.6 * draw.normal(size=(160, 8))]).astype(np.float32)
    given = truth.copy()
    wrong = draw.permutation(160)[:32]
    given[wrong] = (given[wrong] + draw.integers(1, N_CLASSES, 32)) % N_CLASSES
    return Planted(features, given, truth)


Embed = Callable[..., TrainedModel]


@pytest.fixture
def go(identities: Planted) -> Embed:
    """Return `tamis.train` for PRISM with a linear network, two epochs; arguments replace these."""

    def run(**changed: object) -> TrainedModel:
        usual: dict[str, object] = {"features": identities.features, "labels": identities.given}
        usual |= {"method": "prism", "epochs": 2, "backbone": "linear"}
        usual |= {"params": {"noise_rate": 0.2, "batch_size": 32, "lr": 0.01, "embedding_size": 8}}
        return train(**usual | changed)  # type: ignore[arg-type]

    return run


def precision_at_1(rows: np.ndarray, labels: np.ndarray) -> float:
    found = retrieval_metrics(rows, labels, metrics=("precision_at_1",))
    return float(found["precision_at_1"])


@pytest.mark.parametrize("method", ["metric", "prism"])
def test_embeds_better_than_the_features(method: str, go: Embed, identities: Planted) -> None:
    model = go(method=method, epochs=20)
    rows = model.embed(identities.features)
    assert rows.shape == (160, 8)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    raw = precision_at_1(identities.features, identities.truth)
    assert precision_at_1(rows, identities.truth) > raw + 0.1


def test_the_verdict_is_judged_in_the_embeddings(go: Embed, identities: Planted) -> None:
    model = go(epochs=20)
    assert model.verdict is not None
    worst = [int(name) for name in model.verdict.ranked(32)["id"].to_pylist()]
    assert identities.is_wrong[worst].mean() > 0.7
    scores = model.clean_scores()
    assert scores[identities.is_wrong].mean() < np.quantile(scores[~identities.is_wrong], 0.1)
    assert (model.suggested_labels() == identities.truth).mean() > 0.8
    assert any("trained on them" in note for note in model.verdict.summary.notes)


@pytest.mark.parametrize("ask", ["predict", "predict_proba"])
def test_classes_cannot_be_predicted(ask: str, go: Embed, identities: Planted) -> None:
    model = go()
    assert model.beliefs is None
    with pytest.raises(InputError, match="prism trains embeddings and predicts no classes: embed the data"):
        getattr(model, ask)(identities.features)


def test_validation_holds_whole_classes_out(go: Embed, identities: Planted) -> None:
    model = go(validation=0.25, test=(identities.features, identities.truth))
    assert model.history is not None
    assert {"validation_precision_at_1", "validation_map_at_r", "test_precision_at_1"} <= set(
        model.history[-1]
    )
    assert "training_accuracy" not in model.history[-1]
    # What was not trained on has no score; it is of whole classes.
    is_held = np.isnan(model.clean_scores())
    held = set(identities.given[is_held])
    assert len(held) == 2
    assert held.isdisjoint(identities.given[~is_held])
    assert model.embed(identities.features).shape == (160, 8)


def test_too_few_classes_to_hold_out(go: Embed, identities: Planted) -> None:
    some = identities.given < 3
    with pytest.raises(InputError, match="holds 2 of 3 classes out: training needs two at least"):
        go(features=identities.features[some], labels=identities.given[some], validation=0.2)


@pytest.mark.parametrize("method", ["metric", "prism", "cbml", "iaa", "procsim", "ahsml"])
def test_a_saved_run_says_the_same_again(method: str, go: Embed, identities: Planted, tmp_path: Path) -> None:
    params = {"batch_size": 32, "embedding_size": 8}
    params |= {"noise_rate": 0.2} if method == "prism" else {"start": 0} if method == "iaa" else {}
    model = go(method=method, params=params, out=tmp_path / "run")
    again = TrainedModel.load(tmp_path / "run")
    assert np.array_equal(model.embed(identities.features), again.embed(identities.features))
    assert np.array_equal(model.clean_scores(), again.clean_scores())
    assert again.spec.task == "retrieval"
    assert again.issues.equals(model.issues)
    alone = TrainedModel.load(model.save(tmp_path / "model.safetensors"))
    assert np.array_equal(model.embed(identities.features), alone.embed(identities.features))


def test_the_noise_rate_is_estimated(go: Embed) -> None:
    params = {"batch_size": 32, "embedding_size": 8}
    model = go(params=params)
    assert 0 < model.method.selector.rate < 0.6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "classification"}, "method 'prism' is for retrieval, and task is 'classification'"),
        (
            {"method": "elr", "params": None, "task": "retrieval"},
            "method 'elr' is for classification, and task is 'retrieval'; methods for that are .*prism",
        ),
        ({"task": "ranking"}, "task is 'ranking'; expected 'auto', 'classification' or 'retrieval'"),
        (
            {"plugins": ["relation_distillation"]},
            "plugins are given, and they belong to methods that classify",
        ),
        ({"params": {"noise_rate": 1.5}}, "noise_rate is 1.5; expected a share"),
        ({"params": {"similarity": "mean"}}, "similarity is 'mean'; expected 'average', 'vmf'"),
        ({"params": {"embedding_size": 1}}, "embedding_size is 1; expected at least 2"),
        ({"params": {"margins": 1.0}}, "prism has no parameter 'margins'; did you mean 'margin'"),
        ({"labels": np.arange(160)}, "0 of 160 classes have two samples or more"),
    ],
)
def test_refused(changed: dict[str, object], message: str, go: Embed) -> None:
    with pytest.raises(InputError, match=message):
        go(**changed)


def test_the_task_may_be_named(go: Embed, identities: Planted) -> None:
    one, other = go(task="retrieval"), go(task="auto")
    assert np.array_equal(one.embed(identities.features), other.embed(identities.features))


def test_classes_may_be_words(go: Embed, identities: Planted) -> None:
    named = np.array(list("hgfedcba"))[identities.given]
    one, other = go(), go(labels=named)
    rows = [model.embed(identities.features) for model in (one, other)]
    np.testing.assert_allclose(*rows, atol=1e-4)
    assert set(other.suggested_labels()) <= set(named)
