"""`tamis audit --task retrieval` and `tamis train --task retrieval`: what they print, write and refuse."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tamis.cli import main
from tamis.methods import METHODS

N_CLASSES, MEMBERS, WIDTH = 16, 10, 24


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen identities of ten members; one member of each of the first four is a stranger."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(N_CLASSES), MEMBERS)
    features = 2.0 * draw.normal(size=(N_CLASSES, WIDTH))[truth] + draw.normal(size=(len(truth), WIDTH))
    labels = truth.copy()
    labels[:40:10] = [9, 10, 11, 12]
    np.save(tmp_path / "x.npy", features.astype(np.float32))
    np.save(tmp_path / "y.npy", np.array([f"id{code:02d}" for code in labels]))
    return tmp_path


GIVEN = ["--features", "x.npy", "--labels", "y.npy", "--task", "retrieval"]
TRAIN = ["train", *GIVEN, "--epochs", "2", "--param", "batch_size=40", "--json"]


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_audit_finds_the_strangers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *GIVEN, "--out", "run", "--json"]) == 0
    assert last_line(capsys)["status"] == "finished"
    assert main(["export", "run", "--to", "csv", "--mode", "filtered", "--json"]) == 0
    capsys.readouterr()
    assert "identities" in (here / "run/report.html").read_text(encoding="utf-8").lower()


def test_from_training_to_an_audit_of_embeddings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = ["--loss", "multi_similarity", "--memory", "64", "--selector", "prism_average"]
    assert main([*TRAIN, *pairs, "--param", "noise_rate=0.1", "--out", "run"]) == 0
    assert last_line(capsys)["method"] == "metric"
    assert main(["embed", "run", "x.npy", "--to", "e.npy", "--json"]) == 0
    follow = str(last_line(capsys)["next"])
    rows = np.load(here / "e.npy")
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-4)
    # The command that it names works.
    assert main(shlex.split(follow.replace("LABELS.npy", "y.npy"))[1:]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "x.npy"]) == 2
    assert "predicts no classes" in capsys.readouterr().err


@pytest.mark.slow  # tests/training runs most of them, in process
@pytest.mark.parametrize(
    "method", [name for name in METHODS.names() if METHODS.facts(name).task == "retrieval"]
)
def test_every_method_runs_from_here(here: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    assert main([*TRAIN, "--epochs", "3", "--no-audit", "--method", method, "--out", "run"]) == 0
    assert last_line(capsys)["method"] == method


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "triplets"], "loss"),
        (["--selector", "prism"], "prism_average"),
        (["--memory", "-3"], "memory"),
        (["--loss", "proxy_anchor", "--memory", "50"], "proxies"),
        (["--memory", "0", "--selector", "prism_vmf"], "memory is 0"),
        (["--param", "noise_rate=1.5", "--selector", "prism_vmf"], "noise_rate"),
        (["--param", "per_class=1"], "per_class"),
        (["--method", "elr"], "is for classification"),
        (["--method", "cbml", "--loss", "contrastive"], "loss"),
        (["--param", "embedding_size=0"], "embedding_size"),
    ],
)
def test_mistakes_are_explained(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*TRAIN, "--out", "run", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert "a fault in tamis" not in said
    assert not (here / "run").exists()


ALONE, SAME = np.array([f"id{code}" for code in range(160)]), np.array(["same"] * 160)


@pytest.mark.parametrize(
    ("verb", "labels", "code", "message"),
    [
        ("audit", ALONE, 0, "the only member of its identity 160"),
        ("audit", SAME, 0, "fewer than two classes can be assessed 160"),
        ("audit", ALONE[:0], 2, "labels has 0 rows"),
        ("train", ALONE, 2, "0 of 160 classes have two samples or more"),
        ("train", SAME, 2, "training needs at least two classes"),
        ("train", ALONE[:0], 2, "labels has 0 rows"),
    ],
)
def test_labels_that_are_no_identities(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    labels: npt.NDArray[np.str_],
    code: int,
    message: str,
) -> None:
    np.save(here / "y.npy", labels)
    assert main([verb, *GIVEN, "--out", "run"]) == code
    said = capsys.readouterr()
    assert message in said.out + said.err
    assert "Traceback" not in said.err


def test_options_are_named_as_they_are_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "x.npy", "--task", "retrieval"]) == 2
    assert "pass --label with the path" in capsys.readouterr().err
