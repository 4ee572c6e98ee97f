"""Lists of images as metric learning uses them: Cars-98N, and CARS, CUB, SOP with planted noise."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from tamis.data.dataset import Dataset
from tamis.data.published.image_rows import dataset_of_rows, files_below
from tamis.data.published.lists import Line, read_pairs

_NOISY = re.compile(r"(.+?)_([0-9.]+)(smallcluster)?noised_train")
_MARK = "noised_"


def read_image_list(path: str | Path, *, images: str | Path | None = None) -> Dataset:
    """Read a list ``<path>,<label>`` of the PRISM release (Liu et al., CVPR 2021).

    These are ``CARSN_train.csv`` and ``CARS_98N_list.csv`` (Stanford Cars-98N, from the web), and
    ``{CARS,CUB,SOP}_<rate>[smallcluster]noised_train.csv`` with planted noise, each with a companion
    ``..._cleaned_train.csv`` that holds the rows whose label is right. Companion and clean list
    (``CARS_train.csv``) are found beside the list.

    Paths are those of the authors' machine: the folder that all of them share is taken off, and the rest is
    looked for below ``images``. In the list of addresses the file is ``<label>/<name>``, where the authors'
    script puts it.

    Parameters
    ----------
    path : path
    images : path, optional
        Folder that takes the place of the shared one; default the folder of the list.

    Returns
    -------
    Dataset
        Classes are the label ids as given. In noisy lists the column ``is_wrong`` says which rows the
        companion lacks, and the truth is the label of the others. Of a wrong row it is the label of the clean
        list for symmetric noise, and unknown for small-cluster noise, whose true classes are not among the
        labels.

    Raises
    ------
    InputError
        With file and line: labels that are no numbers, files listed twice, lines cut off.

    Notes
    -----
    The published CUB lists with rates 0.2 and 0.5 hold one label id beyond the 100 classes (101): it is read
    as a class, every row of which is wrong, and ``notes`` says so.
    """
    source = Path(path)
    # An address may stand under two labels: what must be different are the files.
    rows = list(read_pairs(source, separator=",", may_repeat=True))
    names = _local_names([(key, code) for _, key, code in rows])
    _check_once(rows, names)
    companion, clean, is_open = _companions(source)
    is_right = None if companion is None else {key for _, key, _ in read_pairs(companion, separator=",")}
    true_label = (
        {} if clean is None or is_open else {key: code for _, key, code in read_pairs(clean, separator=",")}
    )
    labels = sorted({code for _, _, code in rows} | set(true_label.values()))
    code_of = {label: code for code, label in enumerate(labels)}
    truth = [-1] * len(rows)
    wrong: list[bool | None] = [None] * len(rows)
    if is_right is not None:
        wrong = [key not in is_right for _, key, _ in rows]
        truth = [
            code_of[code] if key in is_right else code_of.get(true_label.get(key, -1), -1)
            for _, key, code in rows
        ]
    files, problems, more = files_below(source.parent if images is None else Path(images), names)
    return dataset_of_rows(
        source=source,
        ids=names,
        codes=[code_of[code] for _, _, code in rows],
        truth=truth,
        class_names=labels,
        columns={"is_wrong": pa.array(wrong, pa.bool_())} if is_right is not None else {},
        images=files,
        problems=problems,
        notes=[*_notes(rows, is_right, true_label), *more],
    )


def _local_names(rows: list[tuple[str, int]]) -> list[str]:
    """Return the files without the folder that all share; addresses become ``<label>/<name>``."""
    if any("://" in key for key, _ in rows):
        return [f"{code}/{posixpath.basename(urlsplit(key).path)}" for key, code in rows]
    folders = {posixpath.dirname(key) for key, _ in rows}
    try:
        shared = posixpath.commonpath(folders)
    except ValueError:
        # Absolute paths beside relative ones share nothing.
        shared = ""
    # A list of one class keeps its folder.
    if len(folders) == 1:
        shared = posixpath.dirname(shared)
    return [key.removeprefix(shared).lstrip("/") if shared else key for key, _ in rows]


def _check_once(rows: list[tuple[Line, str, int]], names: list[str]) -> None:
    first: dict[str, int] = {}
    for (line, _, _), name in zip(rows, names, strict=True):
        before = first.setdefault(name, line.number)
        if before != line.number:
            raise line.error(f"the file {name!r} stands in line {before} already")


def _companions(source: Path) -> tuple[Path | None, Path | None, bool]:
    """Return the companion of right rows, the clean list, and whether the noise is open-set."""
    found = _NOISY.fullmatch(source.stem)
    if found is None:
        return None, None, False
    companion = source.with_name(source.name.replace(_MARK, f"{_MARK}cleaned_"))
    clean = source.with_name(f"{found[1]}_train{source.suffix}")
    return (
        (companion if companion.exists() else None),
        (clean if clean.exists() else None),
        found[3] is not None,
    )


def _notes(
    rows: list[tuple[Line, str, int]], is_right: set[str] | None, true_label: dict[str, int]
) -> list[str]:
    if is_right is None:
        return []
    n_wrong = sum(key not in is_right for _, key, _ in rows)
    notes = [f"{n_wrong:,} of {len(rows):,} rows ({n_wrong / len(rows):.3f}) are wrong by the companion list"]
    missing = len(is_right - {key for _, key, _ in rows})
    if missing:
        notes.append(f"{missing:,} rows of the companion list are not in this list")
    clean = set(true_label.values())
    strange = sorted({code for _, _, code in rows} - clean) if clean else []
    if strange:
        notes.append(f"label ids that the clean list lacks: {', '.join(map(str, strange[:10]))}")
    return notes
