"""Whole trainings: what comes back, what is written, what a second start does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from tests.training.conftest import Go, Planted

import tamis
from tamis.errors import InputError, RunError, TamisWarning
from tamis.training import TrainedModel


def test_a_linear_network_agrees_with_logistic_regression(go: Go, planted: Planted) -> None:
    """Trained to the end without weight decay, both find the same probabilities."""
    params = {"lr": 1.0, "weight_decay": 0.01, "momentum": 0.9, "schedule": "cosine", "batch_size": 120}
    model = go(epochs=300, params=params)
    scaled = planted.features - planted.features.mean(0)
    scaled *= 4 / np.sqrt((scaled**2).sum(axis=1).mean())
    reference = LogisticRegression(C=1 / (0.01 * len(scaled)), max_iter=2000).fit(scaled, planted.given)
    # scikit-learn leaves the intercept out of the penalty; with balanced classes it hardly matters.
    found, expected = model.predict_proba(planted.features), reference.predict_proba(scaled)
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_wrong_labels_are_found(go: Go, planted: Planted) -> None:
    model = go(method="elr", epochs=10, params={"batch_size": 20})
    assert (model.predict(planted.features) == planted.truth).mean() > 0.95
    scores = model.clean_scores()
    assert scores[planted.is_wrong].max() < np.median(scores[~planted.is_wrong])
    assert (model.suggested_labels() == planted.truth).mean() > 0.95
    worst = model.verdict.ranked(int(planted.is_wrong.sum()))["id"].to_pylist()
    assert planted.is_wrong[[int(name) for name in worst]].mean() > 0.8
    assert model.issues.num_rows == len(planted.given)


def test_the_same_arguments_give_the_same_model(go: Go, planted: Planted) -> None:
    one, same, other = go(), go(), go(random_state=1)
    probs = [model.predict_proba(planted.features) for model in (one, same, other)]
    assert np.array_equal(probs[0], probs[1])
    assert not np.array_equal(probs[0], probs[2])


def test_class_names_do_not_matter(go: Go, planted: Planted) -> None:
    plain = go(epochs=5)
    named = go(epochs=5, labels=np.array(["a", "b", "c"])[planted.given])
    assert np.array_equal(plain.predict_proba(planted.features), named.predict_proba(planted.features))
    assert set(named.predict(planted.features)) == {"a", "b", "c"}


def test_the_run_folder(go: Go, planted: Planted, tmp_path: Path) -> None:
    model = go(out=tmp_path / "run", validation=0.2, test=(planted.features, planted.truth))
    names = {entry.name for entry in (tmp_path / "run").iterdir()}
    written = {"run.json", "model.safetensors", "metrics.jsonl", "curves.png", "issues.parquet"}
    assert written | {"report.html", "checkpoints"} <= names
    assert not any(name.startswith(".") for name in names)
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (described["command"], described["status"], described["epochs_trained"]) == (
        "train",
        "finished",
        2,
    )
    assert described["best"]["epoch"] in {1.0, 2.0}
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == model.history
    assert {"loss", "lr", "training_accuracy", "validation_accuracy", "test_accuracy"} <= set(
        model.history[0]
    )
    assert pq.read_table(tmp_path / "run" / "issues.parquet").equals(model.issues)
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<section id="training">' in page
    assert "Cross-entropy (cross_entropy)" in page
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    # The run of a training is audited data to everything that reads runs.
    assert tamis.Audit.load(tmp_path / "run").issues.equals(model.issues)
    assert tamis.export_labels(tmp_path / "run", to="jsonl").n_rows == 120


def test_saved_and_loaded(go: Go, planted: Planted, tmp_path: Path) -> None:
    model = go(out=tmp_path / "run", validation=0.2, epochs=3)
    loaded = TrainedModel.load(tmp_path / "run")
    for ask in (TrainedModel.predict_proba, TrainedModel.embed):
        assert np.array_equal(ask(model, planted.features), ask(loaded, planted.features))
    np.testing.assert_array_equal(model.clean_scores(), loaded.clean_scores())
    assert loaded.issues.equals(model.issues)
    assert loaded.history == model.history
    best = TrainedModel.load(tmp_path / "run", weights="best")
    assert best.predict_proba(planted.features).shape == (120, 3)
    alone = TrainedModel.load(model.save(tmp_path / "alone.safetensors"))
    assert np.array_equal(alone.predict(planted.features), model.predict(planted.features))
    with pytest.raises(InputError, match="without the issue table"):
        _ = alone.issues
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        model.save(tmp_path / "model.pt")
    with pytest.raises(InputError, match="no model there"):
        TrainedModel.load(tmp_path)
    (tmp_path / "run" / "issues.parquet").write_bytes(b"damaged")
    with pytest.raises(RunError, match="damaged"):
        TrainedModel.load(tmp_path / "run")


def test_a_finished_run_is_read_back(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: Planted
) -> None:
    first = go(out=tmp_path / "run")
    monkeypatch.setattr("tamis.engine.Training.run", None)
    again = go(out=tmp_path / "run")
    assert np.array_equal(first.predict_proba(planted.features), again.predict_proba(planted.features))
    assert again.history == first.history


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("epoch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on(go: Go, planted: Planted, tmp_path: Path, epoch: int) -> None:
    def die(record: dict[str, object]) -> None:
        if record["epoch"] == epoch:
            raise Killed

    options = {"method": "elr", "epochs": 3, "backbone": "mlp", "validation": 0.2}
    go(out=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        go(out=tmp_path / "run", report_epoch=die, **options)
    with pytest.raises(InputError, match="has not finished training"):
        TrainedModel.load(tmp_path / "run")
    go(out=tmp_path / "run", **options)
    for name in (
        "model.safetensors",
        "issues.parquet",
        "clean_scores.parquet",
        "checkpoints/best.safetensors",
    ):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_damaged_result_is_made_again(go: Go, tmp_path: Path) -> None:
    first = go(out=tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"cut")
    again = go(out=tmp_path / "run")
    assert again.issues.equals(first.issues)
    TrainedModel.load(tmp_path / "run")


def test_unusable_rows_are_issue_rows(go: Go, planted: Planted) -> None:
    features = planted.features.copy()
    features[3] = np.nan
    labels = [None if row == 5 else int(label) for row, label in enumerate(planted.given)]
    model = go(features=features, labels=labels)
    assert model.spec.n_samples == 119
    assert np.isnan(model.clean_scores()[[3, 5]]).all()
    rows = model.issues.to_pylist()
    assert not rows[3]["is_assessed"]
    assert not rows[5]["is_assessed"]
    with pytest.warns(TamisWarning, match=r"1 of 120 rows cannot be read, the first is row 3"):
        probs = model.predict_proba(features)
    assert np.isnan(probs[3]).all()
    assert not np.isnan(np.delete(probs, 3, axis=0)).any()


def test_predictions_need_the_features_of_training(go: Go, planted: Planted) -> None:
    model = go()
    with pytest.raises(InputError, match="the data have 2 features, the model takes 6"):
        model.predict(planted.features[:, :2])
    with pytest.raises(InputError, match="does not exist"):
        model.predict("no/such/file.csv")


def test_constant_features_and_more_batches_than_rows(go: Go) -> None:
    constant = go(features=np.ones((30, 4)), labels=np.arange(30) % 3)
    probs = constant.predict_proba(np.ones((30, 4)))
    np.testing.assert_allclose(probs, 1 / 3, atol=0.05)
    large = go(params={"batch_size": 10_000})
    assert large.history[-1]["step"] == 2


def test_two_classes_and_no_epochs(go: Go, planted: Planted) -> None:
    model = go(labels=planted.given == 0, epochs=0)
    assert model.history == []
    assert model.predict_proba(planted.features).shape == (120, 2)


def test_an_audit_that_fails_does_not_lose_the_training(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise tamis.MissingExtraError("the encoder is not installed")

    monkeypatch.setattr("tamis.training.knowledge.audit", fail)
    model = go(audit=True)
    assert any("the encoder is not installed" in note for note in model.verdict.summary.notes)
    with pytest.raises(tamis.MissingExtraError):
        go(method="co_teaching", audit=True)


def test_the_selection_of_an_audit(go: Go, planted: Planted, tmp_path: Path) -> None:
    found = tamis.audit(features=planted.features, labels=planted.given, out=tmp_path / "audit")
    trusted = np.asarray(found.issues["label_score"].to_numpy() >= 0.5)
    models = [go(initial_selection=each, audit=found) for each in (found, tmp_path / "audit", trusted)]
    probs = [model.predict_proba(planted.features) for model in models]
    assert np.array_equal(probs[0], probs[1])
    assert np.array_equal(probs[0], probs[2])
    assert not np.array_equal(probs[0], go().predict_proba(planted.features))


def test_early_stopping(go: Go) -> None:
    model = go(params={"patience": 2, "lr": 1e-9}, validation=0.3, epochs=50)
    assert len(model.history) == 3


def test_a_second_start_in_the_same_folder_leaves_one_log(go: Go, tmp_path: Path) -> None:
    def other(record: Mapping[str, object]) -> None:
        with (tmp_path / "run" / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"epoch": 1, "step": 1, "loss": 9.0}\n')

    model = go(out=tmp_path / "run", report_epoch=other)
    assert TrainedModel.load(tmp_path / "run").history == model.history
