"""Training with the truncated generalised cross-entropy."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import InputError
from tamis.methods.gce import GCE
from tamis.methods.truncated_gce import TruncatedGCE


def test_is_gce_before_the_first_look(fit):
    run, plain = fit(TruncatedGCE, epochs=3, start=3), fit(GCE, epochs=3)
    assert run.is_same(plain, only="network")
    assert [record["kept"] for record in run.records] == [1.0, 1.0, 1.0]


def test_a_look_by_hand(fit, plant):
    data = plant()
    before = fit(TruncatedGCE, data, epochs=2, start=2, recipe={"schedule": "constant"}).method.network
    posterior = before(data.inputs).logits.softmax(dim=1)[torch.arange(150), data.given]
    run = fit(TruncatedGCE, data, epochs=4, start=2, interval=9, k=0.4, recipe={"schedule": "constant"})
    assert torch.equal(run.method.loss.weights, (posterior > 0.4).float())
    assert 0 < run.records[-1]["kept"] < 1


def test_leaves_out_wrong_labels_and_lets_rows_return(fit, plant):
    data = plant()
    run = fit(TruncatedGCE, data, epochs=12, batch_size=25, start=0.25, interval=1)
    left_out = run.method.loss.weights == 0
    assert data.is_wrong[left_out].float().mean() > 0.9
    assert data.is_wrong[~left_out].float().mean() < 0.1
    posterior = run.training.scan.probabilities()[torch.arange(150), data.given]
    assert (left_out == (posterior <= 0.5)).float().mean() > 0.95
    assert run.accuracy > 0.95


@pytest.mark.parametrize(
    ("epochs", "looks"), [(12, [4, 5, 6, 7, 8, 9, 10, 11]), (24, [8, 10, 12, 14, 16, 18, 20, 22])]
)
def test_looks_scale_with_the_run(epochs, looks, fit, monkeypatch):
    seen = []
    plan = TruncatedGCE.plan_epoch

    def noted(self, epoch, scan):
        self.epoch = epoch
        return plan(self, epoch, scan)

    monkeypatch.setattr(TruncatedGCE, "plan_epoch", noted)
    monkeypatch.setattr(TruncatedGCE, "_look", lambda self, scan: seen.append(self.epoch))
    fit(TruncatedGCE, epochs=epochs, batch_size=150)
    assert seen == looks


def test_where_nothing_would_remain_everything_does(fit):
    run = fit(TruncatedGCE, epochs=2, start=0, k=1.0)
    assert run.records[-1]["kept"] == 1.0


@pytest.mark.parametrize("wrong", [{"k": 0.0}, {"q": 2.0}, {"start": -1}, {"interval": 1.5}])
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(TruncatedGCE, **wrong)
