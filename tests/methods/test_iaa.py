"""Intra-class adaptive augmentation, by the real engine."""

from __future__ import annotations

import pytest
import torch

from tamis.augment import normals
from tamis.errors import InputError
from tamis.losses import IntraClassAugmentationLoss, MinedMultiSimilarityLoss, synthesize
from tamis.memory import ClassVariances
from tamis.methods.iaa import IAA

SGD = {"recipe": {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0}, "per_class": 5}


def test_a_step_with_copies_by_hand(fit_embedding, plant_identities):
    data = plant_identities(5, 0.0)
    network = fit_embedding(IAA, data, epochs=0, **SGD).method.network
    rows = network(data.inputs).logits
    spread = ClassVariances(8, 8)
    spread.update([(rows, data.given)])
    noise = normals(0, 0, torch.arange(40), 2 * 8, stream="iaa").view(40, 2, 8).transpose(0, 1)
    copies = synthesize(rows, data.given, spread.effective, noise, 0.6 * 0.5)
    loss = IntraClassAugmentationLoss(MinedMultiSimilarityLoss())
    value = loss(rows, data.given, ref_emb=copies.embeddings, ref_labels=copies.labels)
    value.backward()
    run = fit_embedding(IAA, data, epochs=1, batch_size=40, lr=0.1, start=0, copies=2, strength=0.5, **SGD)
    assert run.records[0]["loss"] == pytest.approx(value.item(), rel=1e-5)
    step = network.head.weight - 0.1 * network.head.weight.grad
    assert torch.allclose(run.method.network.head.weight, step, atol=1e-6)


def test_no_copies_before_their_time_and_measured_every_period(fit_embedding):
    first = fit_embedding(IAA, epochs=2, start=0.9)
    plain = fit_embedding(IAA, epochs=2, copies=0)
    assert first.is_same(plain)
    assert not first.method.spread.counts.any()
    # Epochs 2, 5 and 8 of 10: every row was counted three times.
    run = fit_embedding(IAA, epochs=10, start=0.2, period=3)
    assert int(run.method.spread.counts.sum()) == 3 * 160
    assert (run.method.spread.variances > 0).all()


def test_spread_is_of_the_rows_trained_on(fit_embedding, plant_identities):
    data = plant_identities()
    selected = ~data.is_wrong
    run = fit_embedding(IAA, data, epochs=1, start=0, material={"selected": selected})
    assert torch.equal(run.method.spread.counts, torch.bincount(data.given[selected], minlength=8))


def test_classes_of_one_borrow_their_variance(fit_embedding, plant_identities):
    data = plant_identities(10, 0.0)
    given = data.given.clone()
    given[8:][data.given[8:] == 0] = 1
    data = data._replace(given=given)
    own, borrowed = (
        fit_embedding(IAA, data, epochs=1, start=0, correction=c).method.spread for c in ("auto", "always")
    )
    assert own.corrected is None
    assert (own.effective[0] == 0).all()
    assert (borrowed.effective[0] > 0).all()


@pytest.mark.parametrize("loss", ["multi_similarity", "contrastive", "triplet"])
def test_every_loss_trains(loss, fit_embedding):
    run = fit_embedding(IAA, epochs=3, start=0, loss=loss)
    assert 0 < run.records[-1]["loss"] < run.records[0]["loss"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "soft_triple"}, "loss is 'soft_triple'; expected one of 'multi_similarity'"),
        ({"copies": -1}, "copies is -1; expected at least 0"),
        ({"period": 0}, "period is 0; expected at least 1"),
        ({"strength": -0.1}, "strength is -0.1"),
        ({"start": 1.5}, "start is 1.5"),
        ({"momentum": 2.0}, "momentum is 2.0"),
        ({"correction": "yes"}, "correction is 'yes'"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"sigma_mean": 0.0}, "sigma_mean is 0.0"),
        ({"normalize": "max"}, "normalize is 'max'"),
    ],
)
def test_refused(wrong, said, fit_embedding):
    with pytest.raises(InputError, match=said):
        fit_embedding(IAA, epochs=0, **wrong)
