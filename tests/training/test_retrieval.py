"""`tamis.train` for retrieval: embeddings, classes held out whole, a verdict of the identities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tamis
from tamis.errors import InputError
from tamis.evaluation import retrieval_metrics
from tamis.metrics.ranking import average_precision
from tamis.training import TrainedModel

CLASSES, EACH = 10, 12


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, given labels and truth: 10 identities, every eighth member a stranger."""
    draw = np.random.default_rng(3)
    truth = np.repeat(np.arange(CLASSES), EACH)
    x = draw.normal(size=(len(truth), 12)) + 2.5 * draw.normal(size=(CLASSES, 12))[truth]
    given = truth.copy()
    given[::8] = (given[::8] + draw.integers(1, CLASSES, len(given[::8]))) % CLASSES
    return x.astype(np.float32), given, truth


def trained(data: tuple[np.ndarray, np.ndarray, np.ndarray], **changes: object) -> TrainedModel:
    x, given, _ = data
    params = {"embedding_size": 8, "batch_size": 24, "noise_rate": 0.125, "lr": 0.003}
    settings: dict[str, object] = {"method": "prism", "params": params, "backbone": "linear", "epochs": 4}
    return tamis.train(features=x, labels=given, **(settings | changes))  # type: ignore[arg-type]


def test_embeds_in_unit_length_and_finds_the_strangers(
    data: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    x, given, truth = data
    model = trained(data, out=tmp_path / "run")
    embeddings = model.embed(x)
    assert embeddings.shape == (len(x), 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    is_wrong = given != truth
    flagged = np.array(model.issues["is_label_issue"].to_pylist())
    assert is_wrong[flagged].mean() > 0.8
    assert average_precision(np.array(model.issues["label_score"].to_pylist()), is_wrong) > 0.9
    scores = model.clean_scores()
    assert np.median(scores[is_wrong]) < np.quantile(scores[~is_wrong], 0.1)
    assert set(model.suggested_labels()) <= set(range(CLASSES))

    again = TrainedModel.load(tmp_path / "run")
    np.testing.assert_array_equal(again.embed(x), embeddings)
    np.testing.assert_array_equal(again.clean_scores(), scores)
    assert again.issues.equals(model.issues)


def test_whole_classes_are_held_out_and_measured_by_their_own_labels(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, given, _ = data
    model = trained(data, validation=0.3)
    kept = set(model.spec.class_names)
    held = np.array([label not in kept for label in given])
    assert len(set(given[held])) == CLASSES - len(kept) >= 2
    found = retrieval_metrics(model.embed(x[held]), given[held])
    assert model.history is not None
    last = model.history[-1]
    assert last["validation_precision_at_1"] == pytest.approx(found["precision_at_1"], abs=1e-6)
    assert last["validation_map_at_r"] == pytest.approx(found["map_at_r"], abs=1e-6)
    assert found["precision_at_1"] < 1  # strangers are held out too
    assert model.issues.num_rows == len(x)
    assert all(model.issues["is_assessed"].to_pylist())


def test_test_data_may_have_other_classes(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, _given, truth = data
    model = trained(data, test=(x[:60], truth[:60] + 1000))
    assert model.history is not None
    assert 0.5 < model.history[-1]["test_precision_at_1"] <= 1  # type: ignore[operator]
    assert "training_accuracy" not in model.history[-1]


def test_names_and_order_of_classes_do_not_decide_what_is_held_out(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, given, _ = data
    names = np.array([f"id {code * 7 % CLASSES}" for code in range(CLASSES)])
    plain = trained(data, validation=0.3)
    renamed = trained((x, names[given], given), validation=0.3)
    assert {names[int(code)] for code in plain.spec.class_names} == set(renamed.spec.class_names)


def test_the_noise_rate_is_estimated_by_an_audit_of_the_identities(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    params = {"embedding_size": 8, "batch_size": 24}
    model = trained(data, params=params)
    assert 0.03 < model.method.selector.rate < 0.2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "classification"}, "is for retrieval"),
        ({"method": "elr", "params": {}, "task": "retrieval"}, "is for classification"),
        ({"task": "clustering"}, "task is 'clustering'"),
        ({"plugins": ["relation_distillation"]}, "plugins are given"),
        ({"validation": 0.001, "params": {"loss": "triplet"}}, "loss is 'triplet'"),
        ({"params": {"embedding_size": 1}}, "embedding_size is 1"),
        ({"params": {"per_class": 1}}, "per_class is 1"),
        ({"params": {"loss": "soft_triple", "memory": -5}}, "memory"),
        ({"method": "metric", "params": {"loss": "soft_triple", "memory": 50}}, "proxies"),
        ({"method": "metric", "params": {"selector": "prism_vmf", "memory": 0}}, "memory is 0"),
    ],
)
def test_refusals(
    data: tuple[np.ndarray, np.ndarray, np.ndarray], changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        trained(data, **changes)


def test_a_model_of_embeddings_predicts_no_classes(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    model = trained(data, epochs=1)
    with pytest.raises(InputError, match="embed the data"):
        model.predict(data[0])


def test_classes_of_one_take_no_part(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, given, _ = data
    labels = given.copy()
    labels[:5] = np.arange(100, 105)
    model = trained((x, labels, labels), epochs=1)
    assert len(model.spec.class_names) == CLASSES + 5
    with pytest.raises(InputError, match="classes have two samples or more"):
        tamis.train(features=x[:9], labels=np.arange(9), method="metric")


def test_too_few_classes_to_hold_out(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, given, _ = data
    few = given < 3
    with pytest.raises(InputError, match="training needs two at least"):
        tamis.train(features=x[few], labels=given[few], method="metric", validation=0.2)
