"""`tamis train`, `predict`, `embed`, `methods`: what they print, write, refuse, and survive."""

from __future__ import annotations

import csv
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tamis.cli import main
from tamis.cli.epochs import epoch_printer
from tamis.methods import METHODS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_arrays(tmp_path)
    return tmp_path


def write_arrays(folder: Path, n: int = 120) -> None:
    draw = np.random.default_rng(0)
    labels = np.array(["ash", "birch", "cedar"])[np.arange(n) % 3]
    features = draw.normal(size=(n, 5)) + 4 * np.eye(5)[np.arange(n) % 3]
    labels[:4] = ["birch", "cedar", "ash", "birch"]
    np.save(folder / "x.npy", features.astype(np.float32))
    np.save(folder / "y.npy", labels)


TRAIN = ["train", "--features", "x.npy", "--labels", "y.npy", "--backbone", "linear"]
SHORT = [*TRAIN, "--epochs", "3", "--no-audit"]


def test_the_way_from_training_to_predictions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *SHORT,
        "--method",
        "gce",
        "--param",
        "q=0.5",
        "--param",
        "batch_size=20",
        "--validation",
        "0.2",
    ]
    assert main([*arguments, "--verbose", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert (found["command"], found["run"], found["method"]) == ("train", "runs/train-x-gce", "gce")
    assert found["last_epoch"]["epoch"] == 3
    assert printed.err.count("samples/s") == 3
    assert "Next    tamis export runs/train-x-gce --to csv" in printed.err
    # Both of the commands that it names work.
    assert main(shlex.split(found["next"])[1:]) == 0
    assert main(shlex.split(found["next_predict"].replace("DATA", "x.npy"))[1:]) == 0
    with (here / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 120
    assert {row["predicted_label"] for row in rows} <= {"ash", "birch", "cedar"}
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in rows)
    capsys.readouterr()
    # The same command again reads the result back.
    before = (here / "runs/train-x-gce/run.json").stat().st_mtime_ns
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["last_epoch"] == found["last_epoch"]
    assert (here / "runs/train-x-gce/run.json").stat().st_mtime_ns == before
    for name in ("e.npy", "e.npz", "e.parquet"):
        assert main(["embed", "runs/train-x-gce", "x.npy", "--to", name, "--weights", "best"]) == 0
    assert np.load("e.npy").shape == (120, 5)
    embedded = pq.read_table("e.parquet")
    np.testing.assert_array_equal(np.stack(embedded["embedding"].to_numpy()), np.load("e.npz")["features"])
    arguments = ["predict", "runs/train-x-gce", "x.npy", "--to", "p.parquet", "--probabilities", "--json"]
    assert main(arguments) == 0
    assert {"id", "predicted_label", "probability", "p_ash", "p_birch", "p_cedar"} == set(
        pq.read_schema("p.parquet").names
    )
    assert main(arguments) == 2
    assert main([*arguments, "--force"]) == 0


def test_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [row["name"] for row in found["methods"]] == list(METHODS.names())
    assert next(row for row in found["methods"] if row["name"] == "gce")["params"] == {"q": 0.7}
    assert {"linear", "mlp", "small_cnn"} <= {row["name"] for row in found["backbones"]}
    assert "Generalised cross-entropy" in printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--method", "elr"], 2, "give SOURCE, or --features together with --labels"),
        (TRAIN, 2, "--method is missing"),
        ([*TRAIN, "--method", "elf"], 2, "did you mean 'elr'"),
        ([*TRAIN, "--method", "elr", "--param", "lam"], 2, "no assignment"),
        ([*TRAIN, "--method", "elr", "--param", "lamb=3"], 2, "did you mean 'lam'"),
        ([*TRAIN, "--method", "elr", "--label", "y"], 2, "--label tell of SOURCE"),
        (["train", "x.npz", "--labels", "y.npy", "--method", "elr"], 2, "--labels goes with --features"),
        ([*TRAIN, "--method", "gce", "--plugin", "none:a=1"], 2, "unknown plug-in 'none'"),
        ([*SHORT, "--method", "cross_entropy", "--param", "weight_decay=3e38"], 1, "diverged"),
        ([*SHORT, "--method", "gce", "--param", "lr=1e30"], 2, "lr is 1e+30; expected above 0 and at most"),
        ([*SHORT, "--method", "elr", "--param", "epochs=5"], 2, "epochs is 3, and params say epochs=5"),
        ([*TRAIN, "--method", "elr", "--processes", "0"], 2, "processes"),
        (["predict", "runs/none", "x.npy"], 2, "no model there"),
        (["predict", "runs/none", "x.npy", "--to", "p.txt"], 2, "legal are .csv"),
        (["embed", "runs/none", "x.npy", "--to", "p.csv"], 2, "legal are .npy"),
    ],
)
def test_mistakes_are_explained(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert "a fault in tamis" not in said


@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_what_is_no_model_or_no_data_is_explained(
    here: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    to = "new.npy" if verb == "embed" else "new.csv"
    (here / "audit").mkdir()
    (here / "audit" / "run.json").write_text('{"command": "audit", "status": "finished"}')
    np.savez(here / "other.npz", foo=np.ones((3, 5)), scale=np.float64(2.0))
    np.savez(here / "scalars.npz", scale=np.float64(2.0))
    assert main([*SHORT, "--method", "gce", "--out", "run"]) == 0
    for model, source, target, code, message in [
        ("x.npy", "x.npy", to, 1, "give the run folder of `tamis train`"),
        ("audit", "x.npy", to, 2, "that folder holds no training"),
        ("run", "", to, 2, "the path is empty"),
        ("run", "other.npz", to, 2, "holds 'foo' (3, 5), and none of them is known"),
        ("run", "scalars.npz", to, 2, "holds no arrays to predict for"),
        ("run", "x.npy", f"run/run.json/{to}", 2, "cannot be written"),
    ]:
        capsys.readouterr()
        assert main([verb, model, source, "--to", target]) == code
        said = capsys.readouterr().err
        assert message in said
        assert "remove" not in said
    assert not (here / to).exists()


def test_a_line_an_epoch_where_someone_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert epoch_printer(is_verbose=False) is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert epoch_printer(is_verbose=False) is None  # TAMIS_PROGRESS=0
    monkeypatch.delenv("TAMIS_PROGRESS")
    assert epoch_printer(is_verbose=False) is not None


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tamis", *arguments]


FILES = ("model.safetensors", "issues.parquet", "clean_scores.parquet", "beliefs.npy")


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_the_same(here: Path) -> None:
    write_arrays(here, 1500)
    arguments = [
        *TRAIN,
        "--method",
        "elr",
        "--epochs",
        "60",
        "--param",
        "batch_size=16",
        "--validation",
        "0.1",
    ]
    subprocess.run(command(*arguments, "--out", "whole"), check=True, capture_output=True)
    draw = random.Random(0)
    log = here / "run" / "metrics.jsonl"
    for n_epochs in (2, 17, 45):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command(*arguments, "--out", "run"), **silent)
        while process.poll() is None and (not log.exists() or log.read_text().count("\n") < n_epochs):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command(*arguments, "--out", "run"), check=True, capture_output=True)
    for name in FILES:
        assert (here / "run" / name).read_bytes() == (here / "whole" / name).read_bytes(), name
    assert not [entry for entry in (here / "run").iterdir() if entry.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cross_entropy", "elr", "bare", "prism"])
def test_two_processes_train_what_one_does(here: Path, method: str) -> None:
    for processes in (1, 2):
        arguments = [*SHORT, "--method", method, "--backbone", "mlp", "--param", "batch_size=25", "--json"]
        done = subprocess.run(
            command(*arguments, "--verbose", "--processes", str(processes), "--out", f"run{processes}"),
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        # One of them talks, on one line of JSON and one line an epoch.
        assert len(done.stdout.splitlines()) == 1
        assert json.loads(done.stdout)["method"] == method
        assert done.stderr.count("samples/s") == 3
    one, two = (load_file(here / f"run{processes}" / "model.safetensors") for processes in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-3, err_msg=name)
    files = [here / f"run{processes}" / "clean_scores.parquet" for processes in (1, 2)]
    scores = [pq.read_table(file)["clean_score"].to_numpy() for file in files]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


@pytest.mark.slow
def test_a_mistake_in_two_processes_is_said_once(here: Path) -> None:
    arguments = [
        *SHORT,
        "--method",
        "cross_entropy",
        "--param",
        "weight_decay=1e30",
        "--backbone",
        "mlp",
        "--epochs",
        "9",
    ]
    done = subprocess.run(
        command(*arguments, "--processes", "2"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("training has diverged") == 1
    assert "Traceback" not in done.stderr
