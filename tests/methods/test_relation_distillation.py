"""Relation distillation beside a host, and SimSiam before it."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import tamis
from tamis.backbones import build_backbone
from tamis.engine import Feeder, ResidentExamples, Settings, Training, make_fabric
from tamis.errors import InputError, TamisWarning
from tamis.losses import RelationDistillation, simsiam_loss
from tamis.methods import METHODS, PLUGINS, Batch, Material, Seen
from tamis.methods.relation_distillation import RelationDistillationPlugin
from tamis.methods.simsiam import SimSiam
from tamis.samplers import shuffled

N = 96
TEACHER = {"teacher_epochs": 2, "teacher_batch_size": 32, "teacher_projected": 16}
MLP = {"hidden": (6,), "norm": "batch", "dropout": 0.5}
HOSTS = {
    "cross_entropy": {},
    "elr": {},
    "elr_plus": {},
    "co_teaching": {"noise_rate": 0.3, "n_gradual": 1},
    "jocor": {"noise_rate": 0.3, "n_gradual": 1},
}


class Kill(Exception):
    """Stands for a kill."""


def noisy(inputs, index, *, seed, step, view):
    generator = torch.Generator().manual_seed(1000 * seed + 10 * step + view)
    return inputs + 0.3 * torch.randn(inputs.shape, generator=generator)


def same(inputs, index, *, seed, step, view):
    return inputs


class Trained(NamedTuple):
    method: torch.nn.Module
    plugin: RelationDistillationPlugin | None
    training: Training
    records: list[dict[str, float]]

    def is_same(self, other):
        mine, theirs = self.method.state_dict(), other.method.state_dict()
        return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def data(plant):
    return plant(N)


@pytest.fixture
def train(data):
    """Return a function that trains a host on features, with a plug-in or without."""

    def run(
        host="cross_entropy",
        plugin=None,
        *,
        options=MLP,
        seed=0,
        out=None,
        has_features=True,
        batch_size=32,
        **how,
    ):
        kind = METHODS.get(host) if isinstance(host, str) else host

        def build(number):
            return build_backbone("mlp", input_shape=(8,), n_classes=3, seed=seed + number, **options)

        method = kind(build, n_samples=N, n_classes=3, **HOSTS.get(host, {}))
        training = Training(
            method,
            Feeder(
                ResidentExamples(data.inputs),
                data.given,
                {"none": same, "weak": same, "simsiam": noisy},
                batch_size,
            ),
            Material(data.given, 3, seed=seed, features=lambda: data.inputs, has_features=has_features),
            kind.recipe.changed(**{"epochs": 2, "batch_size": batch_size, "lr": 0.05, **how}),
            make_fabric("cpu"),
            [] if plugin is None else [plugin],
            Settings(out=out, checkpoint_seconds=0.0),
        )
        return Trained(method, plugin, training, training.run())

    return run


def plugin(**options):
    return RelationDistillationPlugin(**{"teacher": "features", "ramp_epochs": 0, **options})


def test_is_registered():
    assert PLUGINS.get("relation_distillation") is RelationDistillationPlugin
    assert "RMDNet-style" in PLUGINS.facts("relation_distillation").title


@pytest.mark.parametrize("host", sorted(HOSTS))
@pytest.mark.parametrize("off", [{"weight": 0.0}, {"edge_weight": 0.0, "node_weight": 0.0}])
def test_weight_0_leaves_the_host_bit_for_bit_as_it_is(host, off, train):
    assert train(host).is_same(train(host, plugin(teacher="simsiam", **off)))


@pytest.mark.parametrize("host", ["cross_entropy", "co_teaching", "elr_plus"])
def test_changes_the_host_otherwise(host, train):
    assert not train(host).is_same(train(host, plugin()))


def test_nothing_happens_before_the_ramp_begins(train):
    alone = train(epochs=1, batch_size=N)
    assert alone.is_same(train(plugin=plugin(ramp_epochs=10), epochs=1, batch_size=N))


def test_first_step_by_hand(train, data):
    index = torch.from_numpy(shuffled(range(N), seed=0, epoch=0))
    network = build_backbone("mlp", input_shape=(8,), n_classes=3, seed=0, hidden=(6,))
    fresh = plugin(weight=0.5, k=4)
    fresh.meet(
        METHODS.get("cross_entropy")(lambda number: network, n_samples=N, n_classes=3), run_material(data)
    )
    outputs = network(data.inputs[index])
    projector = fresh.students[0].projector
    terms = RelationDistillation(projector, k=4)(outputs.features, data.inputs[index])
    fit = torch.nn.functional.cross_entropy(outputs.logits, data.given[index])
    run = train(plugin=plugin(weight=0.5, k=4), epochs=1, options={"hidden": (6,)}, batch_size=N)
    assert run.records[0]["loss"] == pytest.approx((fit + 0.5 * terms).item(), rel=1e-5)


def run_material(data):
    return Material(data.given, 3, features=lambda: data.inputs, has_features=True)


def test_every_network_has_its_own_projector_and_it_learns(train):
    fresh = train("co_teaching", plugin(), epochs=0).plugin
    run = train("co_teaching", plugin())
    before, after = ([student.projector.weight for student in each.students] for each in (fresh, run.plugin))
    assert len(after) == 2
    assert not torch.equal(before[0], before[1])
    for old, new in zip(before, after, strict=True):
        assert new.shape == (8, 6)
        assert not torch.equal(old, new)


def test_no_projector_without_the_node_term(train):
    run = train(plugin=plugin(node_weight=0.0))
    assert not list(run.plugin.parameters())


def test_pulls_relations_towards_the_teacher(train, data):
    def edge(run):
        with torch.no_grad():
            features = run.method.eval()(data.inputs).features
        return RelationDistillation(edge_weight=1, node_weight=0).terms(features, data.inputs).edge

    alone, taught = train(epochs=10), train(plugin=plugin(weight=5.0), epochs=10)
    assert edge(taught) < 0.7 * edge(alone)


def test_teacher_gets_no_gradient_and_stays(train, data):
    run = train(plugin=plugin())
    assert torch.equal(run.plugin.teacher_features, data.inputs)
    assert not run.plugin.teacher_features.requires_grad


def test_simsiam_teacher_is_a_trained_copy_of_the_first_weights(train, data):
    run = train(plugin=plugin(teacher="simsiam", **TEACHER))
    network = build_backbone("mlp", input_shape=(8,), n_classes=3, seed=0, **MLP)
    with torch.no_grad():
        untrained = network.eval()(data.inputs).features
    taught = run.plugin.teacher_features
    assert taught.shape == untrained.shape
    assert not torch.equal(taught, untrained)
    assert not taught.requires_grad


@pytest.mark.parametrize(("has_features", "width"), [(True, 8), (False, 6)])
def test_auto_takes_features_that_are_there(train, has_features, width):
    run = train(plugin=plugin(teacher="auto", **TEACHER), has_features=has_features)
    assert run.plugin.teacher_features.shape == (N, width)


def test_first_stage_is_logged_and_done_once(train, tmp_path):
    whole = train(plugin=plugin(teacher="simsiam", **TEACHER), out=tmp_path)
    log = (tmp_path / "first_stage" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]
    assert all(-1 <= json.loads(line)["loss"] <= 1 and "spread" in json.loads(line) for line in log)
    assert len(whole.records) == 2
    stage = tmp_path / "first_stage" / "checkpoints" / "last.safetensors"
    before = stage.stat().st_mtime_ns
    again = train(plugin=plugin(teacher="simsiam", **TEACHER), out=tmp_path)
    assert stage.stat().st_mtime_ns == before
    assert whole.is_same(again)
    assert torch.equal(whole.plugin.teacher_features, again.plugin.teacher_features)


@pytest.mark.parametrize(("dying", "at_step"), [(SimSiam, 1), (SimSiam, 4), (METHODS.get("elr_plus"), 4)])
def test_goes_on_after_a_kill_as_if_nothing_had_happened(dying, at_step, train, tmp_path, monkeypatch):
    whole = train("elr_plus", plugin(teacher="simsiam", **TEACHER))
    step = dying.training_step

    def mortal(self, batches, moment):
        if moment.step == at_step:
            raise Kill
        return step(self, batches, moment)

    with monkeypatch.context() as patch:
        patch.setattr(dying, "training_step", mortal)
        with pytest.raises(Kill):
            train("elr_plus", plugin(teacher="simsiam", **TEACHER), out=tmp_path)
    again = train("elr_plus", plugin(teacher="simsiam", **TEACHER), out=tmp_path)
    assert whole.is_same(again)
    for name, value in whole.plugin.state_dict().items():
        assert torch.equal(value, again.plugin.state_dict()[name])


def test_is_a_function_of_the_seed(train):
    first, second, other = (
        train(plugin=plugin(teacher="simsiam", **TEACHER), seed=seed) for seed in (1, 1, 2)
    )
    assert first.is_same(second)
    assert not torch.equal(first.plugin.teacher_features, other.plugin.teacher_features)


def test_rows_are_looked_up_by_their_number_in_every_stream(train, data):
    run = train(plugin=plugin())
    moment = run.training._moment(next(iter(run.method.plan_epoch(0, run.training.scan))), 3)
    index = torch.tensor([5, 5, 80, 2])
    outputs = run.method.network.eval()(data.inputs[index])
    batch = Batch((data.inputs[index],), data.given[index], index)
    one = Seen(run.method.network, outputs, batch, 0)
    expected = run.plugin.students[0](outputs.features, data.inputs[index])
    assert run.plugin.loss([one], moment).item() == pytest.approx(expected.item(), rel=1e-6)
    # Two views of one network count once.
    assert run.plugin.loss([one, one], moment).item() == pytest.approx(expected.item(), rel=1e-6)


def test_simsiam_first_step_by_hand(data):
    network = build_backbone("mlp", input_shape=(8,), n_classes=3, seed=0, hidden=(6,))
    teacher = SimSiam(lambda number: network, n_samples=N, n_classes=3, n_projected=16)
    index = torch.from_numpy(shuffled(range(N), seed=0, epoch=0))
    one, two = (
        teacher.heads(network(noisy(data.inputs[index], index, seed=0, step=0, view=view)).features)
        for view in (0, 1)
    )
    expected = simsiam_loss(one.predictions, two.predictions, one.projections, two.projections)
    fresh = build_backbone("mlp", input_shape=(8,), n_classes=3, seed=0, hidden=(6,))
    training = Training(
        SimSiam(lambda number: fresh, n_samples=N, n_classes=3, n_projected=16),
        Feeder(ResidentExamples(data.inputs), data.given, {"none": same, "simsiam": noisy}, N),
        Material(data.given.fill_(-1), 3),  # without a single label
        SimSiam.recipe.changed(epochs=1),
        make_fabric("cpu"),
    )
    assert training.run()[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_collapsed_teacher_is_refused(train):
    class Flat(RelationDistillationPlugin):
        def meet(self, host, material):
            self._take(torch.ones(N, 4) + 1e-4 * torch.rand(N, 4))

    with pytest.raises(InputError, match="nearly the same way"):
        train(plugin=Flat())


def test_frozen_features_of_the_host_bring_a_warning(data):
    host = METHODS.get("cross_entropy")(
        lambda number: build_backbone("linear", input_shape=(8,), n_classes=3, seed=0),
        n_samples=N,
        n_classes=3,
    )
    with pytest.warns(TamisWarning, match="changes nothing"):
        plugin().meet(host, run_material(data))
    with (
        pytest.warns(TamisWarning, match="changes nothing"),
        pytest.raises(InputError, match="frozen backbone"),
    ):
        plugin(teacher="simsiam").meet(host, run_material(data))


def test_no_features_at_all(data):
    host = METHODS.get("cross_entropy")(
        lambda number: build_backbone("mlp", input_shape=(8,), n_classes=3, seed=0), n_samples=N, n_classes=3
    )
    with pytest.raises(InputError, match="no frozen features"):
        plugin().meet(host, Material(data.given, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"teacher": "labels"}, "teacher is 'labels'"),
        ({"weight": -1.0}, "weight is -1"),
        ({"k": 0}, "k is 0"),
        ({"ramp_epochs": 2.5}, "ramp_epochs"),
        ({"teacher_epochs": -1}, "epochs is -1"),
        ({"teacher_projected": 0}, "teacher_projected is 0"),
        ({"edge": "cos"}, "edge is 'cos'"),
    ],
)
def test_parameters_out_of_range(wrong, message):
    with pytest.raises(InputError, match=message):
        plugin(**wrong)


@pytest.mark.parametrize("n", [2, 33])
def test_small_batches(n, data, train):
    run = train(plugin=plugin(), batch_size=n)
    assert run.training.verdict().beliefs.isfinite().all()


def test_by_the_front_door():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = rng.normal(size=(90, 5)) + 4 * np.eye(3, 5)[labels]
    model, alone = (
        tamis.train(features=features, labels=labels, method="elr", epochs=2, audit=False, plugins=plugins)
        for plugins in (["relation_distillation"], [])
    )
    assert model.history[-1]["loss"] != alone.history[-1]["loss"]


@pytest.mark.parametrize("given", [True, False])
def test_images_with_features_beside_them_or_of_an_encoder(given, tmp_path):
    rng = np.random.default_rng(0)
    for row in range(12):
        place = tmp_path / "ab"[row % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place / f"{row}.png")
    own = RelationDistillationPlugin(teacher="auto", ramp_epochs=0)
    vectors = rng.normal(size=(12, 4)).astype(np.float32)
    how = {"features": vectors} if given else {"encoder": lambda images: vectors[: len(images), :3]}
    tamis.train(
        tmp_path,
        method="cross_entropy",
        backbone="small_cnn",
        backbone_options={"width": 8},
        epochs=1,
        audit=False,
        plugins=[own],
        **how,
    )
    assert own.teacher_features.shape == (12, 4 if given else 3)
