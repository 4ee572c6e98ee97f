"""WebVision 1.0 (Li et al., 2017): images found on the web by the names of the ImageNet classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tamis.data.dataset import Dataset
from tamis.data.published.image_rows import dataset_of_rows, existing_folder, files_below
from tamis.data.published.lists import read_lines, read_pairs
from tamis.errors import InputError

MINI_CLASSES = 50
_TRAIN = ("train_filelist_google.txt", "train_filelist_flickr.txt")
_VALIDATION = "val_filelist.txt"


def read_webvision(folder: str | Path, *, mini: bool = False) -> Dataset:
    """Read WebVision 1.0, or the part of it called mini WebVision, as published.

    Expects ``info/synsets.txt`` (line k names class k - 1) and in ``info`` the lists
    ``train_filelist_google.txt``, ``train_filelist_flickr.txt`` and ``val_filelist.txt``, lines
    ``<file> <label>``. Lists that are missing are left out; one of the first two is needed. Training files
    are relative to the folder, validation files to ``val_images_256`` or ``val_images``.

    Parameters
    ----------
    folder : path
    mini : bool
        The first 50 classes, and of the training images those from Google.

    Returns
    -------
    Dataset
        Splits ``train`` and ``val``. People labelled the validation images: there the truth is the label.

    Raises
    ------
    InputError
        With file and line: label ids without a class, files listed twice, lines cut off.
    """
    root = existing_folder(Path(folder), "WebVision")
    info = root / "info"
    names = _class_names(info / "synsets.txt")
    n_kept = min(MINI_CLASSES, len(names)) if mini else len(names)
    lists = [info / name for name in (_TRAIN[:1] if mini else _TRAIN) if (info / name).exists()]
    if not lists:
        raise InputError(f"{info} holds no {_TRAIN[0]}; pass the folder in which WebVision was unpacked")
    train = [(key, code) for path in lists for _, key, code in read_pairs(path, n_classes=len(names))]
    validation = []
    if (info / _VALIDATION).exists():
        home = next(
            (name for name in ("val_images_256", "val_images") if (root / name).is_dir()), "val_images_256"
        )
        validation = [
            (f"{home}/{key}", code) for _, key, code in read_pairs(info / _VALIDATION, n_classes=len(names))
        ]
    train = [row for row in train if row[1] < n_kept]
    validation = [row for row in validation if row[1] < n_kept]
    paths = [path for path, _ in train + validation]
    images, problems, notes = files_below(root, paths)
    return dataset_of_rows(
        source=root,
        ids=paths,
        codes=[code for _, code in train + validation],
        truth=[-1] * len(train) + [code for _, code in validation],
        class_names=names[:n_kept],
        splits=["train"] * len(train) + ["val"] * len(validation),
        images=images,
        problems=problems,
        notes=notes,
    )


def _class_names(path: Path) -> list[str]:
    """Return the words of each class; with the WordNet id where two classes have the same words."""
    synsets = []
    for line in read_lines(path):
        wnid, _, words = line.text.strip().partition(" ")
        synsets.append((wnid, words.strip() or wnid))
    times = Counter(words for _, words in synsets)
    return [words if times[words] == 1 else f"{words} ({wnid})" for wnid, words in synsets]
