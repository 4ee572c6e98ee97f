"""Clothing1M (Xiao et al., CVPR 2015): a million shop images, labels from the text around them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tamis.data.dataset import Dataset
from tamis.data.published.image_rows import dataset_of_rows, existing_folder, files_below
from tamis.data.published.lists import read_keys, read_lines, read_pairs
from tamis.errors import InputError

SPLITS = ("noisy_train", "clean_train", "clean_val", "clean_test")
_N_CLASSES = 14


def read_clothing1m(folder: str | Path) -> Dataset:
    """Read Clothing1M as published.

    Expects ``category_names_eng.txt``, ``noisy_label_kv.txt`` and ``clean_label_kv.txt`` (``<file> <label>``)
    and ``{noisy_train,clean_train,clean_val,clean_test}_key_list.txt`` in the folder or in its
    ``annotations``; lists that are missing are left out, at least one is needed. Files are relative to the
    folder (``images/0/...``).

    The given label of a row is its noisy label, and the clean one where it has no other; the truth is the
    clean label. The column ``label_kind`` says which was given.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Dataset
        Splits ``noisy_train``, ``clean_train``, ``clean_val``, ``clean_test``.

    Raises
    ------
    InputError
        With file and line: label ids beyond 13, files listed twice or without a label, lines cut off.
    """
    root = existing_folder(Path(folder), "Clothing1M")
    lists = next((at for at in (root, root / "annotations") if (at / "noisy_label_kv.txt").exists()), None)
    if lists is None:
        raise InputError(
            f"{root} holds no noisy_label_kv.txt; pass the folder in which Clothing1M was unpacked"
        )
    names = [line.text.strip() for line in read_lines(lists / "category_names_eng.txt")]
    if len(names) != _N_CLASSES:
        raise InputError(
            f"{lists / 'category_names_eng.txt'} names {len(names)} classes; expected {_N_CLASSES}"
        )
    noisy = _labels(lists / "noisy_label_kv.txt")
    clean = _labels(lists / "clean_label_kv.txt")
    keys, splits = _keys(lists, noisy, clean)
    n_unlisted = len((noisy.keys() | clean.keys()) - set(keys))
    notes = [f"{n_unlisted:,} labelled files stand in no key list and are left out"] if n_unlisted else []
    # Some copies are unpacked without the folder that the keys begin with.
    is_bare = not (root / "images").is_dir() and (root / "0").is_dir()
    paths = [key.removeprefix("images/") for key in keys] if is_bare else keys
    images, problems, more = files_below(root, paths)
    return dataset_of_rows(
        source=root,
        ids=keys,
        codes=[noisy.get(key, clean.get(key, -1)) for key in keys],
        truth=[clean.get(key, -1) for key in keys],
        class_names=names,
        splits=splits,
        columns={"label_kind": pa.array(["noisy" if key in noisy else "clean" for key in keys])},
        images=images,
        problems=problems,
        notes=[*notes, *more],
    )


def _labels(path: Path) -> dict[str, int]:
    return {key: code for _, key, code in read_pairs(path, n_classes=_N_CLASSES)}


def _keys(lists: Path, noisy: dict[str, int], clean: dict[str, int]) -> tuple[list[str], list[str]]:
    keys: dict[str, tuple[str, int]] = {}
    splits = []
    for split in SPLITS:
        path = lists / f"{split}_key_list.txt"
        for line, key in read_keys(path) if path.exists() else []:
            if key not in (noisy if split == "noisy_train" else clean):
                raise line.error(f"the file has no label in {split.split('_')[0]}_label_kv.txt")
            here = (path.name, line.number)
            list_name, number = keys.setdefault(key, here)
            if (list_name, number) != here:
                raise line.error(f"the file stands in {list_name}, line {number} already")
            splits.append(split)
    if not keys:
        raise InputError(f"{lists} holds no key list; expected {SPLITS[0]}_key_list.txt, for example")
    return list(keys), splits
