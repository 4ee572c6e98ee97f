"""Controlled Noisy Web Labels (Jiang et al., ICML 2020): mini-ImageNet with wrong labels from the web."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa

from tamis.data.dataset import Dataset, LabelName
from tamis.data.published.image_rows import dataset_of_rows, files_below
from tamis.data.published.lists import read_lines, read_pairs
from tamis.errors import InputError

_N_CLASSES = 100
_NAME = re.compile(r"(red|blue)_noise_nl_(0\.[0-9]+)|clean_validation")
_IMAGENET = re.compile(r"(n[0-9]{8})[0-9_]+\.[A-Za-z]+")
_HOMES = {"train": ("all_images", "training", "noisy_images"), "validation": ("validation", "validation_all")}


def read_red_mini_imagenet(split_file: str | Path) -> Dataset:
    """Read one split of Red (or Blue) mini-ImageNet as published.

    Parameters
    ----------
    split_file : path
        ``split/red_noise_nl_0.4`` or another list (``<file> <label>``) in the folder ``split``, or
        ``split/clean_validation``. Images are looked for in ``all_images`` (``validation`` for the clean
        list) beside that folder, names of classes in ``class_name.txt`` there, annotations in
        ``mini-imagenet-annotations.json`` there or one folder up.

    Returns
    -------
    Dataset
        The column ``is_web`` says which images come from the web and ``is_clean`` what the annotators found
        (null where nobody looked). The truth of an image of ImageNet is its class: in a red list and in
        ``clean_validation`` the label, in a blue list the class that its WordNet id has in
        ``blue_noise_nl_0.0`` beside it (unknown without that file). The truth of a web image is the label
        where annotators found it right, else unknown.

    Raises
    ------
    InputError
        The path is no such list; with file and line: label ids beyond 99, files listed twice, lines cut off.
    """
    path = Path(split_file)
    found = _NAME.fullmatch(path.name)
    if found is None or path.is_dir():
        raise InputError(
            f"{path} is not a list of mini-ImageNet; pass a file such as mini-imagenet/split/red_noise_nl_0.4"
            " or .../split/clean_validation"
        )
    split = "validation" if found[0] == "clean_validation" else "train"
    rows = [(file, code) for _, file, code in read_pairs(path, n_classes=_N_CLASSES)]
    home = path.resolve().parent.parent
    is_clean = _annotations(home) if split == "train" else {}
    is_web = [split == "train" and _IMAGENET.fullmatch(file) is None for file, _ in rows]
    class_of = _classes_of_synsets(path.parent / "blue_noise_nl_0.0") if found[1] == "blue" else None
    images = next((name for name in _HOMES[split] if (home / name).is_dir()), _HOMES[split][0])
    files, problems, notes = files_below(home / images, [file for file, _ in rows])
    clean = [
        is_clean.get(file.rpartition(".")[0]) if web else None
        for (file, _), web in zip(rows, is_web, strict=True)
    ]
    return dataset_of_rows(
        source=path,
        ids=[file for file, _ in rows],
        codes=[code for _, code in rows],
        truth=[
            _truth(file, code, right, class_of) if not web or right else -1
            for (file, code), web, right in zip(rows, is_web, clean, strict=True)
        ],
        class_names=_class_names(home / "class_name.txt"),
        splits=[split] * len(rows),
        columns={"is_web": pa.array(is_web), "is_clean": pa.array(clean, pa.bool_())},
        images=files,
        problems=problems,
        notes=notes,
    )


def _truth(file: str, code: int, is_right: bool | None, class_of: dict[str, int] | None) -> int:
    """Return the true class of an ImageNet image, or of a web image that was found right."""
    if class_of is None or is_right:
        return code
    synset = _IMAGENET.fullmatch(file)
    return -1 if synset is None else class_of.get(synset[1], -1)


def _classes_of_synsets(path: Path) -> dict[str, int]:
    """Return the class of each WordNet id by a list without noise; nothing where it is missing."""
    if not path.exists():
        return {}
    found: dict[str, int] = {}
    for line, file, code in read_pairs(path, n_classes=_N_CLASSES):
        synset = _IMAGENET.fullmatch(file)
        if synset is not None and found.setdefault(synset[1], code) != code:
            raise line.error(f"{synset[1]} had the label {found[synset[1]]} before; this list has no noise")
    return found


def _class_names(path: Path) -> list[LabelName]:
    """Return the names of the classes; the label ids where there is no usable list."""
    names = [line.text.strip() for line in read_lines(path)] if path.exists() else []
    is_usable = len(names) == _N_CLASSES == len(set(names))
    return list(names) if is_usable else list(range(_N_CLASSES))


def _annotations(home: Path) -> dict[str, bool]:
    """Return by image id whether the annotators found its label right."""
    candidates = [folder / "mini-imagenet-annotations.json" for folder in (home, home.parent)]
    path = next((path for path in candidates if path.exists()), None)
    if path is None:
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["data"]
        # One list an image, with one entry for each of its labels.
        return {
            str(entry["image/id"]): bool(int(entry["image/class/label/is_clean"]))
            for labels in entries
            for entry in labels[:1]
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is not the published list of annotations ({type(error).__name__}: {error}); download it"
            " again, or remove it to read the split without"
        ) from error
