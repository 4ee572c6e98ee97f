"""ANIMAL-10N (Song et al., ICML 2019): five pairs of animals that people confuse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.data.columns import IMAGE_SUFFIXES
from tamis.data.dataset import Dataset, Image, Unreadable
from tamis.data.digests import row_digests
from tamis.data.inputs import as_rgb
from tamis.data.published.image_rows import dataset_of_rows, existing_folder, files_below
from tamis.errors import InputError
from tamis.types import IntArray

CLASS_NAMES = (
    "cat",
    "lynx",
    "wolf",
    "coyote",
    "cheetah",
    "jaguar",
    "chimpanzee",
    "orangutan",
    "hamster",
    "guinea pig",
)
_SIDE = 64
_NAME = re.compile(r"([0-9])_(.+)")
_SPLITS = {"training": "train", "testing": "test"}
# Big-endian words, then the colour planes one after the other.
_RECORD = np.dtype([("id", ">u4"), ("label", ">u4"), ("planes", "u1", (3, _SIDE, _SIDE))])
_BLOCK = 1024


def read_animal10n(folder: str | Path) -> Dataset:
    """Read ANIMAL-10N as published: its image files or its binary files.

    Expects the folders ``training`` and ``testing`` with files ``<label>_<id>.jpg``, or ``data_batch_1.bin``
    and so on with ``test_batch.bin``: records of a 4-byte id, a 4-byte label (big-endian) and 3 x 64 x 64
    bytes of red, green and blue. Binary files are mapped, not loaded.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Dataset
        Splits ``train`` and ``test``. Testing images were kept only where the label is the word that they
        were searched by: there the truth is the label. The column ``sample_id`` is the published id.

    Raises
    ------
    InputError
        A file that is not named ``<label>_<id>``, a label beyond 9 in a record, a binary file that is cut
        off, or neither form in the folder.
    """
    root = existing_folder(Path(folder), "ANIMAL-10N")
    binaries = [*sorted(root.glob("data_batch_*.bin"), key=_batch_number), *root.glob("test_batch.bin")]
    if binaries:
        return _read_binaries(root, binaries)
    present = [name for name in _SPLITS if (root / name).is_dir()]
    if not present:
        raise InputError(
            f"{root} holds neither the folders training and testing nor data_batch_*.bin; pass the folder in"
            " which ANIMAL-10N was unpacked"
        )
    paths, codes, ids, splits = [], [], [], []
    for folder_name in present:
        for name, code, sample in _named_files(root / folder_name):
            paths.append(f"{folder_name}/{name}")
            codes.append(code)
            ids.append(sample)
            splits.append(_SPLITS[folder_name])
    images, problems, notes = files_below(root, paths)
    return dataset_of_rows(
        source=root,
        ids=paths,
        codes=codes,
        truth=[code if split == "test" else -1 for code, split in zip(codes, splits, strict=True)],
        class_names=CLASS_NAMES,
        splits=splits,
        columns={"sample_id": pa.array(ids, pa.string())},
        images=images,
        problems=problems,
        notes=notes,
    )


def _named_files(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (file name, label, id) of every image, sorted by name."""
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names of 50,000 files, no path objects
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as above
        if name.startswith(".") or suffix.lower() not in IMAGE_SUFFIXES:
            continue
        found = _NAME.fullmatch(stem)
        if found is None:
            raise InputError(
                f"{folder / name} is not named <label>_<id>, label 0 to 9; rename or remove the file"
            )
        yield name, int(found[1]), found[2]


def _batch_number(path: Path) -> tuple[int, str]:
    digits = path.stem.removeprefix("data_batch_")
    return (int(digits) if digits.isdigit() else 0, path.name)


def _read_binaries(root: Path, paths: Sequence[Path]) -> Dataset:
    batches = [_batch(path) for path in paths]
    codes = np.concatenate([batch["label"] for batch in batches]).astype(np.int64)
    samples = np.concatenate([batch["id"] for batch in batches]).astype(np.int64)
    splits = np.repeat(
        ["test" if path.name == "test_batch.bin" else "train" for path in paths],
        [len(batch) for batch in batches],
    )
    rows = [
        f"{path.stem}/{row}" for path, batch in zip(paths, batches, strict=True) for row in range(len(batch))
    ]
    return dataset_of_rows(
        source=root,
        ids=rows,
        codes=codes,
        truth=np.where(splits == "test", codes, -1),
        class_names=CLASS_NAMES,
        splits=splits.tolist(),
        columns={"sample_id": pa.array(samples).cast(pa.string())},
        images=RecordImages([batch["planes"] for batch in batches]),
    )


def _batch(path: Path) -> npt.NDArray[np.void]:
    size = path.stat().st_size
    if size == 0 or size % _RECORD.itemsize:
        raise InputError(
            f"{path} has {size:,} bytes, not a whole number of records of {_RECORD.itemsize:,}: record"
            f" {size // _RECORD.itemsize} is cut off; download the file again"
        )
    records: npt.NDArray[np.void] = np.memmap(path, dtype=_RECORD, mode="r")
    wrong = np.flatnonzero(records["label"] >= len(CLASS_NAMES))
    if wrong.size:
        raise InputError(
            f"{path}, record {wrong[0]} has the label {records['label'][wrong[0]]}; legal are 0 to"
            f" {len(CLASS_NAMES) - 1}"
        )
    return records


class RecordImages:
    """Images that lie in several arrays of colour planes, (n, 3, height, width) uint8 each.

    Examples
    --------
    >>> images = RecordImages([np.zeros((2, 3, 4, 5), np.uint8), np.ones((1, 3, 4, 5), np.uint8)])
    >>> len(images), images.read([2])[0].shape
    (3, (4, 5, 3))
    """

    kind: Literal["image", "text"] = "image"

    def __init__(self, parts: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._parts = list(parts)
        self._starts: IntArray = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._starts[-1])

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Return the given rows as RGB, in the order asked for."""
        found: list[Image | str | Unreadable] = []
        for row in rows:
            part = int(np.searchsorted(self._starts, row, side="right")) - 1
            found.append(as_rgb(self._parts[part][row - self._starts[part]].transpose(1, 2, 0)))
        return found

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 hashes of the pixels."""
        blocks = [
            row_digests(np.ascontiguousarray(part[start : start + _BLOCK]))
            for part in self._parts
            for start, _ in pairwise([*range(0, len(part), _BLOCK), len(part)])
        ]
        return np.concatenate([np.zeros((0, 2), dtype=np.uint64), *blocks])
