"""CIFAR-10N and CIFAR-100N: the label files, what they may hold, and the facts of the real labels."""

from __future__ import annotations

import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import tamis
from tamis.data.published import read_cifar_n
from tamis.data.published.cifar_classes import CIFAR10, CIFAR100, CIFAR100_COARSE
from tamis.errors import InputError

KEYS = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")


def small(n=20):
    rng = np.random.default_rng(0)
    return {key: rng.integers(0, 10, n) for key in ("clean_label", *KEYS)}


def saved(folder, arrays, name="CIFAR-10_human.pt", **options):
    path = folder / name
    torch.save(arrays, path, **options)
    return path


@pytest.mark.parametrize("is_zip", [True, False])
def test_reads_every_label_set(tmp_path, is_zip):
    arrays = small()
    path = saved(tmp_path, arrays, _use_new_zipfile_serialization=is_zip)
    for key in KEYS:
        dataset = read_cifar_n(path, label=key)
        np.testing.assert_array_equal(dataset.label_codes, arrays[key])
        np.testing.assert_array_equal(dataset.truth, arrays["clean_label"])
        assert dataset.class_names == CIFAR10
        assert set(dataset.table.column_names) >= set(KEYS) - {key}
    assert dataset.ids[:3] == ["0", "1", "2"]
    assert tamis.read(path, format="cifar_n", label="worse_label").fingerprint() == dataset.fingerprint()


def test_cifar100_fine_and_coarse(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "clean_label": rng.integers(0, 100, 9),
        "noisy_label": rng.integers(0, 100, 9).astype(np.int32),
        "clean_coarse_label": rng.integers(0, 20, 9).tolist(),
        "noisy_coarse_label": rng.integers(0, 20, 9).tolist(),
    }
    path = saved(tmp_path, arrays)
    fine, coarse = read_cifar_n(path), read_cifar_n(path, label="noisy_coarse_label")
    assert fine.class_names == CIFAR100
    assert coarse.class_names == CIFAR100_COARSE
    np.testing.assert_array_equal(fine.label_codes, arrays["noisy_label"])
    np.testing.assert_array_equal(coarse.truth, arrays["clean_coarse_label"])
    assert (len(CIFAR10), len(CIFAR100), len(CIFAR100_COARSE)) == (10, 100, 20)


def test_converted_file_in_the_other_order(tmp_path):
    arrays = small()
    order = np.random.default_rng(1).permutation(20)
    # Row i of the ordered file is image order[i].
    np.savez(tmp_path / "labels.npz", **{key: values[order] for key, values in arrays.items()})
    np.save(tmp_path / "image_order_c10.npy", order)
    turned = read_cifar_n(
        tmp_path / "labels.npz", label="aggre_label", image_order=tmp_path / "image_order_c10.npy"
    )
    np.testing.assert_array_equal(turned.label_codes, arrays["aggre_label"])
    np.testing.assert_array_equal(turned.truth, arrays["clean_label"])
    np.save(tmp_path / "image_order_c10.npy", order[:-1])
    with pytest.raises(InputError, match="does not hold each number from 0 to 19 once"):
        read_cifar_n(
            tmp_path / "labels.npz", label="aggre_label", image_order=tmp_path / "image_order_c10.npy"
        )
    np.savez(tmp_path / "fine.npz", clean_label=np.arange(3), noise_label=np.arange(3))
    assert read_cifar_n(tmp_path / "fine.npz").class_names == CIFAR100


def test_pickles_are_not_loaded(tmp_path):
    path = tmp_path / "CIFAR-10_human_ordered.npy"
    np.save(path, small(), allow_pickle=True)
    with pytest.raises(InputError, match=r"never loaded; use the .pt file, or convert it once .*numpy.savez"):
        read_cifar_n(path)


class Hostile:
    """Would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_would_run_code_is_refused(tmp_path, is_zip):
    path = saved(tmp_path, {"clean_label": Hostile(tmp_path / "made")}, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match="nothing in it was run"):
        read_cifar_n(path, label="worse_label")
    assert not (tmp_path / "made").exists()


def test_images(tmp_path):
    images = np.zeros((20, 32, 32, 3), np.uint8)
    path = saved(tmp_path, small())
    dataset = read_cifar_n(path, label="worse_label", images=images)
    assert dataset.inputs["image"].read([0])[0].shape == (32, 32, 3)
    with pytest.raises(InputError, match="images has 19 rows and the label file 20"):
        read_cifar_n(path, label="worse_label", images=images[1:])


def test_side_info(tmp_path):
    three = "Image-batch,Worker1-id,Work-time-in-seconds-1,Worker2-id,Work-time-in-seconds-2,Worker3-id,"
    three += "Work-time-in-seconds-3\n0--9,198,25,385,40,197,21\n10--19,430,46,140,27,584,92\n"
    (tmp_path / "side.csv").write_text(three)
    dataset = read_cifar_n(saved(tmp_path, small()), label="worse_label", side_info=tmp_path / "side.csv")
    assert dataset.table["worker2"].to_pylist() == [385] * 10 + [140] * 10
    assert dataset.table["seconds3"].to_pylist() == [21] * 10 + [92] * 10
    one = "Image-batch,Worker-id,Work-time-in-seconds\n0--4,514,113\n5--9,239,41\n10--14,1,1\n15--19,2,2\n"
    (tmp_path / "side.csv").write_text(one)
    dataset = read_cifar_n(saved(tmp_path, small()), label="worse_label", side_info=tmp_path / "side.csv")
    assert dataset.table["worker"].to_pylist()[4:6] == [514, 239]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n", "line 1 .* expected the heading 'Image-batch,Worker-id"),
        ("Image-batch,Worker-id,Work-time-in-seconds\n0--4,5\n", "line 2 .* may be cut off"),
        ("Image-batch,Worker-id,Work-time-in-seconds\n0--4,5,x\n", "line 2 .* the label 'x' is not a whole"),
        (
            "Image-batch,Worker-id,Work-time-in-seconds\n0--4,5,6\n6--9,1,1\n",
            "line 3 .* a run that begins at image 5",
        ),
        (
            "Image-batch,Worker-id,Work-time-in-seconds\n0--4,5,6\n",
            "tells of 5 images and the label file of 20",
        ),
    ],
)
def test_side_info_refuses(tmp_path, text, message):
    (tmp_path / "side.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cifar_n(saved(tmp_path, small()), label="worse_label", side_info=tmp_path / "side.csv")


@pytest.mark.parametrize(
    ("change", "label", "message"),
    [
        ({}, None, "label is not given; pass label= with the labels to read: aggre_label, random_label1"),
        ({}, "worst_label", "label is 'worst_label'; pass label= "),
        (
            {"worse_label": np.arange(19) % 10},
            "worse_label",
            "has 20 labels and worse_label 19; they must match",
        ),
        ({"worse_label": np.full(20, 10)}, "worse_label", "worse_label row 0 is 10; legal are 0 to 9"),
        ({"clean_label": np.full(20, -1)}, "worse_label", "clean_label row 0 is -1"),
        ({"worse_label": np.ones((20, 2), int)}, "worse_label", r"has shape \(20, 2\)"),
        ({"worse_label": "text"}, "worse_label", r"expected \(n,\) integers"),
    ],
)
def test_content_that_is_refused(tmp_path, change, label, message):
    with pytest.raises(InputError, match=message):
        read_cifar_n(saved(tmp_path, small() | change), label=label)


def test_files_that_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_cifar_n(tmp_path, label="worse_label")
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(InputError, match=r"legal are .pt and .npz"):
        read_cifar_n(tmp_path / "labels.csv")
    (tmp_path / "labels.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be read as a label file"):
        read_cifar_n(tmp_path / "labels.pt")
    with pytest.raises(InputError, match=r"holds a list; expected labels by name"):
        read_cifar_n(saved(tmp_path, [1, 2]))
    with pytest.raises(InputError, match="holds no labels of CIFAR-10N or CIFAR-100N"):
        read_cifar_n(saved(tmp_path, {"x": np.arange(2)}))
    with pytest.raises(InputError, match="lacks 'clean_label'"):
        read_cifar_n(saved(tmp_path, {"worse_label": np.arange(2)}))
    cut = saved(tmp_path, small()).read_bytes()[:-200]
    (tmp_path / "cut.pt").write_bytes(cut)
    with pytest.raises(InputError, match="cannot be read as a label file"):
        read_cifar_n(tmp_path / "cut.pt")


@pytest.mark.shared
def test_facts_of_the_real_labels(shared, tmp_path):
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *KEYS])
    arrays = {key: table[key].to_numpy().astype(np.int64) for key in KEYS}
    path = saved(tmp_path, arrays | {"clean_label": table["label"].to_numpy().astype(np.int64)})
    rates = {}
    for key in KEYS:
        dataset = read_cifar_n(path, label=key)
        rates[key] = round(float((dataset.label_codes != dataset.truth).mean()), 5)
    assert rates == {
        "aggre_label": 0.0901,
        "random_label1": 0.17234,
        "random_label2": 0.18122,
        "random_label3": 0.1764,
        "worse_label": 0.40208,
    }
    dataset = read_cifar_n(path, label="worse_label")
    truth, worse = dataset.truth, dataset.label_codes
    three = np.stack([dataset.table[f"random_label{k}"].to_numpy() for k in (1, 2, 3)], axis=1)
    is_wrong = three != truth[:, None]
    np.testing.assert_array_equal(worse != truth, is_wrong.any(axis=1))
    last_wrong = three[np.arange(len(truth)), 2 - is_wrong[:, ::-1].argmax(axis=1)]
    np.testing.assert_array_equal(worse, np.where(is_wrong.any(axis=1), last_wrong, truth))
    aggre = dataset.table["aggre_label"].to_numpy()
    agree = [np.flatnonzero(np.bincount(row, minlength=10) >= 2) for row in three]
    majority = np.array([found[0] if len(found) else -1 for found in agree])
    assert (majority < 0).sum() == 3041
    np.testing.assert_array_equal(aggre[majority >= 0], majority[majority >= 0])
    assert ((aggre[:, None] == three).any(axis=1)).all()


@pytest.mark.shared
def test_facts_of_the_real_hundred_classes(shared, tmp_path):
    table = pq.read_table(shared / "data" / "cifar100n_labels.parquet")
    names = {"clean_label": "label", "noisy_label": "noisy_label", "clean_coarse_label": "coarse_label"}
    names["noisy_coarse_label"] = "noisy_coarse_label"
    path = saved(tmp_path, {key: table[name].to_numpy().astype(np.int64) for key, name in names.items()})
    fine, coarse = read_cifar_n(path), read_cifar_n(path, label="noisy_coarse_label")
    assert round(float((fine.label_codes != fine.truth).mean()), 4) == 0.402
    assert round(float((coarse.label_codes != coarse.truth).mean()), 5) == 0.26404
