"""The scripts around the detection benchmark: the arrays that it reads, and its condensed tables."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.benchmarks import read_config
from tamis.benchmarks.candidates import needs
from tamis.benchmarks.config import ARRAYS
from tamis.benchmarks.planting import check_noise

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a module of the scripts as they see each other, and forget it afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in [
        n for n, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


def test_the_configuration_names_what_there_is(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_BENCH_ARRAYS", "arrays")
    config = read_config(FOLDER / "detection.toml")
    for noise in config.noise:
        check_noise(noise)
    assert {noise.model for noise in config.noise} == {"symmetric", "pair_flip", "instance_dependent"}
    assert needs(config.peers[-1]) == ("answers", "labels")
    made = set(load("prepare").SETS)
    for data in tomllib.loads((FOLDER / "detection.toml").read_text(encoding="utf-8"))["data"]:
        for key in set(ARRAYS) & set(data):
            head, _, tail = data[key].removeprefix("$TAMIS_BENCH_ARRAYS/").partition(".npz")
            assert head in made
            assert tail.startswith(":") != (key == "answers")


def test_crowd_and_fashion_arrays(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    answers = {
        "dataset": ["dog", "dog", "bluebird"],
        "item": [3, 1, 0],
        "worker": [0, 1, 0],
        "label": [1, 0, 1],
    }
    pq.write_table(pa.table(answers), data / "crowd_answers.parquet")
    truth = {"dataset": ["dog", "dog"], "item": [1, 4], "truth": [2, -1]}
    pq.write_table(pa.table(truth), data / "crowd_truth.parquet")
    monkeypatch.setenv("TAMIS_SHARED", str(tmp_path))
    prepare = load("prepare")
    out = tmp_path / "arrays"
    assert prepare.main(["--out", str(out), "--sets", "crowd_dog"]) == 0
    with np.load(out / "crowd_dog.npz", allow_pickle=False) as stored:
        assert stored["task"].tolist() == [3, 1]
        assert stored["truth"].tolist() == [-1, 2, -1, -1, -1]
    images = np.arange(4 * 784, dtype=np.uint32).astype(np.uint8)
    for name, header, content in (
        ("images-idx3", 16, images),
        ("labels-idx1", 8, np.array([3, 1, 2, 0], np.uint8)),
    ):
        (tmp_path / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + content.tobytes()))
    monkeypatch.setenv("TAMIS_FASHION_MNIST", str(tmp_path))
    monkeypatch.setattr(prepare, "encoded", lambda files, labels: np.array([[len(file)] for file in files]))
    assert prepare.main(["--out", str(out), "--sets", "fashion_mnist"]) == 0
    with np.load(out / "fashion_mnist.npz", allow_pickle=False) as stored:
        assert stored["truth"].tolist() == [3, 1, 2, 0]
        assert stored["features"].shape == (4, 1)


def test_sets_without_their_files_are_skipped(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAMIS_SHARED", str(tmp_path))
    monkeypatch.delenv("TAMIS_FASHION_MNIST", raising=False)
    (tmp_path / "omniglot.npz").touch()
    prepare = load("prepare")
    sets = "omniglot,tiny_imagenet,fashion_mnist"
    assert prepare.main(["--out", str(tmp_path), "--sets", sets]) == 1
    printed = capsys.readouterr().err
    for words in ("omniglot.npz is there already", "tinyimagenet32_a.parquet", "set TAMIS_FASHION_MNIST"):
        assert words in printed
    with pytest.raises(SystemExit):
        prepare.main(["--out", str(tmp_path), "--sets", "nothing"])


def test_condensed_tables_by_hand(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"data": "CIFAR-10N aggre", "noise": None, "rows": 1000, "realised_rate": 0.25}
    planted = base | {"data": "Omniglot", "noise": "symmetric 0.2"}
    rows = [
        base | {"candidate": "a", "ap": 0.5, "cpu": 1.0, "added_mb": 3.0},
        base | {"candidate": "b", "ap": 0.75, "f1": 0.1, "cpu": 2.0},
        base | {"candidate": "c", "error": "no"},
        planted | {"candidate": "a", "seed": 0, "ap": 0.1},
        planted | {"candidate": "a", "seed": 1, "ap": 0.3},
    ]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert load("detection_page").main([str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert "aggre 1,000 rows, 25.0%" in page
    assert "| Average precision | aggre |\n| --- | --- |\n| b | 0.750 |\n| a | 0.500 |\n\n" in page
    assert "| F1 at the flag | aggre |\n| --- | --- |\n| b | 0.100 |\n" in page
    assert "| Average precision | Omniglot sym 20 |\n| --- | --- |\n| a | 0.200 |\n" in page
    assert "Standard deviation over seeds: median 0.141, largest 0.141." in page
    assert (
        "| CPU seconds | CIFAR-10N | Omniglot |\n| --- | --- | --- |\n| a | 1.00 | - |\n| b | 2.00 | - |\n"
        in page
    )
    assert load("detection_page").main([str(tmp_path), "--out", str(tmp_path / "t.md")]) == 0
    assert (tmp_path / "t.md").read_text(encoding="utf-8") + "\n" == page
