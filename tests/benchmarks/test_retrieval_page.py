"""The page of the retrieval benchmarks."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
DATA = {"name": "toy", "features": "x", "truth": "y"}
CONFIG = {
    "task": "retrieval",
    "epochs": 2,
    "data": [DATA],
    "noise": [{"model": "none"}],
    "methods": [{"method": "metric"}],
    "recipe": {"lr": 0.1},
}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the script as the scripts see each other, and forget it afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("retrieval_page")
    del sys.modules["retrieval_page"]


def write_run(folder: Path, config: dict[str, object]) -> Path:
    row = {"data": "toy", "noise": "clean", "candidate": "metric", "outcome": "done", "seed": 0, "last": 0.5}
    row |= {"rows": 90, "classes": 9, "test_rows": 20, "test_classes": 4, "chance": 0.2, "realised_rate": 0.0}
    machine = {"processor": "P", "cores": 2}
    results = {"rows": [row], "n_done": 1, "n_trials": 2, "machine": machine}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"config": config}), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "curves-toy_clean.png").write_bytes(b"picture")
    return folder


def test_page_of_a_run(page: ModuleType, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run", CONFIG), tmp_path / "page.md"
    assert page.main([f"Some filters={run}", "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "## Some filters\n\n1 of 2 trials. Recipe of all: lr 0.1; device auto" in text
    assert "| metric | 50.0 | - |" in text
    assert "![toy clean](retrieval-some-filters-curves-toy_clean.png)" in text
    assert (tmp_path / "retrieval-some-filters-curves-toy_clean.png").read_bytes() == b"picture"


def test_page_without_a_run(page: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main([]) == 0
    assert "Nothing has been measured yet." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        page.main(["no folder"])


def test_other_benchmarks_are_refused(page: ModuleType, tmp_path: Path) -> None:
    training = {"task": "training", "epochs": 1, "lr": [0.1], "methods": [{"method": "gce"}]}
    arrays = {"labels": "l", "test_features": "u", "test_labels": "v"}
    run = write_run(tmp_path / "run", {**training, "data": [DATA | arrays]})
    with pytest.raises(SystemExit, match="no benchmark of metric learning"):
        page.main([f"A={run}"])
