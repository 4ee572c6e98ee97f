"""The scripts around the training benchmark: its page, the engine's overhead, speed beside a floor."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a script as the scripts see each other, and forget it afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in [
        n for n, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["page", "engine_overhead", "gpu_speed"])
def test_help(name: str, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(name).main(["--help"])
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


@pytest.mark.slow  # convolutions of two networks
def test_both_loops_make_the_same_steps(load: Load, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    assert (
        load("engine_overhead").main(
            ["--steps", "2", "--pieces", "1", "--precision", "32-true", "--out", str(out)]
        )
        == 0
    )
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["same_weights"] is True
    assert row["engine_cpu"] > 0


def test_operations_by_hand(load: Load) -> None:
    script = load("gpu_speed")
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    assert script.flops_per_sample(network, (3, 8, 8)) == 3 * 2 * (3 * 9 * 4 * 64 + 256 * 5)
    # He et al. and many others count 0.56 billion multiplications for this network.
    resnet = script.build_backbone("preact_resnet18", input_shape=(3, 32, 32), n_classes=10, seed=0)
    assert script.flops_per_sample(resnet, (3, 32, 32)) == pytest.approx(6 * 0.556e9, rel=0.01)
    assert script.product_speed(torch.device("cpu"), "32-true", seconds=0.01) > 1e8


def test_time_to_a_target(load: Load) -> None:
    seconds_to = load("gpu_speed").seconds_to
    assert seconds_to(0.8, [0.5, 0.8, 0.9], [1.0, 2.0, 4.0]) == (3.0, 2)
    assert seconds_to(0.95, [0.5, None, 0.9], [1.0, None, 4.0]) is None


def test_page_of_a_run(load: Load, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    data = {
        "name": "toy",
        "features": "x",
        "labels": "l",
        "truth": "y",
        "test_features": "u",
        "test_labels": "v",
    }
    config = {"task": "training", "epochs": 2, "lr": [0.1], "data": [data], "methods": [{"method": "gce"}]}
    row = {
        "data": "toy",
        "noise": None,
        "candidate": "gce",
        "outcome": "done",
        "lr": 0.1,
        "last": 0.5,
        "seed": 0,
    }
    row |= {"rows": 90, "held_rows": 10, "test_rows": 20, "realised_rate": 0.4}
    machine = {"processor": "P", "cores": 2}
    results = {"rows": [row], "n_done": 1, "n_trials": 2, "machine": machine}
    (run / "run.json").write_text(json.dumps({"config": config}), encoding="utf-8")
    (run / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (run / "curves-toy.png").write_bytes(b"picture")
    overhead = {"benchmark": "engine_overhead", "rows": [{"precision": "32-true", "overhead": 0.031}]}
    (tmp_path / "o.json").write_text(json.dumps(overhead), encoding="utf-8")
    page = tmp_path / "page.md"
    figures = ["--figures", str(tmp_path / "o.json")]
    assert load("page").main([f"On features={run}", *figures, "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert (
        "## On features\n\n1 of 2 trainings. Learning rates to choose from: 0.1; recipe of all: their own"
        in text
    )
    assert "| gce | 0.1 | 50.0 | - |" in text
    assert "![toy](training-on-features-curves-toy.png)" in text
    assert (tmp_path / "training-on-features-curves-toy.png").read_bytes() == b"picture"
    assert "+3.1%" in text
