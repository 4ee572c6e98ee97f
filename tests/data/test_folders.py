from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import tamis.data
from tamis.data import Unreadable
from tamis.data.folders import BAD_NAME
from tamis.errors import InputError


def make(root, *paths):
    for at, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix.lower() in {".png", ".jpg"}:
            PIL.Image.new("RGB", (3, 2), (at % 256, 0, 0)).save(file, "PNG")
        else:
            file.write_text("x")
    return root


def test_class_folders(tmp_path):
    dataset = tamis.data.read(make(tmp_path, "dog/b.png", "dog/a.PNG", "cat/c.jpg"))
    assert dataset.ids == ["cat/c.jpg", "dog/a.PNG", "dog/b.png"]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.label_codes.tolist() == [0, 1, 1]
    assert dataset.table.column("split").null_count == 3
    assert [image[0, 0, 0] for image in dataset.inputs["image"].read([2, 0])] == [0, 2]
    assert dataset.notes == ()


def test_the_listing_order_does_not_matter(tmp_path, monkeypatch):
    make(tmp_path, "dog/b.png", "dog/a.png", "cat/c.png", "cat/d.png")
    expected = tamis.data.read(tmp_path)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    again = tamis.data.read(tmp_path)
    assert again.table.equals(expected.table)
    assert again.fingerprint() == expected.fingerprint()


def test_split_folders(tmp_path):
    dataset = tamis.data.read(
        make(tmp_path, "Train/dog/a.png", "Train/cat/b.png", "TEST/dog/a.png", "TEST/u.png")
    )
    assert dataset.ids == ["TEST/u.png", "TEST/dog/a.png", "Train/cat/b.png", "Train/dog/a.png"]
    assert dataset.table.column("split").to_pylist() == ["TEST", "TEST", "Train", "Train"]
    assert dataset.label_codes.tolist() == [-1, 1, 0, 1]
    assert dataset.notes == ("1 images lie outside of class folders and are unlabelled",)


def test_a_single_split_folder(tmp_path):
    dataset = tamis.data.read(make(tmp_path, "train/dog/a.png", "train/cat/b.png"))
    assert dataset.class_names == ("cat", "dog")
    assert set(dataset.table.column("split").to_pylist()) == {"train"}


def test_classes_named_like_splits_beside_others(tmp_path):
    dataset = tamis.data.read(make(tmp_path, "train/a.png", "bus/a.png"))
    assert dataset.class_names == ("bus", "train")
    assert dataset.table.column("split").null_count == 2


def test_what_is_skipped_is_counted(tmp_path):
    make(
        tmp_path,
        "cat/a.png",
        "cat/.DS_Store",
        "cat/.hidden.png",
        "cat/notes.txt",
        "cat/Thumbs.db",
        "__MACOSX/cat/a.png",
        ".git/x.png",
        "dog/b.png",
        "docs/readme.md",
    )
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "linked").symlink_to(tmp_path / "cat", target_is_directory=True)
    dataset = tamis.data.read(tmp_path)
    assert dataset.ids == ["cat/a.png", "dog/b.png"]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.notes == (
        "skipped 3 files that are no images, 4 hidden or system entries, 1 pipes and devices,"
        " 1 symbolic links to folders",
        "1 folders hold no images: 'docs'",
    )


def test_deeper_folders_belong_to_their_class(tmp_path):
    dataset = tamis.data.read(make(tmp_path, "cat/a/x.png", "cat/b/c/y.png", "dog/z.png"))
    assert dataset.ids == ["cat/a/x.png", "cat/b/c/y.png", "dog/z.png"]
    assert dataset.label_codes.tolist() == [0, 0, 1]
    assert "2 images in deeper folders" in dataset.notes[0]


def test_bad_files_are_rows(tmp_path):
    make(tmp_path, "ok/a.png", "secret/s.png")
    inside = tmp_path / "data"
    make(inside, "cat/a.png", "cat/b.jpg", "dog/c.png")
    (inside / "cat" / "b.jpg").write_bytes(b"not an image")
    (inside / "dog" / "z.png").symlink_to(tmp_path / "secret" / "s.png")
    (inside / "dog" / "broken.png").symlink_to("nowhere.png")
    dataset = tamis.data.read(inside)
    assert dataset.ids == ["cat/a.png", "cat/b.jpg", "dog/broken.png", "dog/c.png", "dog/z.png"]
    samples = dataset.inputs["image"].read([4, 3, 2, 1, 0])
    reasons = {s.row: s.reason for s in samples if isinstance(s, Unreadable)}
    assert sorted(reasons) == [1, 2, 4]
    assert "outside" in reasons[4]
    assert "does not exist" in reasons[2]
    digests = dataset.inputs["image"].digests()
    assert (digests == 0).all(axis=1).tolist() == [False, False, True, False, True]


def test_hostile_names(tmp_path):
    names = ["<script>alert(1)</script>"[:9], "=cmd()", "a\nb", "日本", " ", "%2e%2e"]
    make(tmp_path, *(f"{name}/{name}.png" for name in names))
    dataset = tamis.data.read(tmp_path)
    assert dataset.class_names == tuple(sorted(names))
    assert all(isinstance(image, np.ndarray) for image in dataset.inputs["image"].read(range(6)))


def test_a_name_that_is_not_utf8_is_a_row(tmp_path):
    make(tmp_path, "cat/a.png")
    bad = os.fsencode(tmp_path / "cat") + b"/\xff.png"
    Path(os.fsdecode(bad)).write_bytes((tmp_path / "cat" / "a.png").read_bytes())
    dataset = tamis.data.read(tmp_path)
    assert dataset.problems == {1: BAD_NAME}
    assert dataset.ids == ["cat/a.png", "cat/\\xff.png"]


def test_class_names_may_be_given(tmp_path):
    make(tmp_path, "dog/a.png", "cat/c.png")
    dataset = tamis.data.read(tmp_path, class_names=["dog", "bird", "cat"])
    assert dataset.label_codes.tolist() == [2, 0]
    assert dataset.n_classes == 3
    with pytest.raises(InputError, match=r"\['cat'\] are not among class_names"):
        tamis.data.read(tmp_path, class_names=["dog"])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "no images; legal are class/image.jpg"),
        (("a.png", "b.png"), "2 images but no class folders"),
        (("a.txt",), "no images"),
        (("labels.csv",), "it holds 'labels.csv': pass that file"),
        (("cat/a.txt",), "no images"),
        (("images/cat/a.png", "images/dog/b.png"), "pass .*images"),
        (("train/a.png", "test/b.png"), "splits without class folders"),
        (("train/a.png", "train/b.png", "test/empty.txt"), "splits without class folders"),
    ],
)
def test_refused_folders(tmp_path, paths, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(make(tmp_path, *paths))


def test_columns_make_no_sense_for_a_folder(tmp_path):
    with pytest.raises(InputError, match="no columns; leave out label, split"):
        tamis.data.read(make(tmp_path, "a/b.png"), label="x", split="y")
