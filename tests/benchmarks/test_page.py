"""The page of a benchmark that trains."""

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
    yield importlib.import_module("page")
    del sys.modules["page"]


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


def test_what_cannot_be_a_page(page: ModuleType, tmp_path: Path) -> None:
    for arguments in ([], ["no folder"]):
        with pytest.raises(SystemExit):
            page.main(arguments)
    training = {"task": "training", "epochs": 1, "lr": [0.1], "methods": [{"method": "gce"}]}
    arrays = {"labels": "l", "test_features": "u", "test_labels": "v"}
    one = write_run(tmp_path / "one", {**training, "data": [DATA | arrays]})
    other = write_run(tmp_path / "other", CONFIG)
    with pytest.raises(SystemExit):
        page.main([f"A={one}", f"B={other}"])
    detection = {"task": "detection", "data": [{"name": "d", "features": "x", "labels": "l", "truth": "y"}]}
    with pytest.raises(SystemExit, match=r"detection_page\.py"):
        page.main([f"A={write_run(tmp_path / 'third', detection)}"])
