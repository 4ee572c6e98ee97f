"""InsCLR as a method: pools, pseudo labels and stages by the real engine, on planted instances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tamis
from tamis.errors import InputError
from tamis.evaluation import retrieval_metrics
from tamis.losses.thresholded_contrastive import thresholded_contrastive
from tamis.methods.base import METHODS
from tamis.methods.batches import Batch, Moment

INSCLR = METHODS.get("insclr")
N_INSTANCES, PER_INSTANCE, WIDTH = 24, 10, 16
OPTIONS = {
    "embedding_size": 16,
    "epochs": 4,
    "lr": 0.01,
    "positive_threshold": 0.8,
    "mode": "b+i_tr2_avg0.60_k03",
    "n_excluded": 9,
}


def instances(seed: int = 0, *, is_labelled: bool = False):
    """Return views of 24 instances in 16 of 32 dimensions, the others noise, as inputs, truth and labels."""
    centres = torch.randn(N_INSTANCES, WIDTH, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(N_INSTANCES * PER_INSTANCE) % N_INSTANCES
    signal = centres[truth] + 0.3 * torch.randn(len(truth), WIDTH, generator=generator)
    noise = torch.randn(len(truth), WIDTH, generator=generator)
    inputs = torch.cat([signal, noise], dim=1)
    return inputs, truth, truth if is_labelled else torch.full_like(truth, -1)


@pytest.fixture
def train(plant, fit_embedding):
    """Return `fit_embedding` for InsCLR; on instances without labels, where nothing else is given."""
    kind = type(plant(6))
    test = kind(*instances(9))

    def run(fit=fit_embedding, *, data=None, is_labelled=False, **options):
        data = kind(*(data or instances(is_labelled=is_labelled)))
        return fit(INSCLR, data, test=test, **(OPTIONS | options))

    return run


def precision_at_1(method) -> float:
    inputs, truth, _ = instances(seed=9)
    found = method.eval().forward(inputs).features.detach()
    return float(retrieval_metrics(found, truth, metrics=("precision_at_1",))["precision_at_1"])


def step_of(method, index, phase, *, position=0):
    inputs, _, given = instances()
    batch = Batch((inputs[index], inputs[index]), given[index], index)
    now = Moment(seed=0, epoch=3, n_epochs=4, position=position, length=4, step=7, phase=phase)
    return method.training_step({"train": batch}, now)


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_it_learns_without_labels(train, backbone):
    run = train(backbone=backbone)
    assert precision_at_1(train(backbone=backbone, epochs=0).method) < 0.7
    assert precision_at_1(run.method) > 0.96  # 0.95 for the inputs themselves
    assert len(run.method.memory) == len(run.data.inputs)
    assert run.records[-1]["mined"] > 0
    verdict = run.training.verdict()
    assert verdict.clean_scores.isnan().all()
    assert verdict.suggested.tolist() == run.data.given.tolist()


def test_mixed_precision_mines_as_full_precision_does(train):
    mixed, full = (train(precision=precision) for precision in ("bf16-mixed", "32-true"))
    assert mixed.records[-1]["loss"] == pytest.approx(full.records[-1]["loss"], rel=0.1)
    assert mixed.records[-1]["mined"] == pytest.approx(full.records[-1]["mined"], rel=0.1)


def test_batches_are_anchors_and_their_neighbours(train):
    method = train(epochs=1, stages=1).method
    (plan,) = method.plan_epoch(0, None)
    rows = plan.streams["train"].index.view(-1, 4)
    assert sorted(rows[:, 0].tolist()) == list(range(240))
    assert torch.equal(rows[:, 1:], method.nearest[rows[:, 0], :3])
    assert plan.streams["train"].batch_size == 32
    assert plan.name == "mining"
    other = method.plan_epoch(1, None)[0].streams["train"].index
    assert not torch.equal(other, plan.streams["train"].index)


def test_stages_follow_each_other(train):
    method = train(epochs=5, stages=3).method
    # 0, 1, 3: mining begins with the last.
    pools = []
    method._search = lambda features: pools.append(features)
    method.embeddings = lambda scan: "embeddings"
    names = [method.plan_epoch(epoch, None)[0].name for epoch in range(5)]
    assert names == ["early", "early", "early", "mining", "mining"]
    assert pools == ["embeddings", "embeddings"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_fewer_epochs_than_stages(train, epochs):
    assert len(train(epochs=epochs, stages=3).records) == epochs


def test_the_pool_comes_from_the_network_or_from_features(train):
    inputs, _, _ = instances()
    material = {"features": lambda: inputs[:, :WIDTH], "has_features": True}
    of_features = train(epochs=0, material=material).method.nearest
    of_inputs = train(epochs=0).method.nearest
    assert torch.equal(train(epochs=0, pool="network", material=material).method.nearest, of_inputs)
    assert not torch.equal(of_features, of_inputs)
    unit = torch.nn.functional.normalize(inputs[:, :WIDTH])
    wanted = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    assert torch.equal(of_features[:, 0], wanted)


def test_an_early_step_by_hand(train):
    method = train(epochs=0, memory_weight=0.0, n_excluded=0).method
    # Anchor 0 with three neighbours, and anchor 1.
    index = torch.cat([torch.tensor([0]), method.nearest[0, :3], torch.tensor([1]), method.nearest[1, :3]])
    labels = torch.tensor([1, 1, 1, 1, 2, 2, 2, 2])
    embeddings = method.embed(instances()[0][index])
    torch.testing.assert_close(step_of(method, index, "early"), thresholded_contrastive(embeddings, labels))
    torch.testing.assert_close(method.memory.features[index], embeddings.detach())


def test_likely_positives_are_no_negatives(train):
    method = train(epochs=0, memory_weight=0.0, margin=0.0, n_excluded=40).method
    # Row 24 is another view of instance 0: two groups of the same instance, all views near each other.
    groups = [torch.cat([torch.tensor([row]), method.nearest[row, :3]]) for row in (0, 24)]
    value = step_of(method, torch.cat(groups), "early")
    alone = [step_of(method, group, "early") for group in groups]
    torch.testing.assert_close(value, (alone[0] + alone[1]) / 2)
    # Likely or not, a sample is no negative of itself.
    unaware = train(epochs=0, memory_weight=0.0, margin=0.0, n_excluded=0).method
    same = torch.cat([groups[0], groups[0][[1, 0, 2, 3]]])
    assert step_of(unaware, same, "early") < unaware.embed(instances()[0][same]).square().sum()


def test_the_memory_is_compared_with_after_the_warm_up(train):
    index = torch.cat([torch.tensor([0]), torch.tensor([24, 48, 72])])
    for phase in ("early", "mining"):
        values = []
        for warmup in (0.0, 9.0):
            method = train(epochs=1, warmup=warmup, margin=0.0, negative_threshold=-1.0).method.train()
            values.append(step_of(method, index, phase))
        assert values[0] >= values[1]
    assert values[1].isfinite()


def test_rejected_neighbours_are_negatives(train):
    method = train(epochs=0, memory_weight=0.0, batch_threshold=1.1, margin=0.0).method
    index = torch.cat([torch.tensor([0]), method.nearest[0, :3]])
    embeddings = method.embed(instances()[0][index])
    wanted = thresholded_contrastive(embeddings, torch.tensor([1, -2, -3, -4]), margin=0.0)
    torch.testing.assert_close(step_of(method, index, "mining"), wanted)
    assert method.notes["kept"].item() == 0.25


def test_labels_can_be_a_start(train):
    method = train(epochs=0, use_labels=True, memory_weight=0.0, n_excluded=0, margin=0.0).method
    index = torch.tensor([0, 24, 1, 48])
    inputs, truth, _ = instances()
    given = truth[index].clone()
    given[3] = -1  # nothing is known against it
    batch = Batch((inputs[index],) * 2, given, index)
    now = Moment(seed=0, epoch=0, n_epochs=4, position=0, length=4, step=0, phase="early")
    embeddings = method.embed(inputs[index])
    wanted = thresholded_contrastive(embeddings, torch.tensor([1, 1, -3, 1]), margin=0.0)
    torch.testing.assert_close(method.training_step({"train": batch}, now), wanted)
    run = train(use_labels=True, is_labelled=True)
    assert precision_at_1(run.method) > 0.96
    assert run.training.verdict().clean_scores.isfinite().all()


def test_given_labels_play_no_part_otherwise(train):
    assert train().is_same(train(is_labelled=True))


def test_two_runs_are_equal_and_a_killed_one_goes_on_bitwise(train, resumed_embedding):
    whole = train(backbone="mlp")
    assert whole.is_same(train(backbone="mlp"))
    # 30 steps an epoch: once within the early stage, once while mining in the network's own pool.
    assert train(resumed_embedding, at_step=95, backbone="mlp").is_same(whole)


def test_a_run_killed_early_goes_on_bitwise(train, resumed_embedding):
    assert train(resumed_embedding, at_step=40).is_same(train())


def test_rows_without_a_direction_are_nobodys_neighbours(train):
    inputs, truth, given = instances()
    inputs = inputs.clone()
    inputs[:5] = 0
    run = train(data=(inputs, truth, given), pool="network", stages=1)
    assert (run.method.nearest >= 5).sum() == (240 - 5) * 234
    with pytest.raises(InputError, match="no row has neighbours"):
        train(data=(torch.zeros_like(inputs), truth, given))


def test_very_few_rows(train):
    run = train(data=[part[:3] for part in instances()])
    assert run.method.nearest.shape == (3, 2)
    assert all(np.isfinite(line["loss"]) for line in run.records)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"neighbors": 0}, "neighbors is 0"),
        ({"stages": 0}, "stages is 0"),
        ({"pool_size": 0}, "pool_size is 0"),
        ({"memory_size": 0}, "memory_size is 0"),
        ({"n_excluded": -1}, "n_excluded is -1"),
        ({"memory_weight": -0.5}, "memory_weight is -0.5"),
        ({"warmup": float("nan")}, "warmup is nan"),
        ({"pool": "labels"}, "pool is 'labels'"),
        ({"pool": "features"}, "no frozen features"),
        ({"mode": "b+i"}, "mode is 'b"),
        ({"margin": -1.0}, "margin is -1"),
        ({"positive_threshold": 0.4}, "negative_threshold is 0.5, above"),
    ],
)
def test_refusals(train, wrong, message):
    with pytest.raises(InputError, match=message):
        train(**wrong)


def test_by_the_front_door(tmp_path):
    inputs, truth, _ = instances()
    X, labels = inputs.numpy(), truth.numpy()
    model = tamis.train(
        features=X,
        labels=np.where(labels < 4, labels, -1),
        task="retrieval",
        method="insclr",
        params={key: value for key, value in OPTIONS.items() if key != "epochs"},
        epochs=2,
        out=tmp_path / "run",
    )
    loaded = tamis.TrainedModel.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.embed(X), model.embed(X))
    found = retrieval_metrics(loaded.embed(X), labels, metrics=("precision_at_1",))
    assert float(found["precision_at_1"]) > 0.9
