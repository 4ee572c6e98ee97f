"""Folders of images: ``class/file`` or ``split/class/file``, scanned once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.data.assembling import require_usable
from tamis.data.columns import IMAGE_SUFFIXES
from tamis.data.dataset import Dataset, LabelName, label_column
from tamis.data.inputs import ImageInput
from tamis.data.labels import check_class_names
from tamis.errors import InputError

SPLIT_FOLDERS = frozenset(
    ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "holdout")
)
BAD_NAME = "file name is not valid UTF-8; rename the file"

_MANIFEST_SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".npz"}


@dataclass
class _Scan:
    """What was found: one Arrow chunk of paths a folder, so that a million paths cost their bytes only."""

    root: str
    paths: list[pa.Array] = field(default_factory=list)
    classes: list[tuple[str | None, int]] = field(default_factory=list)
    splits: list[tuple[str | None, int]] = field(default_factory=list)
    bad_names: dict[int, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    n_rows: int = 0
    n_nested: int = 0

    def add(self, paths: Sequence[str], class_name: str | None, split: str | None) -> None:
        safe = []
        for row, path in enumerate(paths, start=self.n_rows):
            try:
                path.encode()
                safe.append(path)
            except UnicodeEncodeError:
                readable = os.fsencode(path).decode("utf-8", "backslashreplace")
                self.bad_names[row] = readable
                safe.append(readable)
        if safe:
            self.paths.append(pa.array(safe, pa.string()))
            self.classes.append((class_name, len(safe)))
            self.splits.append((split, len(safe)))
            self.n_rows += len(safe)


def read_image_folder(path: Path, class_names: Sequence[LabelName] | None) -> Dataset:
    """Return the data set of a folder of images.

    The first folder level gives the class. If its names are all usual names of splits (``train``, ``val``,
    ``test``, ...; upper and lower case are equal) and hold folders, it gives the split and the second level
    the class. Deeper folders belong to their class. Images beside class folders are unlabelled rows. Hidden
    files, files that are no images by suffix, and links to folders are skipped and counted in ``notes``.

    Raises
    ------
    InputError
        If there are no class folders, no images, or a folder is not among ``class_names``.
    """
    scan = _Scan(str(path.resolve()))
    folders, files = _entries(scan, "")
    if _is_split_level(scan, folders):
        scan.add(files, None, None)
        for split in folders:
            inner, loose = _entries(scan, split)
            scan.add(loose, None, split)
            _add_classes(scan, inner, split)
    else:
        scan.add(files, None, None)
        _add_classes(scan, folders, None)
    _require_classes(scan, path)
    names = _class_names(scan, class_names)
    code_of: dict[str | None, int] = {str(name): code for code, name in enumerate(names)}
    codes = np.repeat(
        np.array([code_of.get(name, -1) for name, _ in scan.classes], dtype=np.int64),
        [count for _, count in scan.classes],
    )
    problems = dict.fromkeys(scan.bad_names, BAD_NAME)
    require_usable(codes, problems, str(path))
    paths = pa.chunked_array(scan.paths, pa.string())
    splits = pa.concat_arrays([pa.repeat(pa.scalar(name, pa.string()), count) for name, count in scan.splits])
    table = {
        "id": paths,
        "label": label_column(codes),
        "split": splits,
        "group": pa.nulls(scan.n_rows, pa.string()),
    }
    return Dataset(
        table=pa.table(table),
        class_names=names,
        inputs={"image": ImageInput.from_files(path.resolve(), paths)},
        source=str(path),
        problems=problems,
        notes=tuple(_notes(scan)),
    )


def walk_images(path: Path) -> tuple[list[str], dict[int, str]]:
    """Return every image file in a folder and below it, as relative paths, and the rows with bad names."""
    scan = _Scan(str(path.resolve()))
    for files in _walk(scan, ""):
        scan.add(files, None, None)
    found = [name for part in scan.paths for name in part.to_pylist()]
    return found, dict.fromkeys(scan.bad_names, BAD_NAME)


def _entries(scan: _Scan, relative: str) -> tuple[list[str], list[str]]:
    """Return folders and image files right below a folder, as sorted relative paths with forward slashes."""
    folders, files = [], []
    try:
        with os.scandir(os.path.join(scan.root, relative)) as entries:  # noqa: PTH118 - pathlib is slow
            for entry in entries:
                path = f"{relative}/{entry.name}" if relative else entry.name
                kind = _kind(entry)
                if kind == "folder":
                    folders.append(path)
                elif kind == "image":
                    files.append(path)
                else:
                    scan.skipped[kind] += 1
    except OSError as error:
        raise InputError(
            f"folder {relative or scan.root!r} cannot be listed ({error.strerror}); check its rights"
        ) from (error)
    return sorted(folders), sorted(files)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith(".") or entry.name == "__MACOSX":
        return "hidden or system entries"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if entry.is_symlink() and entry.is_dir():
        return "symbolic links to folders"
    if os.path.splitext(entry.name)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122 - pathlib is slow
        return "files that are no images"
    # Whether a link leads outside the folder is checked when it is opened.
    is_file = entry.is_symlink() or entry.is_file(follow_symlinks=False)
    return "image" if is_file else "pipes and devices"


def _is_split_level(scan: _Scan, folders: list[str]) -> bool:
    if not folders or any(name.lower() not in SPLIT_FOLDERS for name in folders):
        return False
    looked = _Scan(scan.root)
    return any(_entries(looked, name)[0] for name in folders)


def _add_classes(scan: _Scan, folders: list[str], split: str | None) -> None:
    for folder in folders:
        before = scan.n_rows
        for files in _walk(scan, folder):
            scan.add(files, folder.rsplit("/", 1)[-1], split)
        if scan.n_rows == before:
            scan.empty.append(folder)


def _walk(scan: _Scan, folder: str) -> Iterator[list[str]]:
    # A list instead of recursion: folders may be nested deeper than Python's stack.
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        inner, files = _entries(scan, current)
        waiting += reversed(inner)
        scan.n_nested += len(files) if current != folder else 0
        yield files


def _require_classes(scan: _Scan, path: Path) -> None:
    names = {name for name, _ in scan.classes if name is not None}
    if not names:
        found = f"{scan.n_rows} images but no class folders" if scan.n_rows else "no images"
        tables = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _MANIFEST_SUFFIXES)
        hint = f"; it holds {tables[0]!r}: pass that file" if tables else ""
        raise InputError(
            f"folder {path} holds {found}; legal are class/image.jpg and split/class/image.jpg, or"
            f" a manifest file (CSV, JSON lines, Parquet) with a label for each image{hint}"
        )
    folders = {name for name, _ in scan.classes}
    if scan.n_nested == scan.n_rows and len(folders) == 1:
        (only,) = names
        raise InputError(
            f"folder {path} holds one folder, {only!r}, with all images in folders below it, so there is"
            f" one class; if these are the classes, pass {path / only}"
        )
    if names and {name.lower() for name in names} <= SPLIT_FOLDERS:
        raise InputError(
            f"folder {path} holds the folders {sorted(names)} with images right in them: splits without class"
            " folders; legal is split/class/image.jpg"
        )


def _class_names(scan: _Scan, given: Sequence[LabelName] | None) -> tuple[LabelName, ...]:
    found = sorted({name for name, _ in scan.classes if name is not None})
    for name in found:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"class folder {name!r} has a name that is not valid UTF-8; rename it"
            ) from error
    if given is None:
        return tuple(found)
    names = check_class_names(given)
    unknown = [name for name in found if name not in {str(known) for known in names}]
    if unknown:
        raise InputError(
            f"the folders {unknown[:5]} are not among class_names {list(names[:10])}; name every class"
            " folder, or leave class_names out"
        )
    return names


def _notes(scan: _Scan) -> Iterator[str]:
    if scan.skipped:
        yield "skipped " + ", ".join(f"{count} {what}" for what, count in sorted(scan.skipped.items()))
    if scan.empty:
        shown = ", ".join(repr(name) for name in scan.empty[:5])
        yield f"{len(scan.empty)} folders hold no images: {shown}"
    if scan.n_nested:
        yield f"{scan.n_nested} images in deeper folders belong to the class folder above them"
    loose = sum(count for name, count in scan.classes if name is None)
    if loose:
        yield f"{loose} images lie outside of class folders and are unlabelled"
