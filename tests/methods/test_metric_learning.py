"""Metric learning from a loss, a memory and a filter; PRISM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest
import torch
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses import ContrastiveLoss, MetricLossName
from tamis.methods.base import Losses
from tamis.methods.batches import Batch, Moment
from tamis.methods.metric import Metric
from tamis.methods.metric_learning import MetricLearning
from tamis.methods.prism import PRISM

SGD = {"recipe": {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0}, "per_class": 5}
LOSSES = get_args(MetricLossName)
RATE = {"noise_rate": 0.2}
AT_ONCE = {"warmup": 0.0}


def watching(method_class: type[MetricLearning]) -> type[MetricLearning]:
    """Return the method, noting which rows its filter left out, batch by batch."""

    class Watching(method_class):
        def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
            loss = super().training_step(batches, moment)
            if self._step is not None and self._step[0] is not None:
                seen.append((moment.epoch, batches["train"].index, self._step[0].keep))
            return loss

    seen = Watching.seen = list[tuple[int, torch.Tensor, torch.Tensor]]()
    return Watching


def test_first_step_is_the_loss_of_the_batch(fit_embedding, plant_identities):
    data = plant_identities(5, 0.0)
    network = fit_embedding(Metric, data, epochs=0, **SGD).method.network
    value = ContrastiveLoss()(normalize(network(data.inputs).logits, dim=1), data.given)
    value.backward()
    run = fit_embedding(Metric, data, epochs=1, batch_size=40, lr=0.01, **SGD)
    assert run.records[0]["loss"] == pytest.approx(value.item(), rel=1e-5)
    step = network.head.weight - 0.01 * network.head.weight.grad
    assert torch.allclose(run.method.network.head.weight, step, atol=1e-5)


def test_second_step_adds_the_loss_against_the_memory(fit_embedding, plant_identities):
    data = plant_identities(5, 0.0)
    rows, labels = data.inputs, data.given
    network = fit_embedding(Metric, data, epochs=0, **SGD).method.network
    optimizer, loss = torch.optim.SGD(network.parameters(), lr=0.01), ContrastiveLoss()
    first = normalize(network(rows).logits, dim=1)
    loss(first, labels).backward()
    optimizer.step()
    second = normalize(network(rows).logits, dim=1)
    value = loss(second, labels) + 0.5 * loss(second, labels, ref_emb=first.detach(), ref_labels=labels)
    how = {"batch_size": 40, "lr": 0.01, "memory": 40, "memory_weight": 0.5, "warmup": 0.0} | SGD
    run = fit_embedding(Metric, data, epochs=2, **how)
    assert run.records[1]["loss"] == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize("similarity", ["average", "vmf"])
def test_the_filter_leaves_wrong_labels_out(similarity, fit_embedding):
    method = watching(PRISM)
    run = fit_embedding(method, epochs=20, similarity=similarity, **RATE)
    late = [(index, keep) for epoch, index, keep in method.seen if epoch >= 10]
    index, keep = (torch.cat(parts) for parts in zip(*late, strict=True))
    is_wrong = run.data.is_wrong[index]
    assert 0.1 < (~keep).float().mean() < 0.3
    assert is_wrong[~keep].float().mean() > 0.6
    assert is_wrong[keep].float().mean() < 0.1
    assert run.records[-1]["kept"] == pytest.approx(0.8, abs=0.1)


def test_random_drop_leaves_the_same_share_out_whatever_the_labels(fit_embedding):
    method = watching(Metric)
    run = fit_embedding(method, selector="random", **AT_ONCE, **RATE)
    index, keep = (torch.cat(parts) for parts in zip(*[each[1:] for each in method.seen], strict=True))
    assert (~keep).float().mean() == pytest.approx(6 / 32)
    assert abs(run.data.is_wrong[index[~keep]].float().mean() - 0.2) < 0.1
    other = fit_embedding(Metric, selector="random", seed=1, **RATE)
    assert not run.is_same(other, only="network")


def test_only_what_was_kept_is_remembered(fit_embedding):
    method = watching(PRISM)
    run = fit_embedding(method, epochs=1, **AT_ONCE, **RATE)
    kept = [index[keep] for _, index, keep in method.seen]
    memory = run.method.memory
    assert int(memory.n_rows) == sum(map(len, kept))
    assert torch.equal(memory.index[: int(memory.n_rows)], torch.cat(kept))
    assert torch.equal(memory.labels[: int(memory.n_rows)], run.data.given[torch.cat(kept)])
    full = fit_embedding(Metric, memory=50)
    assert int(full.method.memory.n_rows) == 50


def test_prism_remembers_all_rows_up_to_8192(fit_embedding):
    assert fit_embedding(PRISM, epochs=0, **RATE).method.memory.size == 160
    assert fit_embedding(PRISM, epochs=0, memory=70, **RATE).method.memory.size == 70
    assert fit_embedding(Metric, epochs=0).method.memory is None


@pytest.mark.parametrize("method", [PRISM, Metric])
def test_a_memory_is_saved_once(fit_embedding, method):
    given = RATE if method is PRISM else {"memory": 50}
    saved = fit_embedding(method, epochs=0, **given).method.state_dict()
    assert [name.rpartition(".")[2] for name in saved].count("embeddings") == 1


def test_warm_up_trains_on_all_and_remembers_nothing(fit_embedding):
    plain, warm = fit_embedding(Metric, epochs=2), fit_embedding(PRISM, epochs=2, warmup=2.0, **RATE)
    assert plain.is_same(warm, only="network")
    assert not int(warm.method.memory.n_rows)
    assert "kept" not in warm.records[-1]
    later = fit_embedding(PRISM, epochs=3, warmup=2.0, **RATE)
    assert int(later.method.memory.n_rows)


def test_half_an_epoch_of_warm_up(fit_embedding):
    method = watching(PRISM)
    fit_embedding(method, epochs=1, warmup=0.5, **RATE)
    assert len(method.seen) == 2  # of 5 steps, those from the middle on


@pytest.mark.parametrize("loss", LOSSES)
def test_batches_of_which_nothing_or_one_row_is_kept(loss, fit_embedding):
    class Harsh(PRISM):
        n_kept = 0

        def prepare(self, material, scan):
            super().prepare(material, scan)
            select = self.selector.select

            def harsh(*arguments):
                selection = select(*arguments)
                keep = torch.arange(len(selection.keep)) < self.n_kept
                return selection._replace(keep=keep)

            self.selector.select = harsh

    nothing = fit_embedding(Harsh, epochs=2, loss=loss, **AT_ONCE, **RATE)
    assert nothing.records[-1]["loss"] == 0
    assert nothing.records[-1]["kept"] == 0
    assert not int(nothing.method.memory.n_rows)
    Harsh.n_kept = 1
    one = fit_embedding(Harsh, epochs=2, loss=loss, **AT_ONCE, **RATE)
    assert one.records[-1]["kept"] == pytest.approx(1 / 32)
    assert one.precision_at_1 > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_with_the_filter(loss, fit_embedding):
    run = fit_embedding(PRISM, epochs=15, loss=loss, **RATE)
    assert run.ranks_wrong_below_right() > 0.7


@pytest.mark.parametrize("loss", ["soft_triple", "proxy_anchor", "proxy_nca"])
def test_proxies_have_a_learning_rate_of_their_own(loss, fit_embedding):
    how = {"loss": loss, "proxy_lr": 30.0, "recipe": {"weight_decay": 0.1}}
    run = fit_embedding(Metric, epochs=0, **how)
    network, proxies = run.training.optimizers["main"].param_groups
    assert proxies["initial_lr"] == pytest.approx(30 * network["initial_lr"])
    assert (network["weight_decay"], proxies["weight_decay"]) == (0.1, 0.0)
    first = torch.nn.utils.parameters_to_vector(run.method.loss.parameters())
    same, other = (fit_embedding(Metric, epochs=0, seed=seed, **how) for seed in (0, 1))
    for each, is_equal in ((same, True), (other, False)):
        again = torch.nn.utils.parameters_to_vector(each.method.loss.parameters())
        assert torch.equal(first, again) is is_equal
    trained = fit_embedding(Metric, epochs=1, **how)
    assert not torch.equal(first, torch.nn.utils.parameters_to_vector(trained.method.loss.parameters()))


def test_by_default_the_first_epoch_is_a_warm_up(fit_embedding):
    one, two = (fit_embedding(PRISM, epochs=epochs, **RATE).method.memory.n_rows for epochs in (1, 2))
    assert int(one) == 0 < int(two)


def test_pair_losses_have_one_group(fit_embedding):
    assert len(fit_embedding(Metric, epochs=0).training.optimizers["main"].param_groups) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"loss": "proxy_anchor"},
        {"loss": "multi_similarity", "memory": 40, **AT_ONCE},
        {"selector": "random", "memory": 40, **AT_ONCE, **RATE},
        {"selector": "prism_vmf", "loss": "soft_triple", "window": 3, "warmup": 0.5, **RATE},
    ],
)
def test_goes_on_after_a_kill_as_if_nothing_had_happened(how, fit_embedding, resumed_embedding):
    whole = fit_embedding(Metric, epochs=2, **how)
    again = resumed_embedding(Metric, epochs=2, at_step=7, **how)
    assert whole.is_same(again)


def test_the_rate_is_estimated_where_none_is_given(fit_embedding):
    known = {"material": {"noise_rate": lambda: 0.25}}
    assert fit_embedding(PRISM, epochs=0, **known).method.selector.rate == 0.25
    assert fit_embedding(PRISM, epochs=0, noise_rate=0.1, **known).method.selector.rate == 0.1
    with pytest.raises(InputError, match="the noise rate is not known"):
        fit_embedding(PRISM, epochs=0)
    assert fit_embedding(Metric, epochs=0).method.selector is None  # does not ask


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "triplet"}, "name is 'triplet'; expected one of contrastive"),
        ({"loss": "proxy_anchor", "memory": 40}, "compares samples with proxies"),
        ({"selector": "prism_average", "memory": 0}, "memory is 0, and PRISM judges samples by one"),
        ({"selector": "prsim"}, "selector is 'prsim'; expected one of 'none', 'prism_average'"),
        ({"memory": -5}, "memory is -5; expected a number of embeddings"),
        ({"memory_weight": -1.0}, "memory_weight is -1.0; expected 0 or more"),
        ({"warmup": -1.0}, "warmup is -1.0; expected 0 or more"),
        ({"proxy_lr": 0.0}, "proxy_lr is 0.0; expected above 0"),
        ({"noise_rate": 1.0}, "noise_rate is 1.0"),
        ({"noise_rate": "much"}, "noise_rate is 'much'"),
        ({"selector": "prism_vmf", "window": 0, **RATE}, "window is 0"),
        ({"margin": 3.0}, "margin is 3.0"),
        ({"per_class": 1}, "per_class is 1; expected at least 2"),
    ],
)
def test_refused(wrong, said, fit_embedding):
    with pytest.raises(InputError, match=said):
        fit_embedding(Metric, epochs=0, **wrong)


def test_similarity_of_prism_is_checked(fit_embedding):
    with pytest.raises(InputError, match="similarity is 'mean'"):
        fit_embedding(PRISM, epochs=0, similarity="mean", **RATE)
