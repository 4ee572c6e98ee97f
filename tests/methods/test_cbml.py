"""Contrastive Bayesian metric learning, by the real engine."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses import CBMLLoss
from tamis.methods import METHODS
from tamis.methods.cbml import CBML

# Two classes a batch of two pairs: every row once, in an order that does not matter to the loss.
WHOLE = {"recipe": {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0}, "per_class": 5}


def test_facts_and_recipe():
    facts = METHODS.facts("cbml")
    assert (facts.task, facts.inputs, facts.year) == ("retrieval", ("any",), 2022)
    assert CBML.recipe.batch_size == 60


def test_first_step_by_hand(fit_embedding, plant_identities):
    """A batch that holds every row once is the loss of all rows, whatever their order."""
    data = plant_identities(5, 0.0)
    network = fit_embedding(CBML, data, epochs=0, **WHOLE).method.network
    loss = CBMLLoss(reference=0.2)(normalize(network(data.inputs).logits, dim=1), data.given)
    loss.backward()
    run = fit_embedding(CBML, data, epochs=1, batch_size=40, lr=0.1, reference=0.2, **WHOLE)
    assert run.records[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    step = network.head.weight - 0.1 * network.head.weight.grad
    assert torch.allclose(run.method.network.head.weight, step, atol=1e-6)


def test_a_class_of_one_is_left_out(fit_embedding, plant_identities):
    data = plant_identities(10, 0.0)
    alone = data.given.clone()
    alone[8:][data.given[8:] == 0] = 1
    run = fit_embedding(CBML, data._replace(given=alone), epochs=2)
    assert (alone == 0).sum() == 1
    order = torch.cat([each.streams["train"].index for each in run.method.plan_epoch(0, run.training.scan)])
    assert 0 not in alone[order]
    assert run.training.verdict().clean_scores.isfinite().all()


def test_batches_of_one_class_teach_nothing(fit_embedding, plant_identities):
    """Without a negative there are no hard pairs: the loss is 0, and the network stays as it began."""
    one, first = (
        fit_embedding(CBML, epochs=epochs, batch_size=4, per_class=4, **{"recipe": WHOLE["recipe"]})
        for epochs in (1, 0)
    )
    assert one.records[0]["loss"] == 0.0
    assert one.is_same(first)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"growth": "square"}, "growth is 'square'"),
        ({"reference": 1.5}, "reference is 1.5"),
        ({"negative_scale": 0.0}, "negative_scale 0.0; expected above 0"),
        ({"n_hardest": 0}, "n_hardest is 0"),
        ({"variance_reduction": "none"}, "variance_reduction is 'none'"),
        ({"per_class": 1}, "per_class is 1; expected at least 2"),
        ({"embedding_size": 1}, "embedding_size is 1; expected at least 2"),
    ],
)
def test_refused(wrong, said, fit_embedding):
    with pytest.raises(InputError, match=said):
        fit_embedding(CBML, epochs=0, **wrong)
