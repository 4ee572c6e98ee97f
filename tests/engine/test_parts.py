"""Parts of the engine: batches, scans, shares of processes, checkpoints, the log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tamis.backbones import build_backbone
from tamis.engine import ChosenExamples, DecodedExamples, Feeder, ResidentExamples, make_fabric
from tamis.engine.checkpoint import flat_optimizer, read_checkpoint, restore_optimizer, write_checkpoint
from tamis.engine.evaluation import Evaluation, measured
from tamis.engine.records import Records
from tamis.engine.scanning import FeederScan, blocks_of, evaluating
from tamis.engine.sharding import shard_sizes
from tamis.errors import InputError, RunError
from tamis.methods import Method, Pass, Stream
from tamis.methods.batches import Moment

MOMENT = Moment(seed=1, epoch=0, n_epochs=1, position=0, length=1, step=5)


def doubled(inputs: torch.Tensor, index: torch.Tensor, *, seed: int, step: int, view: int) -> torch.Tensor:
    return 2 * inputs + 100 * view + step


def plain(inputs: torch.Tensor, index: torch.Tensor, *, seed: int, step: int, view: int) -> torch.Tensor:
    return inputs


def feeder_of(n: int = 10, batch_size: int = 4) -> Feeder:
    inputs = torch.arange(n, dtype=torch.float32)[:, None]
    views = {"none": plain, "weak": doubled}
    return Feeder(ResidentExamples(inputs), torch.arange(n) % 3, views, batch_size)


def test_batches_follow_the_plan() -> None:
    feeder, index = feeder_of(), torch.arange(10)
    plan = Pass({"train": Stream(index, ("none", "weak"))})
    assert feeder.length(plan) == 3
    assert [feeder.rows(plan, position)["train"].tolist() for position in range(3)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    batch = feeder.batch(plan, feeder.rows(plan, 2), MOMENT)["train"]
    assert batch.inputs.tolist() == [[8.0], [9.0]]
    assert batch.views[1].tolist() == [[16.0 + 100 + 5], [18.0 + 100 + 5]]
    assert batch.labels.tolist() == [2, 0]
    assert len(batch) == 2


def test_incomplete_and_shorter_streams() -> None:
    feeder = feeder_of()
    assert feeder.length(Pass({"a": Stream(torch.arange(10), drop_last=True)})) == 2
    # The only batch is never left out.
    assert feeder.length(Pass({"a": Stream(torch.arange(3), drop_last=True)})) == 1
    assert feeder.length(Pass({"a": Stream(torch.arange(0), drop_last=True)})) == 0
    assert feeder.length(Pass({"a": Stream(torch.arange(10))}, n_steps=7)) == 7
    both = Pass({"a": Stream(torch.arange(10)), "b": Stream(torch.arange(5), batch_size=3)})
    assert [feeder.rows(both, position)["b"].tolist() for position in range(3)] == [
        [0, 1, 2],
        [3, 4],
        [0, 1, 2],
    ]
    empty = Pass({"a": Stream(torch.arange(10)), "b": Stream(torch.arange(0))})
    assert set(feeder.rows(empty, 0)) == {"a"}


def test_unknown_views_are_named() -> None:
    with pytest.raises(InputError, match="no augmentation 'strong' for these inputs; known: none, weak"):
        feeder_of().view("strong")


@given(n=st.integers(0, 200), processes=st.integers(1, 9))
def test_shares_add_up_and_are_even(n: int, processes: int) -> None:
    sizes = shard_sizes(n, processes)
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(n=st.integers(0, 50), size=st.integers(1, 20))
def test_blocks_cover_all_rows_once(n: int, size: int) -> None:
    blocks = blocks_of(n, size, torch.device("cpu"))
    assert [row for block in blocks for row in block.tolist()] == list(range(n))


def test_scans_do_not_depend_on_blocks_and_leave_modes_alone() -> None:
    network = build_backbone("mlp", input_shape=(1,), n_classes=3, seed=0, hidden=(8,), dropout=0.5)
    feeder, fabric = feeder_of(), make_fabric("cpu")
    found = [FeederScan(feeder, network, fabric.autocast, size) for size in (3, 100)]
    for ask in (FeederScan.losses, FeederScan.probabilities):
        assert torch.allclose(ask(found[0]), ask(found[1]), atol=1e-6)
    losses = found[0].losses()
    logits = network.eval()(torch.arange(10.0)[:, None]).logits
    assert torch.allclose(losses, nn.functional.cross_entropy(logits, feeder.labels, reduction="none"))
    network.train()
    network.head.eval()
    with evaluating(network):
        assert not any(part.training for part in network.modules())
    assert network.training
    assert not network.head.training
    feeder.labels[0] = -1
    assert found[0].losses()[0] == 0


def test_accuracy_leaves_unlabelled_rows_out() -> None:
    class Fixed(Method):
        def forward(self, inputs: torch.Tensor) -> object:
            outputs = self.network(inputs)
            return outputs._replace(logits=torch.eye(3)[inputs[:, 0].long() % 3])

    method = Fixed(
        lambda number: build_backbone("linear", input_shape=(1,), n_classes=3, seed=0),
        n_samples=10,
        n_classes=3,
    )
    feeder, fabric = feeder_of(), make_fabric("cpu")
    labels = torch.tensor([0, 1, 2, 1, -1, -1, 0, 1, 2, 2])
    part = Evaluation(feeder.examples, labels)
    assert measured(method, part, feeder, fabric.autocast) == {"accuracy": pytest.approx(6 / 8)}
    nothing = Evaluation(feeder.examples, torch.full((10,), -1))
    assert measured(method, nothing, feeder, fabric.autocast) == {"accuracy": 0}


def test_decoded_examples_are_the_resident_ones() -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 3, 4, 4), dtype=np.uint8)
    calls: list[int] = []

    def decode(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return images[rows]

    resident = ResidentExamples(torch.from_numpy(images))
    decoded = DecodedExamples(decode, 20, workers=2, piece=3)
    index = torch.tensor([5, 0, 19, 19, 7])
    decoded.prefetch(index)
    decoded.prefetch(index)
    assert torch.equal(decoded.fetch(index), resident.fetch(index))
    assert sum(calls) == 5
    assert torch.equal(decoded.fetch(index), resident.fetch(index))
    chosen = ChosenExamples(decoded, torch.tensor([4, 2]))
    chosen.prefetch(torch.tensor([1]))
    assert torch.equal(chosen.fetch(torch.tensor([1])), resident.fetch(torch.tensor([2])))
    assert chosen.n_samples == 2
    with pytest.raises(InputError, match="workers is 0"):
        DecodedExamples(decode, 20, workers=0)
    with pytest.raises(InputError, match="one row for each sample"):
        ResidentExamples(torch.zeros(3))


def test_a_failing_decoder_is_heard() -> None:
    def decode(rows: np.ndarray) -> np.ndarray:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        DecodedExamples(decode, 4).fetch(torch.tensor([0]))


def test_checkpoints_come_back(tmp_path: Path) -> None:
    weights = torch.randn(3, 2)
    tensors = {
        "a": weights,
        "tied": weights,
        "half": torch.ones(2, dtype=torch.bfloat16),
        "n": torch.tensor(3),
    }
    facts = {"epoch": 3, "name": "x", "nested": {"list": [1, 2.5, None]}}
    for name in ("one", "two"):
        write_checkpoint(tmp_path / name, tensors, facts)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found, said = read_checkpoint(tmp_path / "one")
    assert said == facts
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "two").write_bytes((tmp_path / "one").read_bytes()[:-4])
    with pytest.raises(RunError, match="cannot be read"):
        read_checkpoint(tmp_path / "two")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "other")
    with pytest.raises(RunError, match="is not a checkpoint of this version"):
        read_checkpoint(tmp_path / "other")


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_optimisers_go_on_bit_by_bit(kind: str, tmp_path: Path) -> None:
    def made() -> tuple[nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        classes = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        extra = {"momentum": 0.9} if kind == "sgd" else {"betas": (0.8, 0.9)}
        return layer, classes[kind](layer.parameters(), lr=0.1, weight_decay=0.01, **extra)

    def step(layer: nn.Linear, optimizer: torch.optim.Optimizer, number: int) -> None:
        layer(torch.full((1, 3), float(number))).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    with torch.random.fork_rng(devices=[]):
        layer, optimizer = made()
        for number in range(3):
            step(layer, optimizer, number)
        tensors, facts = flat_optimizer("main", optimizer)
        write_checkpoint(tmp_path / "c", tensors | {"w": layer.weight, "b": layer.bias}, facts)
        tensors, facts = read_checkpoint(tmp_path / "c")
        again, other = made()
        again.load_state_dict({"weight": tensors.pop("w"), "bias": tensors.pop("b")})
        restore_optimizer("main", other, tensors, facts)
        for number in range(3, 6):
            step(layer, optimizer, number)
            step(again, other, number)
    assert torch.equal(layer.weight, again.weight)
    assert torch.equal(layer.bias, again.bias)


def test_the_log_begins_again_where_the_checkpoint_stood(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.restore([])
    for epoch in (1, 2):
        records.add({"epoch": epoch, "loss": float("nan") if epoch == 2 else 0.5})
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"epoch": 1, "loss": 0.5},
        {"epoch": 2, "loss": None},
    ]
    later = Records(tmp_path)
    later.restore(records.lines[:1])
    later.add({"epoch": 2, "loss": 0.4})
    assert [line["loss"] for line in later.lines] == [0.5, 0.4]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    silent = Records(tmp_path / "none", is_writer=False)
    silent.restore([])
    silent.add({"epoch": 1})
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu",), "device is 'gpu'"),
        (("cuda:x",), "device is 'cuda:x'"),
        (("cpu", "half"), "precision is 'half'"),
        (("cpu", "auto", 0), "processes is 0"),
    ],
)
def test_where_training_runs(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_fabric(*arguments)
    assert make_fabric("cpu").device.type == "cpu"
