from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import tamis.data
from tamis.data import feature_digests
from tamis.errors import InputError


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "empty path"),
        ("~nobody-of-this-name/x", "unknown home"),
        ("none/at/all", "does not exist; pass a folder of images"),
        ("user/dataset", "datasets.load_dataset"),
        ("https://host/data.csv", "download it first"),
        ("x" * 5000, "not a usable path|does not exist"),
        ("a\0b", "not a usable path|does not exist"),
        (7, "source is a builtins.int; pass"),
        (None, "source is a builtins.NoneType"),
        ([1, 2], "source is a builtins.list"),
        (np.ones((2, 2)), "source is a numpy.ndarray"),
        ((1, 2, 3), "source is a builtins.tuple"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(source)


def test_unknown_suffix(tmp_path):
    for name in ("a.pkl", "a.pt", "a", "a.csv.gz"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=r"suffix .* not known"):
            tamis.data.read(tmp_path / name)


@pytest.mark.parametrize("task", ["multilabel", "retrieval", "crowd", "rubbish"])
def test_other_tasks(task):
    with pytest.raises(InputError, match="not supported yet; legal are"):
        tamis.data.read((np.ones((2, 1)), [0, 1]), task=task)


def test_a_data_set_is_returned_as_it_is():
    dataset = tamis.data.from_arrays(np.ones((2, 1)), [0, 1])
    assert tamis.data.read(dataset) is dataset


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    assert len(tamis.data.read("~/t.csv")) == 1


def test_import_leaves_heavy_libraries_alone():
    heavy = ("torch", "pandas", "datasets", "transformers")
    code = f"import sys, tamis.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.shared
def test_cifar_needs_no_options(shared):
    path = shared / "data" / "cifar10_train.parquet"
    dataset = tamis.data.read(path)
    assert len(dataset) == 50_000
    assert dataset.class_names[:3] == ("airplane", "automobile", "bird")
    assert dataset.label_codes[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert dataset.inputs["image"].read([0, 49_999])[1].shape == (32, 32, 3)
    assert len(np.unique(dataset.inputs["image"].digests(), axis=0)) == 50_000
    worse = tamis.data.read(path, label="worse_label")
    assert (worse.label_codes != dataset.label_codes).mean() == pytest.approx(0.4021, abs=1e-4)
    assert (worse.table.column("source_label").to_numpy() == dataset.label_codes).all()


@pytest.mark.shared
def test_news_texts(shared, tmp_path):
    dataset = tamis.data.read(shared / "data" / "news20_test_text.parquet")
    assert list(dataset.inputs) == ["text"]
    assert dataset.n_classes == 20
    table = pq.read_table(shared / "data" / "news20_test_text.parquet").slice(0, 500)
    table.to_pandas().to_csv(tmp_path / "t.csv", index=False)
    by_csv = tamis.data.read(tmp_path / "t.csv")
    texts = by_csv.inputs["text"].read(range(500))
    assert texts == table.column("text").to_pylist()


@pytest.mark.shared
def test_arrays_of_the_shared_folder(shared):
    dataset = tamis.data.read(
        shared / "data" / "cifar10_features_efflite0.npz", features="train", label="train_label"
    )
    assert dataset.features["features"].shape == (50_000, 256)
    dataset = tamis.data.read(shared / "data" / "labelerrors_20news_test.npz")
    assert dataset.pred_probs.shape == (7532, 20)
    assert dataset.class_names == tuple(range(20))
    with pytest.raises(InputError, match="multilabel"):
        tamis.data.read(shared / "data" / "multilabel_scene.npz", label="Y")
    split = tamis.data.read(shared / "data" / "tinyimagenet32_a.parquet").table.column("split")
    assert set(split.to_pylist()) == {"train", "val"}


@pytest.mark.slow
def test_hashing_is_fast_and_bounded(tmp_path):
    rows, width = 250_000, 256
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(rows, width))
    for start in range(0, rows, 10_000):
        mapped[start : start + 10_000] = np.random.default_rng(start).normal(size=(10_000, width))
    mapped.flush()
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    digests = feature_digests(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert time.process_time() - start < 5
    # The mapped file may count too.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (rows * width * 4 + 3e8) / 1024
    assert len(np.unique(digests, axis=0)) == rows


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path):
    for name in range(100):
        folder = tmp_path / f"class{name:03d}"
        folder.mkdir()
        for file in range(1000):
            (folder / f"{file:04d}.png").touch()
    start = time.process_time()
    dataset = tamis.data.read(tmp_path)
    assert time.process_time() - start < 5
    assert len(dataset) == 100_000
    assert dataset.n_classes == 100
