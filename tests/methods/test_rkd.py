"""RKD as a method: teacher and student by the real engine, on planted identities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import tamis
from tamis.errors import InputError
from tamis.losses.darkrank import hard_darkrank_loss
from tamis.losses.rkd import RelationalKnowledgeDistillation
from tamis.methods.base import METHODS
from tamis.methods.batches import Batch, Moment

RKD = METHODS.get("rkd")
N_SIGNAL = 8
"""Dimensions of the planted inputs that tell identities apart; the others are noise."""


def moment(phase: str = "student", step: int = 0) -> Moment:
    return Moment(seed=0, epoch=0, n_epochs=4, position=0, length=4, step=step, phase=phase)


def signal(data):
    return {"features": lambda: data.inputs[:, :N_SIGNAL]}


def unlabelled(data):
    return data._replace(given=torch.full_like(data.given, -1))


@pytest.fixture
def identities(fit_embedding):
    """Return the planted identities that `fit_embedding` trains on."""
    return fit_embedding(RKD, epochs=2).data


def test_a_student_of_good_features_beats_the_inputs(identities, fit_embedding):
    run = fit_embedding(RKD, teacher="features", material=signal(identities), backbone="mlp", epochs=18)
    assert run.precision_at_1 > 0.8  # 0.61 for the inputs themselves, about 0.3 untrained
    assert "teacher" not in {name.split(".")[0] for name in run.method.state_dict()}


def test_the_student_follows_its_teacher(fit_embedding):
    run = fit_embedding(RKD, epochs=18, teacher_size=16)
    figures = [line["test_precision_at_1"] for line in run.records]
    assert figures[5] > figures[0]  # the teacher learns for a third of the epochs
    assert figures[17] > figures[6]  # then the student
    assert run.records[17]["loss"] < 0.5 * run.records[6]["loss"]
    assert run.method.forward(run.data.inputs).features.shape[1] == 8


def test_the_teacher_is_frozen_in_the_second_stage(fit_embedding):
    shorter, longer = (
        fit_embedding(RKD, epochs=epochs, teacher_epochs=2, backbone="mlp") for epochs in (3, 5)
    )
    assert shorter.is_same(longer, only="teacher.")
    assert not shorter.is_same(longer, only="network.")


def test_each_stage_has_the_whole_course_of_the_learning_rate(fit_embedding):
    lines = fit_embedding(RKD, epochs=6, teacher_epochs=2).records
    rates = [line["lr"] for line in lines]
    assert rates[0] > rates[1]
    assert rates[2] > rates[1]
    assert all(one > other for one, other in pairwise(rates[2:]))


@pytest.mark.parametrize("weights", [{}, {"darkrank_weight": 0.5}, {"loss_weight": 2.0}])
def test_a_step_by_hand(identities, fit_embedding, weights):
    method = fit_embedding(RKD, epochs=0, teacher="features", material=signal(identities), **weights).method
    index = torch.tensor([0, 8, 1, 9, 17, 2])
    batch = Batch((identities.inputs[index],), identities.given[index], index)
    found = method.training_step({"train": batch}, moment())
    student = method.network(batch.inputs).logits
    teacher = torch.nn.functional.normalize(identities.inputs[index, :N_SIGNAL])
    expected = RelationalKnowledgeDistillation()(student, teacher)
    unit = torch.nn.functional.normalize(student)
    expected = expected + weights.get("darkrank_weight", 0.0) * hard_darkrank_loss(unit, teacher)
    expected = expected + weights.get("loss_weight", 0.0) * method.loss(unit, batch.labels)
    torch.testing.assert_close(found, expected)


def test_wrong_labels_do_not_reach_a_student_of_features(identities, fit_embedding):
    def runs(given):
        order = {"teacher": "features", "material": signal(identities), "epochs": 2}
        return fit_embedding(RKD, identities._replace(given=given), **order)

    renamed = (identities.given + 3) % 8
    torch.testing.assert_close(
        runs(identities.given).records[-1]["loss"], runs(renamed).records[-1]["loss"], rtol=0.3, atol=0
    )
    # Without labels every row is drawn; nothing asks for them.
    run = runs(torch.full_like(identities.given, -1))
    assert run.precision_at_1 > 0.4
    assert run.training.verdict().clean_scores.isnan().all()


@pytest.mark.parametrize("options", [{"teacher_size": 5}, {"loss_weight": 0.5, "loss": "multi_similarity"}])
def test_two_runs_are_equal(fit_embedding, options):
    first, second = (fit_embedding(RKD, epochs=4, backbone="mlp", **options) for _ in range(2))
    assert first.is_same(second)


@pytest.mark.parametrize("at_step", [2, 6])
def test_a_killed_run_goes_on_bitwise(fit_embedding, resumed_embedding, at_step):
    options = {"epochs": 4, "teacher_epochs": 2, "backbone": "mlp", "darkrank_weight": 0.1}
    assert resumed_embedding(RKD, at_step=at_step, **options).is_same(fit_embedding(RKD, **options))


def test_a_killed_student_of_features_goes_on_bitwise(identities, fit_embedding, resumed_embedding):
    options = {"epochs": 3, "teacher": "features", "material": signal(identities)}
    assert resumed_embedding(RKD, at_step=4, **options).is_same(fit_embedding(RKD, **options))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"teacher": "labels"}, "teacher is 'labels'; expected 'first_stage' or 'features'"),
        ({"teacher_epochs": 2.5}, "teacher_epochs is 2.5"),
        ({"teacher_epochs": 4}, "leaves none of 4 epochs"),
        ({"teacher_size": 1}, "teacher_size is 1"),
        ({"loss": "proxy_nca"}, "loss is 'proxy_nca'"),
        ({"loss_weight": -1.0}, "loss_weight is -1"),
        ({"darkrank_weight": float("nan")}, "darkrank_weight is nan"),
        ({"angle_weight": -1.0}, "angle_weight is -1"),
        ({"distance_weight": 0.0, "angle_weight": 0.0}, "all weights of relations are 0"),
        ({"teacher": "features"}, "no frozen features"),
        ({"per_class": 1}, "per_class is 1"),
    ],
)
def test_refusals(fit_embedding, wrong, message):
    with pytest.raises(InputError, match=message):
        fit_embedding(RKD, epochs=4, **wrong)


@pytest.mark.parametrize("options", [{}, {"teacher": "features", "loss_weight": 1.0}])
def test_labels_are_needed_where_they_are_learnt(identities, fit_embedding, options):
    with pytest.raises(InputError, match="0 of 8 classes have two samples"):
        fit_embedding(RKD, unlabelled(identities), material=signal(identities), **options)


def test_by_the_front_door(tmp_path, identities):
    X, y = identities.inputs.numpy(), identities.given.numpy()
    params = {"embedding_size": 8, "teacher_size": 12}
    model = tamis.train(
        features=X, labels=y, task="retrieval", method="rkd", params=params, epochs=3, out=tmp_path / "run"
    )
    loaded = tamis.TrainedModel.load(tmp_path / "run")
    embeddings = loaded.embed(X)
    assert embeddings.shape == (len(X), 8)
    np.testing.assert_array_equal(embeddings, model.embed(X))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert model.issues.num_rows == len(X)
