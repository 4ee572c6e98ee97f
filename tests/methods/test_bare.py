"""BARE."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError, TamisWarning
from tamis.methods.bare import BARE
from tamis.methods.cross_entropy import CrossEntropy

SGD = {"recipe": {"optimizer": "sgd", "schedule": "constant", "weight_decay": 0.0}, "lr": 0.5}


def test_loss_of_the_first_step_by_hand(fit, plant):
    data = plant()
    network = fit(BARE, data, epochs=0).method.network
    logits = network(data.inputs).logits
    posterior = logits.softmax(dim=1)
    threshold = posterior.mean(dim=0) + posterior.std(dim=0)
    keep = posterior[torch.arange(150), data.given] >= threshold[data.given]
    run = fit(BARE, data, epochs=1, batch_size=150)
    assert run.records[0]["loss"] == pytest.approx(
        cross_entropy(logits[keep], data.given[keep]).item(), rel=1e-5
    )
    assert run.records[0]["kept"] == pytest.approx(float(keep.float().mean()))


def test_where_nothing_stands_out_it_is_cross_entropy_or_stands_still(fit):
    full, skip = (fit(BARE, kappa=50.0, fallback=fallback, **SGD) for fallback in ("full", "skip"))
    plain, start = fit(CrossEntropy, **SGD), fit(BARE, epochs=0)
    assert torch.allclose(full.method.network.head.weight, plain.method.network.head.weight, atol=1e-5)
    assert skip.is_same(start)
    assert full.records[-1]["kept"] == skip.records[-1]["kept"] == 0


def test_kept_rows_are_cleaner_and_a_warmup_sees_all(fit, plant):
    data = plant(n_classes=4, n=400)
    run = fit(BARE, data, epochs=6, lr=0.03, warmup=2)
    assert [record.get("kept") for record in run.records[:2]] == [None, None]
    logits = torch.cat([block.outputs.logits for block in run.training.scan.blocks()])
    keep = run.method.selector.select(logits, data.given).keep
    assert run.records[-1]["kept"] == pytest.approx(float(keep.float().mean()), abs=0.1)
    assert data.is_wrong[keep].float().mean() < 0.05 < data.is_wrong.float().mean()


def test_two_classes_are_warned_about(fit, plant):
    with pytest.warns(TamisWarning, match="2 classes"):
        fit(BARE, plant(n_classes=2), epochs=1)


@pytest.mark.parametrize("wrong", [{"kappa": float("nan")}, {"stats": "some"}, {"warmup": -1}])
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(BARE, **wrong)
