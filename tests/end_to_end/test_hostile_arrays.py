"""Arrays that are wrong, damaged or dangerous: exit code 2 and one message, or an issue row."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from .conftest import Cli, blobs, contents, save_arrays

pytestmark = pytest.mark.usefixtures("short_training")

X, Y = blobs()
PROBS = np.full((120, 3), 0.1) + 0.7 * np.eye(3)[np.arange(120) % 3]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return the call."""
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (np.full_like(X, np.nan), Y, ["row 0", "NaN"]),
        (X.astype(np.float64) * 1e300, Y, ["beyond the range of float32"]),
        (X[:, :0], Y, ["(120, 0)", "d >= 1"]),
        (X.reshape(-1, 2, 4), Y, ["(120, 2, 4)"]),
        (X[:, 0], Y, ["reshape(-1, 1)"]),
        (X.astype(str), Y, ["features", "legal"]),
        (X.astype(complex), Y, ["complex128", "legal"]),
        (X[:0], Y[:0], ["no rows"]),
        (X, Y[:-1], ["119", "120"]),
        (X, Y + 0.5, ["row 0 is 1.5", "whole"]),
        (X, np.full(120, np.nan), ["none has a label"]),
        (X, np.full(120, ""), ["none has a label"]),
        (X, Y.astype(np.uint64) + np.uint64(2**63), ["beyond 64 bits", "text"]),
        (X, np.ones((120, 3), dtype=int), ["multilabel", "not supported"]),
        (X, X, ["(120, 8)", "one label for each row"]),
        (X, Y.astype("M8[s]"), ["datetime64", "legal"]),
    ],
)
def test_features_and_labels_that_cannot_be_used(
    features: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    words: list[str],
    cli: Cli,
    tmp_path: Path,
) -> None:
    told = cli("audit", *save_arrays(tmp_path, features=features, labels=labels), "--out", "run")
    assert told.code == 2
    assert all(word in told.err for word in words), told.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("probs", "labels", "words"),
    [
        (np.log(PROBS) * 3, Y, ["row 0", "logits", "softmax"]),
        (PROBS * 1.01, Y, ["row 0 sums to 1.01", "1e-3"]),
        (np.where(PROBS > 0.5, np.nan, PROBS), Y, ["row 0", "NaN"]),
        (PROBS - 0.2, Y, ["outside [0, 1]"]),
        (PROBS[:, :2], Y, ["3 distinct classes", "2 columns"]),
        (np.c_[PROBS, np.zeros(120)], Y.astype(str), ["3 distinct classes", "4 columns"]),
        (PROBS[:-3], Y, ["120", "117"]),
        (PROBS[:, 0], Y, ["(120,)"]),
        (PROBS.astype(str), Y, ["pred_probs", "legal"]),
        (PROBS, np.arange(120) % 3, ["in-sample", "out_of_sample=True"]),
    ],
)
def test_probabilities_that_cannot_be_used(
    probs: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    words: list[str],
    cli: Cli,
    tmp_path: Path,
) -> None:
    told = cli("audit", *save_arrays(tmp_path, pred_probs=probs, labels=labels), "--out", "run")
    assert told.code == 2
    assert all(word in told.err for word in words), told.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("features", "labels", "reason", "n_not_assessed"),
    [
        (X[:1], Y[:1], "class too small", 1),
        (X[:2], np.array([0, 1]), "class too small", 2),
        (X, np.zeros(120, dtype=int), "fewer than two classes", 120),
        (np.random.default_rng(0).normal(size=(1500, 4)), np.arange(1500) % 1000, "class too small", 1500),
        (np.repeat(X[:1], 120, axis=0), Y, "single duplicated sample", 120),
        (np.r_[X[:118], np.full((2, 8), np.nan)], Y, "unreadable", 2),
        (X, np.where(np.arange(120) % 4 == 0, np.nan, Y), "unlabelled", 30),
    ],
    ids=["one row", "two rows", "one class", "1000 classes", "all duplicates", "NaN", "unlabelled"],
)
def test_what_cannot_be_assessed_is_said_row_by_row(
    features: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    reason: str,
    n_not_assessed: int,
    cli: Cli,
    tmp_path: Path,
) -> None:
    told = cli("audit", *save_arrays(tmp_path, features=features, labels=labels), "--out", "run", "--json")
    assert told.code == 0, told.err
    assert told.json["n_assessed"] == len(labels) - n_not_assessed
    issues = pq.read_table(tmp_path / "run" / "issues.parquet").to_pylist()
    left_out = [row for row in issues if not row["is_assessed"]]
    assert len(left_out) == n_not_assessed
    assert all(reason in row["reason"] and row["label_score"] is None for row in left_out)
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


def test_nothing_is_unpickled_or_believed(cli: Cli, tmp_path: Path) -> None:
    words = save_arrays(tmp_path, labels=Y)
    (tmp_path / "bomb.npy").write_bytes(pickle.dumps(Bomb()))
    np.savez(tmp_path / "bomb.npz", X=np.array([Bomb()], dtype=object), y=Y)
    np.savez(tmp_path / "good.npz", X=X, y=Y)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:900])
    np.save(tmp_path / "whole.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:200])
    for arguments, word in [
        (["--features", "bomb.npy", *words], "is not a NumPy array"),
        (["bomb.npz"], "holds Python objects"),
        (["--features", "bomb.npz", *words], "is not a NumPy array"),
        (["cut.npz"], "not a readable .npz"),
        (["--features", "cut.npy", *words], "cut off"),
        (["--features", "missing.npy", *words], "cannot be opened"),
        (["--features", ".", *words], "cannot be opened"),
    ]:
        told = cli("audit", *arguments)
        assert told.code == 2
        assert word in told.err
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--memory-budget", "0", "at least 1MiB"),
        ("--memory-budget", "lots", "is not a size"),
        ("--memory-budget", "-1MiB", "is not a size"),
        ("--task", "multilabel", "'classification'"),
        ("--encoder", "efficientnet-lite0", "no images or texts to encode"),
        ("--seed", "x", "--seed"),
        ("--label", "y", "there is none"),
    ],
)
def test_options_that_cannot_be_used(option: str, value: str, word: str, cli: Cli, tmp_path: Path) -> None:
    told = cli("audit", *save_arrays(tmp_path, features=X, labels=Y), option, value, "--json")
    assert told.code == 2
    assert word in told.err
    assert told.json["exit_code"] == 2
    assert not (tmp_path / "runs").exists()


def test_a_budget_without_end_is_no_limit(cli: Cli, tmp_path: Path) -> None:
    words = save_arrays(tmp_path, features=X[:20], labels=Y[:20])
    assert cli("audit", *words, "--memory-budget", "9" * 400).code == 0


def test_places_where_no_run_can_be_written(cli: Cli, tmp_path: Path) -> None:
    words = save_arrays(tmp_path, features=X, labels=Y)
    (tmp_path / "file").write_text("mine")
    for name, inside in [
        ("foreign", "thesis.doc"),
        ("staged/stages", "thesis.doc"),
        ("report", "report.html"),
    ]:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / inside).write_text("mine")
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "run.json").write_text('{"command": "train"}')
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled" / "run.json").write_text("mine")
    before = contents(tmp_path)
    outs = ["file", "foreign", "staged", "report", "trained", "garbled", "file/x", "a/b/" + "x" * 300, "."]
    outs += ["/proc/x"] if Path("/proc/self").exists() else []
    for out in outs:
        told = cli("audit", *words, "--out", out)
        assert told.code == 2, out
        assert "out is" in told.err
        assert "give a" in told.err
    assert contents(tmp_path) == before
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_finished_run_survives_wrong_input_and_is_rebuilt_when_damaged(cli: Cli, tmp_path: Path) -> None:
    words = [*save_arrays(tmp_path, features=X, labels=Y), "--out", "run"]
    run = tmp_path / "run"
    assert cli("audit", *words).code == 0
    before = contents(run)
    assert set(before) == {
        "embedding_map.parquet",
        "issues.parquet",
        "neighbors.npy",
        "report.html",
        "run.json",
    }
    assert cli("audit", "nowhere", "--out", "run").code == 2
    assert cli("audit", *words[:2], "--labels", tmp_path / "features.npy", "--out", "run").code == 2
    assert contents(run) == before
    for name, garbage in [("run.json", "{"), ("issues.parquet", "x")]:
        (run / name).write_text(garbage)
        told = cli("export", "run")
        assert told.code == 1
        assert "run the" in told.err
        assert "again" in told.err
        (run / ".report.12345678.tmp.html").write_text("left by a killed run")
        assert cli("audit", *words).code == 0
        assert set(contents(run)) == set(before)
        assert (run / "issues.parquet").read_bytes() == before["issues.parquet"]


@pytest.mark.parametrize("source", ["", "nowhere", "a\0b", "x" * 5000, "https://example.org/a.csv", "a.xlsx"])
def test_sources_that_are_none(source: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    told = cli("audit", source)
    assert told.code == 2
    assert "pass a folder of images" in told.err
    assert not (tmp_path / "runs").exists()
