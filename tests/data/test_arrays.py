from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tamis.data
from tamis.data import ImageArrayInput, TextInput, Unreadable, from_arrays
from tamis.errors import InputError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = ["a", "b", "a", None]


def test_everything_given():
    dataset = from_arrays(
        X, Y, np.full((4, 2), 0.5), ids=[10, 11, 12, 13], splits=["t", "t", "v", None], groups=[1, 1, 2, 2]
    )
    assert dataset.ids == ["10", "11", "12", "13"]
    assert dataset.label_codes.tolist() == [0, 1, 0, -1]
    assert dataset.table.column("split").to_pylist() == ["t", "t", "v", None]
    assert dataset.table.column("group").to_pylist() == ["1", "1", "2", "2"]
    assert dataset.features["features"] is X
    assert dataset.pred_probs.shape == (4, 2)
    assert dataset.problems == {}


@pytest.mark.parametrize(
    ("given_dtype", "dtype"),
    [
        ("f2", "f2"),
        ("f4", "f4"),
        ("f8", "f8"),
        (">f4", "f4"),
        ("i1", "f4"),
        ("u2", "f4"),
        ("i8", "f8"),
        ("?", "f4"),
    ],
)
def test_types_of_features(given_dtype, dtype):
    dataset = from_arrays(np.ones((2, 3), dtype=given_dtype), ["a", "b"])
    assert dataset.features["features"].dtype == np.dtype(dtype)


def test_tensors_and_lists():
    labels = torch.tensor([0, 1, 1, 0])
    by_tensor = from_arrays(torch.tensor(X, requires_grad=True), labels)
    assert by_tensor.features["features"].tolist() == X.tolist()
    assert by_tensor.fingerprint() == from_arrays(X, np.array([0, 1, 1, 0])).fingerprint()
    assert from_arrays(torch.tensor(X).bfloat16(), labels).features["features"].dtype == np.float32


def test_masked_and_sparse_tensors():
    masked = np.ma.masked_array(X, X == 4)
    assert from_arrays(masked, Y).problems == {1: "features contain NaN"}
    assert from_arrays(torch.eye(4).to_sparse(), Y).features["features"].tolist() == np.eye(4).tolist()


def test_mapped_features_stay_mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(from_arrays(mapped, Y).features["features"], np.memmap)


def test_rows_that_are_not_finite_become_problems():
    features = np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 0.0], [1e300, 0.0]])
    dataset = from_arrays(features, Y)
    assert dataset.problems == {
        1: "features contain NaN",
        2: "features contain infinity",
        3: "features contain numbers beyond the range of float32",
    }
    with pytest.raises(InputError, match="no row of arrays can be used; row 0: features contain NaN"):
        from_arrays(np.full((2, 2), np.nan), ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": Y}, "neither features nor pred_probs"),
        ({"features": X}, "labels are missing"),
        ({"features": X, "labels": [None] * 4}, "none has a label"),
        ({"features": X, "labels": Y[:3]}, "labels has 3 rows but the data have 4"),
        ({"features": X, "labels": Y, "pred_probs": np.ones((3, 2))}, "different numbers of rows"),
        ({"features": X, "labels": Y, "ids": [1, 2, 1, 3]}, "ids '1' stands in rows 0 and 2"),
        ({"features": X, "labels": Y, "ids": [1, None, 2, 3]}, "ids row 1 is empty"),
        ({"features": X, "labels": Y, "ids": [1, 2]}, "ids has 2 values"),
        ({"features": X, "labels": Y, "groups": [1, "a", 2, 2]}, "groups mix types"),
        ({"features": X[:0], "labels": []}, "have no rows"),
        ({"features": X[:, :0], "labels": Y}, r"shape \(4, 0\)"),
        ({"features": X[:, 0], "labels": Y}, r"reshape\(-1, 1\)"),
        ({"features": X.astype(complex), "labels": Y}, "complex128"),
        ({"features": np.array([["a"]] * 4), "labels": Y}, "type <U1"),
        ({"features": [[1, 2], [1]], "labels": ["a", "b"]}, "different lengths"),
        ({"features": np.array([[object()]] * 4), "labels": Y}, "type object"),
        ({"pred_probs": np.ones((4, 3)), "labels": Y}, "pass class_names="),
        ({"images": X, "labels": Y}, "images has shape"),
        ({"texts": ["a", 1, "b", "c"], "labels": Y}, "texts hold something else"),
        ({"features": X, "labels": np.ones((4, 2, 2))}, r"shape \(4, 2, 2\)"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        from_arrays(**arguments)


def test_sparse_is_refused():
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(X)
    with pytest.raises(InputError, match="toarray"):
        from_arrays(sparse, Y)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 3)])
def test_image_arrays(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    dataset = from_arrays(images=images, labels=Y)
    decoded = dataset.inputs["image"].read([2, 0])
    assert decoded[0].shape == (5, 6, 3)
    assert (decoded[0] == (images[2] if shape[-1] == 3 else images[2].reshape(5, 6, 1))).all()
    decoded[0][:] = 0
    assert images[2].any()
    assert len(np.unique(dataset.inputs["image"].digests(), axis=0)) == 4


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 4), np.uint8)]
)
def test_other_image_arrays_are_refused(images):
    with pytest.raises(InputError, match="legal is uint8"):
        ImageArrayInput(images)


def test_texts():
    dataset = from_arrays(texts=["x", " ", "<script>", None], labels=[0, 1, 0, 1])
    assert sorted(dataset.problems) == [1, 3]
    assert dataset.inputs["text"].read([2, 0]) == ["<script>", "x"]
    assert (dataset.inputs["text"].digests() == 0).all(axis=1).tolist() == [False, True, False, True]


def test_problems_follow_the_best_evidence():
    texts = ["x", None, "y", "z"]
    assert list(from_arrays(texts=texts, labels=Y).problems) == [1]
    assert from_arrays(X, Y, texts=texts).problems == {}
    assert from_arrays(pred_probs=np.full((4, 2), 0.5), labels=Y, texts=texts).problems == {}
    assert from_arrays(images=np.zeros((4, 2, 2), np.uint8), labels=Y, texts=texts).problems == {}
    assert list(from_arrays(np.where(X == 6, np.nan, X), Y, texts=texts).problems) == [2]


def test_text_digests_compare_texts():
    digests = TextInput(["a", "b", "a"]).digests()
    assert (digests[0] == digests[2]).all()
    assert (digests[0] != digests[1]).any()


def test_select():
    dataset = from_arrays(
        np.array([[0.0], [np.nan], [2.0], [3.0]]),
        Y,
        np.eye(4)[:, :2],
        texts=["p", "q", None, "s"],
        splits=list("abcd"),
    )
    chosen = dataset.select([2, 1, 0])
    assert chosen.ids == ["2", "1", "0"]
    assert chosen.features["features"][[0, 2]].tolist() == [[2.0], [0.0]]
    assert chosen.pred_probs.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert sorted(chosen.problems) == [1]
    assert chosen.inputs["text"].read([2, 0]) == ["p", Unreadable(0, "text is missing or empty")]
    assert (chosen.inputs["text"].digests() == dataset.inputs["text"].digests()[[2, 1, 0]]).all()
    assert dataset.select(dataset.is_labelled).ids == ["0", "1", "2"]
    assert chosen.select([1]).ids == ["1"]
    assert len(dataset.select([])) == 0
    for rows, message in (
        ([0, 0], "more than once"),
        ([4], "legal are 0 to 3"),
        ([-1], "legal"),
        ([True], "mask"),
    ):
        with pytest.raises(InputError, match=message):
            dataset.select(rows)
    with pytest.raises(InputError, match="row numbers"):
        dataset.select([0.5])


def test_with_labels():
    dataset = from_arrays(X, Y)
    changed = dataset.with_labels(np.array([1, 1, -1, 0]))
    assert changed.label_codes.tolist() == [1, 1, -1, 0]
    assert changed.table.schema == dataset.table.schema
    assert dataset.label_codes.tolist() == [0, 1, 0, -1]
    with pytest.raises(InputError, match="row 3 is 2; legal are 0 to 1"):
        dataset.with_labels(np.array([0, 0, 0, 2]))
    with pytest.raises(InputError, match="shape"):
        dataset.with_labels(np.array([0]))


def test_describe():
    dataset = from_arrays(X, range(4), splits=["a", "a", "b", None])
    assert dataset.describe() == (
        "4 samples from arrays; features (4 x 3); 4 classes (0 1, 1 1, 2 1, 3 1); 0 unlabelled;"
        " splits a 2, b 1."
    )
    assert "..." in from_arrays(np.ones((12, 1)), range(12)).describe()
    assert repr(dataset).startswith("<tamis.Dataset: 4 samples")


def test_fingerprint_changes_with_everything_that_counts():
    base = {"features": X, "labels": ["a", "b", "a", "b"], "pred_probs": np.full((4, 2), 0.5)}
    variants = [
        base,
        base | {"features": X + 1},
        base | {"labels": ["b", "b", "a", "b"]},
        base | {"labels": ["a", "c", "a", "c"]},
        base | {"labels": ["a", "b", "a", None]},
        base | {"ids": list("wxyz")},
        base | {"splits": list("aabb")},
        base | {"groups": list("aabb")},
        base | {"pred_probs": np.full((4, 2), 0.25)},
        base | {"texts": list("abcd")},
        {name: base[name] for name in ("features", "labels")},
    ]
    prints = [from_arrays(**variant).fingerprint() for variant in variants]
    assert len(set(prints)) == len(variants)
    assert from_arrays(**base).fingerprint() == prints[0]
    assert from_arrays(**base | {"features": X.astype(np.float16)}).fingerprint() == prints[0]
    assert len(prints[0]) == 32


@given(st.permutations(range(6)))
def test_selecting_back_gives_the_same_data(order):
    dataset = from_arrays(np.arange(6.0)[:, None], list("aabbcc"), texts=list("uvwxyz"))
    assert dataset.select(order).select(np.argsort(order)).fingerprint() == dataset.fingerprint()


def read(**arrays):
    return tamis.data.read(arrays)


def test_named_arrays():
    assert read(X=X, y=[0, 1, 0, 1]).features["features"].shape == (4, 3)
    assert read(embeddings=X, labels=torch.tensor([0, 1, 0, 1])).class_names == (0, 1)
    dataset = read(
        x=np.zeros((4, 5, 5), np.uint8), y=[0, 1, 0, 1], ids=list("abcd"), class_names=np.array(["p", "q"])
    )
    assert list(dataset.inputs) == ["image"]
    assert dataset.class_names == ("p", "q")
    assert dataset.ids == list("abcd")
    assert read(text=["a", "b"], label=["x", "y"]).inputs["text"].read([0]) == ["a"]
    assert tamis.data.read({"w": X, "z": Y}, features="w", label="z").n_classes == 2


def test_named_splits():
    dataset = read(X_train=X, y_train=[0, 1, 0, 1], X_test=X[:2] + 1, y_test=[1, 1])
    assert dataset.table.column("split").to_pylist() == ["train"] * 4 + ["test"] * 2
    assert dataset.features["features"].shape == (6, 3)
    images = np.zeros((2, 8, 8), np.uint8)
    dataset = read(x_train=images, y_train=[0, 1], x_test=images, y_test=[0, 1])
    assert len(dataset.inputs["image"]) == 4
    with pytest.raises(InputError, match="fit together"):
        read(train=X, train_label=[0, 1, 0, 1], test=X[:, :2], test_label=[0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({}, {}, "dict of arrays is empty"),
        ({"x": X}, {}, r"no labels in the dict: found the arrays 'x' \(4, 3\)"),
        ({"w": X, "y": Y}, {}, "nothing to audit"),
        ({"x": X, "label": Y, "labels": Y}, {}, "could be any"),
        ({"x": X, "y": Y}, {"label": "Z"}, "not among the columns"),
        ({"x": X, "y": Y}, {"label": 3}, "label=3 is no column name"),
        ({"x": X, "y": Y}, {"features": 3}, "features=3 is no column name"),
        ({"x": X, "y": Y}, {"features": ["x", "y"]}, "one for each role"),
    ],
)
def test_refused_named_arrays(arrays, options, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(arrays, **options)


def test_pairs_and_npy(tmp_path):
    assert tamis.data.read((X, Y)).features["features"] is X
    assert tamis.data.read((["a", "b"], ["x", "y"])).inputs["text"].read([1]) == ["b"]
    assert list(tamis.data.read((np.zeros((2, 4, 4), np.uint8), [0, 1])).inputs) == ["image"]
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.array([0, 1, 0, 1]))
    dataset = tamis.data.read(tmp_path / "x.npy", label="y.npy")
    assert isinstance(dataset.features["features"], np.memmap)
    assert dataset.source == str(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"one array of shape \(4, 3\) and no labels"):
        tamis.data.read(tmp_path / "x.npy")


def test_npz(tmp_path):
    np.savez(
        tmp_path / "a.npz", features=X, labels=np.array(["a", "b", "a", ""]), pred_probs=np.full((4, 2), 0.5)
    )
    dataset = tamis.data.read(tmp_path / "a.npz")
    assert dataset.label_codes.tolist() == [0, 1, 0, -1]
    assert dataset.pred_probs.shape == (4, 2)
