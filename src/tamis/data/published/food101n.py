"""Food-101N (Lee et al., CVPR 2018): food images from the web, some of their labels verified."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tamis.data.dataset import Dataset
from tamis.data.published.image_rows import dataset_of_rows, existing_folder, files_below
from tamis.data.published.lists import Line, read_keys, read_pairs
from tamis.errors import InputError

_VERIFIED = {"train": "verified_train.tsv", "val": "verified_val.tsv"}


def read_food101n(folder: str | Path) -> Dataset:
    """Read Food-101N as published.

    Expects ``meta/classes.txt``, ``meta/imagelist.tsv`` (``class/file``), and if there
    ``meta/verified_train.tsv`` and ``meta/verified_val.tsv`` (``class/file``, tab, 0 or 1), each with a
    heading; the images lie in ``images/class/file``.

    The class is the given label. A verification says whether it is right, not which is: the truth is the
    label where it was found right, and unknown (-1) elsewhere. The columns ``verification_label`` (1 right,
    0 wrong, null not looked at) and ``verified_split`` (train, val) hold all that is known.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        With file and line: classes that are not listed, files listed twice, verifications other than 0 and
        1, lines cut off.
    """
    root = existing_folder(Path(folder), "Food-101N")
    meta = root / "meta"
    names = [key for line, key in read_keys(meta / "classes.txt") if not _is_heading(line)]
    if not names:
        raise InputError(f"{meta / 'classes.txt'} names no class")
    code_of = {name: code for code, name in enumerate(names)}
    codes: dict[str, int] = {}
    for line, key in read_keys(meta / "imagelist.tsv"):
        if not _is_heading(line):
            codes[key] = _class_code(line, key, code_of)
    verified, verified_split, n_strange = _verifications(meta, codes)
    notes = []
    if n_strange:
        notes.append(
            f"{n_strange:,} verified files stand under another class in imagelist.tsv, or not at all"
        )
    keys = list(codes)
    images, problems, more = files_below(root / "images", keys)
    return dataset_of_rows(
        source=root,
        ids=keys,
        codes=list(codes.values()),
        truth=[codes[key] if verified.get(key) == 1 else -1 for key in keys],
        class_names=names,
        columns={
            "verification_label": pa.array([verified.get(key) for key in keys], pa.int8()),
            "verified_split": pa.array([verified_split.get(key) for key in keys], pa.string()),
        },
        images=images,
        problems=problems,
        notes=[*notes, *more],
    )


def _is_heading(line: Line) -> bool:
    return line.number == 1 and line.text.startswith("class_name")


def _class_code(line: Line, key: str, code_of: dict[str, int]) -> int:
    name, found, file = key.partition("/")
    if not found or not file:
        raise line.error("expected class/file; the line may be cut off")
    if name not in code_of:
        raise line.error(f"the class {name!r} is not in classes.txt")
    return code_of[name]


def _verifications(meta: Path, codes: dict[str, int]) -> tuple[dict[str, int], dict[str, str], int]:
    """Return verification and split by key, and how many verified keys are no samples."""
    verified: dict[str, int] = {}
    splits: dict[str, str] = {}
    n_strange = 0
    for split, name in _VERIFIED.items():
        if not (meta / name).exists():
            continue
        for line, key, value in read_pairs(meta / name, separator="\t", n_classes=2, heading="class_name"):
            if key in verified:
                raise line.error("the file is verified in the other list too")
            if key in codes:
                verified[key], splits[key] = value, split
            else:
                n_strange += 1
    return verified, splits, n_strange
