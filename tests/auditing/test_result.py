"""What an audit returns, its run folder, and an audit that was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tamis
from tamis.auditing import evidence as evidence_module
from tamis.auditing import probes as probes_module
from tamis.errors import InputError, RunError


@pytest.fixture(scope="module")
def run(data: Any, tmp_path_factory: pytest.TempPathFactory) -> tamis.Audit:
    return tamis.audit(
        features=data.features,
        labels=data.labels,
        out=tmp_path_factory.mktemp("runs") / "new" / "run",
        random_state=3,
    )


def _module(name: str) -> Any:
    """Return a module of the room: `tamis.auditing.audit` is also the name of the function."""
    import importlib

    return importlib.import_module(name)


def test_run_folder(run: tamis.Audit) -> None:
    assert run.path is not None
    assert sorted(path.name for path in run.path.iterdir()) == [
        "embedding_map.parquet",
        "issues.parquet",
        "neighbors.npy",
        "report.html",
        "run.json",
    ]
    said = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert said["command"] == "audit"
    assert said["status"] == "finished"
    assert said["seed"] == 3
    assert len(said["input_hash"]) == 32
    assert {"tamis", "torch", "numpy", "python"} <= set(said["versions"])
    assert said["config"]["memory_budget"] == "2GiB"
    assert said["timings"].keys() >= {"neighbours", "labels"}
    assert pq.read_table(run.path / "issues.parquet").equals(run.issues)
    assert (run.path / "report.html").read_text(encoding="utf-8").startswith("<!")


def test_load_gives_the_same(run: tamis.Audit, found: tamis.Audit) -> None:
    assert run.path is not None
    loaded = tamis.Audit.load(run.path)
    assert loaded.issues.equals(found.issues)
    assert loaded.expected_wrong == found.expected_wrong
    assert loaded.precision_at(20) == found.precision_at(20)
    assert loaded.random_state == 3
    assert loaded.dataset is None
    assert loaded.neighbors is not None
    assert loaded.embedding_map.equals(run.embedding_map)
    assert run.neighbors is not None
    assert np.array_equal(loaded.neighbors, run.neighbors)
    assert np.array_equal(loaded.transition, found.transition)
    assert repr(loaded) == repr(found)


def test_ranked(found: tamis.Audit) -> None:
    worst = found.ranked(7)
    assert worst.column("rank").to_pylist() == list(range(1, 8))
    assert len(found.ranked()) == len(found.ranked(10_000)) == 240
    assert len(found.ranked(0)) == 0
    with pytest.raises(InputError, match="n is -1; it must be 0 or more"):
        found.ranked(-1)


def test_precision_at(found: tamis.Audit) -> None:
    whole, beyond = found.precision_at(240), found.precision_at(9999)
    assert whole is not None
    assert whole == beyond
    assert found.expected_wrong is not None
    assert whole.estimate == pytest.approx(found.expected_wrong.estimate / 240)
    with pytest.raises(InputError, match="k is 0; it must be at least 1"):
        found.precision_at(0)


def test_to_pandas_and_repr(found: tamis.Audit) -> None:
    frame = found.to_pandas()
    assert list(frame.columns) == found.issues.column_names
    assert len(frame) == 240
    assert "240 of 240 labels assessed" in repr(found)


def test_report(found: tamis.Audit, tmp_path: Path) -> None:
    path = found.report(tmp_path / "sub.html")
    assert path.stat().st_size > 5000
    assert 'id="map"' in path.read_text(encoding="utf-8")


def test_out_that_holds_something_else_is_refused(data: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="a file; give a folder"):
        tamis.audit(features=data.features, labels=data.labels, out=file)
    for name, text in (("photo.txt", "x"), ("report.html", "mine"), ("run.json", '{"command": "train"}')):
        folder = tmp_path / name.replace(".", "")
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(InputError, match="a folder with other content"):
            tamis.audit(features=data.features, labels=data.labels, out=folder)
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name).read_text() == text


@pytest.mark.usefixtures("short_training")
def test_a_run_may_be_made_again(data: Any, out_of_sample: np.ndarray, tmp_path: Path) -> None:
    tamis.audit(features=data.features, labels=data.labels, out=tmp_path)
    again = tamis.audit(pred_probs=out_of_sample, labels=data.labels, out=tmp_path)
    assert tamis.Audit.load(tmp_path).issues.equals(again.issues)
    assert not (tmp_path / "neighbors.npy").exists()
    # A damaged description is no reason to refuse: auditing again is the way out.
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="run the command again"):
        tamis.Audit.load(tmp_path)
    tamis.audit(pred_probs=out_of_sample, labels=data.labels, out=tmp_path)
    assert tamis.Audit.load(tmp_path).issues.equals(again.issues)


@pytest.mark.parametrize(
    "stage",
    [
        "second round",
        pytest.param("table", marks=pytest.mark.slow),
        pytest.param("report", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("short_training")
def test_an_interrupted_audit_continues(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if stage == "second round":
            patch.setattr(evidence_module, "refit_class_weights", die)
        elif stage == "table":
            patch.setattr(_module("tamis.auditing.audit"), "build_table", die)
        else:
            patch.setattr(tamis.Audit, "report", die)
        with pytest.raises(Killed):
            tamis.audit(features=data.features, labels=data.labels, out=tmp_path)
    assert (tmp_path / "stages").is_dir()
    with pytest.raises((InputError, RunError)):
        tamis.Audit.load(tmp_path)
    # What has finished is not computed again.
    with monkeypatch.context() as patch:
        patch.setattr(probes_module.CrossValidatedLogistic, "logits", die)
        patch.setattr(_module("tamis.auditing.rows"), "nearest_neighbors", die)
        continued = tamis.audit(features=data.features, labels=data.labels, out=tmp_path)
    whole = tamis.audit(features=data.features, labels=data.labels)
    assert continued.issues.equals(whole.issues)
    assert not (tmp_path / "stages").exists()


@pytest.mark.usefixtures("short_training")
def test_stages_of_other_data_are_not_used(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_module("tamis.auditing.audit"), "build_table", die)
        with pytest.raises(KeyboardInterrupt):
            tamis.audit(features=data.features + 1, labels=data.labels, out=tmp_path)
    found = tamis.audit(features=data.features, labels=data.labels, out=tmp_path)
    assert found.issues.equals(tamis.audit(features=data.features, labels=data.labels).issues)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, InputError, "holds no run.json"),
        ('{"command": "bench"}', InputError, "a run of 'bench'"),
        ('{"command": "audit", "status": "running"}', RunError, "has not finished"),
        ('{"command": "audit", "status": "finished"}', RunError, "is damaged"),
        ("[]", RunError, "does not hold a JSON object"),
        ("{", RunError, "cannot be read"),
    ],
)
def test_load_refuses(tmp_path: Path, text: str | None, error: type[Exception], message: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(error, match=message):
        tamis.Audit.load(tmp_path)
