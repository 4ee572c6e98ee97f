"""Readers of published image sets, on small files of the same form."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

import tamis
from tamis.data import Unreadable
from tamis.data.published import (
    FORMATS,
    read_animal10n,
    read_clothing1m,
    read_food101n,
    read_image_list,
    read_published,
    read_red_mini_imagenet,
    read_webvision,
)
from tamis.errors import InputError

CLOTHES = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker"),
    *("Jacket", "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear"),
)


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def put_image(path, colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (4, 3), (colour, 0, 0)).save(path)
    return path


def labels(dataset):
    return [dataset.class_names[code] for code in dataset.label_codes]


def truths(dataset):
    return [None if code < 0 else dataset.class_names[code] for code in dataset.truth]


@pytest.fixture
def clothing(tmp_path):
    root = tmp_path / "clothing"
    put(root / "category_names_eng.txt", "\n".join(CLOTHES) + "\n")
    put(
        root / "noisy_label_kv.txt",
        "images/0/a.jpg 3\nimages/1/b.jpg 0\nimages/2/c.jpg 5\nimages/9/z.jpg 1\n",
    )
    put(root / "clean_label_kv.txt", "images/2/c.jpg 4\nimages/3/d.jpg 13\nimages/3/e.jpg 0\n")
    put(root / "noisy_train_key_list.txt", "images/0/a.jpg\nimages/1/b.jpg\n")
    put(root / "clean_train_key_list.txt", "images/2/c.jpg\n")
    put(root / "clean_val_key_list.txt", "images/3/d.jpg\n")
    put(root / "clean_test_key_list.txt", "images/3/e.jpg\n")
    for place, name in enumerate(("0/a", "1/b", "2/c", "3/d")):
        put_image(root / "images" / f"{name}.jpg", place)
    return root


def test_clothing1m(clothing):
    dataset = read_clothing1m(clothing)
    assert dataset.class_names == tuple(CLOTHES)
    assert dataset.ids == [f"images/{name}.jpg" for name in ("0/a", "1/b", "2/c", "3/d", "3/e")]
    assert labels(dataset) == ["Chiffon", "T-Shirt", "Hoodie", "Underwear", "T-Shirt"]
    assert truths(dataset) == [None, None, "Sweater", "Underwear", "T-Shirt"]
    assert dataset.table["split"].to_pylist() == ["noisy_train"] * 2 + [
        "clean_train",
        "clean_val",
        "clean_test",
    ]
    assert dataset.table["label_kind"].to_pylist() == ["noisy"] * 3 + ["clean"] * 2
    assert dataset.notes == ("1 labelled files stand in no key list and are left out",)
    *read, missing = dataset.inputs["image"].read(range(5))
    assert all(image.shape == (3, 4, 3) for image in read)
    assert missing == Unreadable(4, "file does not exist")


def test_clothing1m_with_annotations_apart_and_images_without_their_folder(clothing):
    (clothing / "annotations").mkdir()
    for path in clothing.glob("*.txt"):
        path.rename(clothing / "annotations" / path.name)
    for path in (clothing / "images").iterdir():
        path.rename(clothing / path.name)
    (clothing / "images").rmdir()
    dataset = read_clothing1m(clothing)
    assert len(dataset) == 5
    assert dataset.inputs["image"].read([0])[0].shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("noisy_label_kv.txt", "images/0/a.jpg 14\n", "noisy_label_kv.txt, line 1 .* legal are 0 to 13"),
        ("noisy_label_kv.txt", "images/0/a.jpg 1\nimages/0/a.jpg 2\n", "line 2 .*stands in line 1 already"),
        ("clean_label_kv.txt", "images/2/c.jpg\n", "clean_label_kv.txt, line 1 .* may be cut off"),
        ("noisy_train_key_list.txt", "images/0/q.jpg\n", "line 1 .* has no label in noisy_label_kv.txt"),
        ("clean_val_key_list.txt", "images/2/c.jpg\n", "stands in clean_train_key_list.txt, line 1 already"),
        ("category_names_eng.txt", "a\nb\n", "names 2 classes; expected 14"),
    ],
)
def test_clothing1m_refuses(clothing, name, text, message):
    (clothing / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_clothing1m(clothing)


def test_clothing1m_without_lists(clothing, tmp_path):
    for path in clothing.glob("*_key_list.txt"):
        path.unlink()
    with pytest.raises(InputError, match="holds no key list"):
        read_clothing1m(clothing)
    with pytest.raises(InputError, match=r"holds no noisy_label_kv.txt; pass the folder"):
        read_clothing1m(tmp_path)
    with pytest.raises(InputError, match="is not a folder; pass the folder in which Clothing1M"):
        read_clothing1m(tmp_path / "none")


@pytest.fixture
def webvision(tmp_path):
    root = tmp_path / "webvision"
    words = [f"n{place:08d} word {place}" for place in range(60)]
    words[7], words[55] = "n02012849 crane", "n03126707 crane"
    put(root / "info/synsets.txt", "\n".join(words) + "\n")
    put(root / "info/train_filelist_google.txt", "google/q0001/a.jpg 0\ngoogle/q0002/b.jpg 55\n")
    put(root / "info/train_filelist_flickr.txt", "flickr/q0001/c.jpg 7\n")
    put(root / "info/val_filelist.txt", "val000001.jpg 3\nval000002.jpg 59\n")
    put_image(root / "google/q0001/a.jpg")
    put_image(root / "val_images_256/val000001.jpg")
    return root


def test_webvision(webvision):
    dataset = read_webvision(webvision)
    assert dataset.n_classes == 60
    assert labels(dataset) == ["word 0", "crane (n03126707)", "crane (n02012849)", "word 3", "word 59"]
    assert truths(dataset) == [None, None, None, "word 3", "word 59"]
    assert dataset.ids[2:4] == ["flickr/q0001/c.jpg", "val_images_256/val000001.jpg"]
    found = dataset.inputs["image"].read(range(5))
    assert [isinstance(image, Unreadable) for image in found] == [False, True, True, False, True]


def test_webvision_mini(webvision):
    dataset = read_webvision(webvision, mini=True)
    assert dataset.n_classes == 50
    assert dataset.ids == ["google/q0001/a.jpg", "val_images_256/val000001.jpg"]
    assert dataset.table["split"].to_pylist() == ["train", "val"]
    assert tamis.read(webvision, format="webvision_mini").ids == dataset.ids


def test_webvision_refuses(webvision):
    put(webvision / "info/train_filelist_google.txt", "google/q0001/a.jpg 0\ngoogle/q0002/b.jpg 60\n")
    with pytest.raises(InputError, match=r"train_filelist_google.txt, line 2 .* legal are 0 to 59"):
        read_webvision(webvision)
    (webvision / "info/train_filelist_google.txt").unlink()
    with pytest.raises(InputError, match=r"holds no train_filelist_google.txt"):
        read_webvision(webvision, mini=True)


@pytest.fixture
def food(tmp_path):
    root = tmp_path / "Food-101N_release"
    put(root / "meta/classes.txt", "class_name\napple_pie\nbaklava\nwaffles\n")
    keys = ["apple_pie/1.jpg", "baklava/2.jpg", "waffles/3.jpg", "waffles/4.jpg"]
    put(root / "meta/imagelist.tsv", "class_name/key\n" + "\n".join(keys) + "\n")
    put(
        root / "meta/verified_train.tsv",
        "class_name/key\tverification_label\napple_pie/1.jpg\t1\nbaklava/2.jpg\t0\nbaklava/9.jpg\t1\n",
    )
    put(root / "meta/verified_val.tsv", "class_name/key\tverification_label\nwaffles/4.jpg\t1\n")
    put_image(root / "images/apple_pie/1.jpg")
    return root


def test_food101n(food):
    dataset = read_food101n(food)
    assert labels(dataset) == ["apple_pie", "baklava", "waffles", "waffles"]
    assert truths(dataset) == ["apple_pie", None, None, "waffles"]
    assert dataset.table["verification_label"].to_pylist() == [1, 0, None, 1]
    assert dataset.table["verified_split"].to_pylist() == ["train", "train", None, "val"]
    assert "1 verified files stand under another class" in dataset.notes[0]
    assert dataset.inputs["image"].read([0])[0].shape == (3, 4, 3)
    for name in ("verified_train.tsv", "verified_val.tsv"):
        (food / "meta" / name).unlink()
    assert read_food101n(food).truth is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "imagelist.tsv",
            "class_name/key\npizza/1.jpg\n",
            "line 2 .* the class 'pizza' is not in classes.txt",
        ),
        ("imagelist.tsv", "class_name/key\nwaffles\n", "line 2 .* expected class/file"),
        ("imagelist.tsv", "waffles/3.jpg\nwaffles/3.jpg\n", "line 2 .* stands in line 1 already"),
        ("imagelist.tsv", "class_name/key\n", "lists no samples"),
        ("verified_train.tsv", "waffles/3.jpg\t2\n", "line 1 .* legal are 0 to 1"),
        (
            "verified_train.tsv",
            "waffles/4.jpg\t1\n",
            "verified_val.tsv, line 2 .* verified in the other list too",
        ),
        ("verified_train.tsv", "waffles/3.jpg", "line 1 .* may be cut off"),
        ("classes.txt", "class_name\n", "names no class"),
    ],
)
def test_food101n_refuses(food, name, text, message):
    (food / "meta" / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_food101n(food)


@pytest.fixture
def red(tmp_path):
    root = tmp_path / "cnwl" / "mini-imagenet"
    rows = ["n0170432300000038.jpg 0", "5922767e5677aef4.jpg 0", "n0451500300000001.jpg 1", "aa11.jpg 99"]
    put(root / "split/red_noise_nl_0.4", "\n".join(rows) + "\n")
    put(root / "split/blue_noise_nl_0.0", "n0170432300000038.jpg 0\nn0451500300000001.jpg 1\n")
    put(root / "split/blue_noise_nl_0.2", "n0170432300000038.jpg 1\nn0451500300000001.jpg 1\n")
    put(root / "split/clean_validation", "ILSVRC2012_val_00000001.jpg 5\n")
    put(root / "class_name.txt", "\n".join(f"class {place}" for place in range(100)) + "\n")
    entries = [
        [{"image/id": name, "image/class/label": 0, "image/class/label/is_clean": is_clean}]
        for name, is_clean in (("5922767e5677aef4", 0), ("aa11", 1))
    ]
    put(root.parent / "mini-imagenet-annotations.json", json.dumps({"data": entries}))
    put_image(root / "all_images/n0170432300000038.jpg")
    put_image(root / "validation/ILSVRC2012_val_00000001.jpg")
    return root


def test_red_mini_imagenet(red):
    dataset = read_red_mini_imagenet(red / "split/red_noise_nl_0.4")
    assert labels(dataset) == ["class 0", "class 0", "class 1", "class 99"]
    assert truths(dataset) == ["class 0", None, "class 1", "class 99"]
    assert dataset.table["is_web"].to_pylist() == [False, True, False, True]
    assert dataset.table["is_clean"].to_pylist() == [None, False, None, True]
    assert dataset.inputs["image"].read([0])[0].shape == (3, 4, 3)
    validation = read_red_mini_imagenet(red / "split/clean_validation")
    assert truths(validation) == ["class 5"]
    assert validation.inputs["image"].read([0])[0].shape == (3, 4, 3)


def test_red_mini_imagenet_with_less_beside_it(red):
    (red / "class_name.txt").write_text("only one\n")
    (red.parent / "mini-imagenet-annotations.json").unlink()
    dataset = read_red_mini_imagenet(red / "split/red_noise_nl_0.4")
    assert dataset.class_names == tuple(range(100))
    assert truths(dataset) == [0, None, 1, None]


def test_blue_mini_imagenet(red):
    dataset = read_red_mini_imagenet(red / "split/blue_noise_nl_0.2")
    assert labels(dataset) == ["class 1", "class 1"]
    assert truths(dataset) == ["class 0", "class 1"]
    (red / "split/blue_noise_nl_0.0").unlink()
    assert read_red_mini_imagenet(red / "split/blue_noise_nl_0.2").truth is None


def test_red_mini_imagenet_refuses(red):
    with pytest.raises(InputError, match="is not a list of mini-ImageNet; pass a file such as"):
        read_red_mini_imagenet(red)
    put(red / "split/red_noise_nl_0.8", "a.jpg 100\n")
    with pytest.raises(InputError, match=r"red_noise_nl_0.8, line 1 .* legal are 0 to 99"):
        read_red_mini_imagenet(red / "split/red_noise_nl_0.8")
    put(red.parent / "mini-imagenet-annotations.json", '{"data": [[{}]]}')
    with pytest.raises(InputError, match=r"not the published list of annotations .KeyError"):
        read_red_mini_imagenet(red / "split/red_noise_nl_0.4")
    (red.parent / "mini-imagenet-annotations.json").unlink()
    put(red / "split/blue_noise_nl_0.0", "n0170432300000038.jpg 0\nn0170432300000039.jpg 3\n")
    with pytest.raises(
        InputError, match=r"line 2 .* n01704323 had the label 0 before; this list has no noise"
    ):
        read_red_mini_imagenet(red / "split/blue_noise_nl_0.2")


def test_animal10n_files(tmp_path):
    put_image(tmp_path / "training/0_a.jpg")
    put_image(tmp_path / "training/9_b_2.jpg")
    put(tmp_path / "training/readme.txt")
    put_image(tmp_path / "testing/3_77.jpg")
    dataset = read_animal10n(tmp_path)
    assert dataset.ids == ["training/0_a.jpg", "training/9_b_2.jpg", "testing/3_77.jpg"]
    assert labels(dataset) == ["cat", "guinea pig", "coyote"]
    assert truths(dataset) == [None, None, "coyote"]
    assert dataset.table["sample_id"].to_pylist() == ["a", "b_2", "77"]
    assert dataset.table["split"].to_pylist() == ["train", "train", "test"]
    put_image(tmp_path / "training/cat.jpg")
    with pytest.raises(InputError, match=r"cat.jpg is not named <label>_<id>"):
        read_animal10n(tmp_path)


def records(*rows):
    parts = []
    for number, label in rows:
        planes = np.full((3, 64, 64), number % 256, np.uint8) + np.array([0, 1, 2], np.uint8)[:, None, None]
        parts.append(number.to_bytes(4, "big") + label.to_bytes(4, "big") + planes.tobytes())
    return b"".join(parts)


def test_animal10n_binary(tmp_path):
    (tmp_path / "data_batch_2.bin").write_bytes(records((7, 3)))
    (tmp_path / "data_batch_10.bin").write_bytes(records((9, 0)))
    (tmp_path / "data_batch_1.bin").write_bytes(records((1, 2), (2, 8)))
    (tmp_path / "test_batch.bin").write_bytes(records((300, 9)))
    dataset = read_animal10n(tmp_path)
    assert dataset.ids == [
        "data_batch_1/0",
        "data_batch_1/1",
        "data_batch_2/0",
        "data_batch_10/0",
        "test_batch/0",
    ]
    assert dataset.table["sample_id"].to_pylist() == ["1", "2", "7", "9", "300"]
    assert dataset.label_codes.tolist() == [2, 8, 3, 0, 9]
    assert dataset.truth.tolist() == [-1, -1, -1, -1, 9]
    image = dataset.inputs["image"].read([2])[0]
    assert image.shape == (64, 64, 3)
    assert image[5, 6].tolist() == [7, 8, 9]
    assert len(np.unique(dataset.inputs["image"].digests(), axis=0)) == 5
    assert len(dataset.select([0, 4]).inputs["image"].read([1])) == 1


def test_animal10n_refuses(tmp_path):
    with pytest.raises(InputError, match="holds neither the folders training and testing nor data_batch"):
        read_animal10n(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(records((1, 2), (2, 8))[:-1])
    with pytest.raises(InputError, match="record 1 is cut off"):
        read_animal10n(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(records((1, 2), (2, 10)))
    with pytest.raises(InputError, match="record 1 has the label 10; legal are 0 to 9"):
        read_animal10n(tmp_path)


@pytest.fixture
def lists(tmp_path):
    root = "/data/cars196/images"
    rows = [
        ("AM General 2000/1.jpg", 1),
        ("AM General 2000/2.jpg", 1),
        ("Acura 2001/3.jpg", 2),
        ("Acura 2001/4.jpg", 2),
    ]
    given = [1, 2, 2, 1]
    put(tmp_path / "CARS_train.csv", "".join(f"{root}/{name},{code}\n" for name, code in rows))
    noisy = zip(rows, given, strict=True)
    put(
        tmp_path / "CARS_0.5noised_train.csv", "".join(f"{root}/{name},{code}\n" for (name, _), code in noisy)
    )
    right = [rows[0], rows[2]]
    put(
        tmp_path / "CARS_0.5noised_cleaned_train.csv",
        "".join(f"{root}/{name},{code}\n" for name, code in right),
    )
    put_image(tmp_path / "pictures/Acura 2001/3.jpg")
    return tmp_path


def test_image_list_with_planted_noise(lists):
    dataset = read_image_list(lists / "CARS_0.5noised_train.csv", images=lists / "pictures")
    assert dataset.ids == [
        "AM General 2000/1.jpg",
        "AM General 2000/2.jpg",
        "Acura 2001/3.jpg",
        "Acura 2001/4.jpg",
    ]
    assert labels(dataset) == [1, 2, 2, 1]
    assert truths(dataset) == [1, 1, 2, 2]
    assert dataset.table["is_wrong"].to_pylist() == [False, True, False, True]
    assert dataset.notes == ("2 of 4 rows (0.500) are wrong by the companion list",)
    assert dataset.inputs["image"].read([2])[0].shape == (3, 4, 3)
    assert dataset.inputs["image"].read([0]) == [Unreadable(0, "file does not exist")]
    clean = read_image_list(lists / "CARS_train.csv")
    assert clean.truth is None
    assert clean.ids == dataset.ids


def test_image_list_of_small_clusters_and_the_stray_class_id(lists):
    noisy, cleaned = "CARS_0.25smallclusternoised_train.csv", "CARS_0.25smallclusternoised_cleaned_train.csv"
    put(lists / noisy, "/d/a/1.jpg,0\n/d/a/2.jpg,0\n/d/b/3.jpg,0\n")
    put(lists / cleaned, "/d/a/1.jpg,0\n/d/a/2.jpg,0\n")
    dataset = read_image_list(lists / noisy)
    # The true class of a wrong row is not among the labels, whatever the clean list says.
    assert dataset.truth.tolist() == [0, 0, -1]
    assert dataset.table["is_wrong"].to_pylist() == [False, False, True]
    put(lists / "CUB_0.2noised_train.csv", "/d/a/1.jpg,1\n/d/b/3.jpg,101\n")
    put(lists / "CUB_0.2noised_cleaned_train.csv", "/d/a/1.jpg,1\n")
    put(lists / "CUB_train.csv", "/d/a/1.jpg,1\n/d/b/3.jpg,2\n")
    dataset = read_image_list(lists / "CUB_0.2noised_train.csv")
    assert dataset.class_names == (1, 2, 101)
    assert truths(dataset) == [1, 2]
    assert "label ids that the clean list lacks: 101" in dataset.notes


def test_image_list_of_addresses(tmp_path):
    put(tmp_path / "CARS_98N_list.csv", "https://e.org/2/f/x--a.jpg,0\nhttps://e.org/2/f/x--a.jpg,1\n")
    put_image(tmp_path / "1/x--a.jpg")
    dataset = read_image_list(tmp_path / "CARS_98N_list.csv")
    assert dataset.ids == ["0/x--a.jpg", "1/x--a.jpg"]
    assert dataset.inputs["image"].read([1])[0].shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/d/a/1.jpg,1\n/d/a/1.jpg,2\n", "line 2 .* the file 'a/1.jpg' stands in line 1 already"),
        ("/d/a/1.jpg,x\n", "line 1 .* the label 'x' is not a whole number"),
        ("/d/a/1.jpg\n", "line 1 .* expected a file and a label id with ',' between"),
    ],
)
def test_image_list_refuses(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_image_list(put(tmp_path / "CARSN_train.csv", text))


def test_files_outside_the_folder_are_not_opened(tmp_path):
    put_image(tmp_path / "secret.jpg")
    put(tmp_path / "in/CARSN_train.csv", "../secret.jpg,1\na/1.jpg,1\n")
    put_image(tmp_path / "in/a/1.jpg")
    dataset = read_image_list(tmp_path / "in/CARSN_train.csv")
    assert dataset.problems == {0: "path lies outside the data folder; nothing was opened"}


def test_wrong_folder_is_noted(tmp_path):
    put(tmp_path / "CARSN_train.csv", "/d/a/1.jpg,1\n/d/b/2.jpg,2\n")
    assert (
        "none of the first 2 images exists below" in read_image_list(tmp_path / "CARSN_train.csv").notes[-1]
    )


def test_read_by_name_of_the_format(clothing, lists):
    assert (
        tamis.read(str(clothing), format="clothing1m").fingerprint()
        == read_clothing1m(clothing).fingerprint()
    )
    assert len(tamis.read(lists / "CARS_train.csv", format="image_list")) == 4
    with pytest.raises(InputError, match="format is 'clothing2m'; legal are animal10n"):
        tamis.read(clothing, format="clothing2m")
    with pytest.raises(InputError, match=r"image cannot go with format='clothing1m'"):
        tamis.read(clothing, format="clothing1m", image="x")
    with pytest.raises(InputError, match="class_names cannot go with format"):
        tamis.read(clothing, format="clothing1m", class_names=["a"])
    with pytest.raises(InputError, match="source is a dict; with format='clothing1m' pass a path"):
        tamis.read({}, format="clothing1m")
    with pytest.raises(InputError, match="label is 'x', but clothing1m has one set of labels"):
        read_published(clothing, "clothing1m", label="x")


def test_formats_are_documented():
    from pathlib import Path

    page = (Path(__file__).resolve().parents[3] / "docs" / "published-data.md").read_text(encoding="utf-8")
    for name in FORMATS:
        assert f"`{name}`" in page


def test_audit_takes_the_format(clothing):
    from typer.testing import CliRunner

    from tamis.cli import app

    found = CliRunner().invoke(app, ["audit", str(clothing), "--format", "clothing2m"])
    assert found.exit_code != 0
    assert "clothing2m" in str(found.exception) + found.output
