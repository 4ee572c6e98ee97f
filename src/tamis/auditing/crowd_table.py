"""Tables of crowd answers as a source of audits: told from other tables, read, put in order."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.crowd.answers import Answers
from tamis.crowd.ids import IdArray, code_among, code_ids
from tamis.crowd.tables import answer_columns
from tamis.data.columns import FEATURE_NAMES, IMAGE_NAMES, PATH_NAMES, PROBS_NAMES, TEXT_NAMES
from tamis.data.data_frames import frame_of_data_frame
from tamis.data.frames import Frame, frame_of_table
from tamis.data.manifests import read_manifest
from tamis.data.reading import MANIFEST_SUFFIXES
from tamis.errors import InputError
from tamis.types import IntArray

TASKS = ("auto", "classification", "crowd", "retrieval")
_ROLES = {"item": "task", "worker": "worker", "label": "label"}
_OPTIONS = (*_ROLES, "given")
_CONTENT = {
    name
    for tiers in (TEXT_NAMES, IMAGE_NAMES, PATH_NAMES, FEATURE_NAMES, PROBS_NAMES)
    for tier in tiers
    for name in tier
}


@dataclass(frozen=True, eq=False)
class CrowdTable:
    """Answers read from a table.

    Attributes
    ----------
    answers : Answers
        Tasks that nobody answered are listed too.
    order : (T,) int
        Codes of the tasks in the order in which they first occur: the rows of the issue table.
    given : mapping of task to label, or None
        The labels to judge, where a column holds them.
    source : str
    notes : tuple of str
    """

    answers: Answers
    order: IntArray
    given: Mapping[object, object] | None
    source: str
    notes: tuple[str, ...]


def find_crowd_table(data: object, task: str, options: Mapping[str, object]) -> CrowdTable | None:
    """Return the answers of a crowd table, None where the source is something else.

    A table is one of answers where the caller says so (``task="crowd"``, or an item or worker column), or
    where it has columns with the usual names of all three roles, no text, picture or feature, and a task that
    occurs more than once.

    Raises
    ------
    InputError
        The task is unknown, the columns are missing, or an answer is not usable.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; an audit can do {', '.join(map(repr, TASKS))}")
    is_asked = task == "crowd" or not {"item", "worker"}.isdisjoint(options)
    if task in ("classification", "retrieval") or not (is_asked or _looks_like_answers(_names(data))):
        if is_asked:
            raise InputError("item and worker name columns of crowd answers; leave them out, or task too")
        return None
    frame = _frame(data)
    if frame is None:
        raise InputError(
            f"task='crowd' needs a table with one answer a row ({', '.join(MANIFEST_SUFFIXES)}, a data frame "
            f"or an Arrow table); data is {type(data).__name__} {str(data)[:80]!r}"
        )
    stray = sorted(set(options) - set(_OPTIONS))
    if stray:
        raise InputError(f"read_options {stray} do not belong to crowd answers; legal are {list(_OPTIONS)}")
    found = answer_columns(frame.names, {_ROLES[name]: _name(options, name) for name in _ROLES})
    columns = [_values(frame, found[role]) for role in ("task", "worker", "label")]
    task_codes, ids = code_ids(columns[0], "task")
    if not is_asked and len(ids) == len(task_codes):
        return None
    answers = Answers.from_arrays(*columns, tasks=ids)
    _, first = np.unique(task_codes, return_index=True)
    given = _given(frame, _name(options, "given"), columns[0])
    notes = (*frame.notes, *answers.notes)
    return CrowdTable(answers, np.argsort(first), given, frame.source, notes)


def _name(options: Mapping[str, object], role: str) -> str | None:
    value = options.get(role)
    return None if value is None else str(value)


def _names(data: object) -> list[str]:
    """Return the column names of a table without reading it; none for anything else."""
    if isinstance(data, pd.DataFrame):
        return [str(name) for name in data.columns]
    if isinstance(data, pa.Table):
        return list(data.column_names)
    if not isinstance(data, str | os.PathLike):
        return []
    path = Path(data)
    try:
        if not path.is_file():
            return []
        if path.suffix.lower() == ".parquet":
            return list(pq.read_schema(path).names)
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = file.readline(2**16)
    except (OSError, ValueError, pa.ArrowException):
        return []  # reading it says what is wrong
    return _header(head, path.suffix.lower())


def _header(line: str, suffix: str) -> list[str]:
    if suffix in (".jsonl", ".ndjson"):
        try:
            first = json.loads(line)
        except ValueError:
            return []
        return list(first) if isinstance(first, dict) else []
    if suffix not in (".csv", ".tsv"):
        return []
    delimiter = "\t" if suffix == ".tsv" else "," if "," in line else ";"
    return next(csv.reader([line], delimiter=delimiter), [])


def _looks_like_answers(names: Sequence[str]) -> bool:
    if not {name.lower() for name in names}.isdisjoint(_CONTENT):
        return False
    try:
        answer_columns(names, {})
    except InputError:
        return False
    return True


def _frame(data: object) -> Frame | None:
    if isinstance(data, pd.DataFrame):
        return frame_of_data_frame(data)
    if isinstance(data, pa.Table):
        return frame_of_table(data, "Arrow table")
    if isinstance(data, str | os.PathLike) and Path(data).suffix.lower() in MANIFEST_SUFFIXES:
        if not Path(data).is_file():
            raise InputError(f"source {os.fspath(data)!r} does not exist; pass a table of crowd answers")
        return read_manifest(Path(data))
    return None


def _values(frame: Frame, name: str) -> IdArray:
    if name in frame.mixed:
        values = np.empty(frame.n_rows, dtype=object)
        values[:] = frame.mixed[name]
        return values
    if name not in frame.columns:
        raise InputError(f"column {name!r} of {frame.source} holds no ids or labels; name another")
    values = frame.typed(name).to_pandas().to_numpy()
    return np.asarray(values, dtype=object) if values.dtype.kind not in "iufbO" else values


def _given(frame: Frame, name: str | None, tasks: IdArray) -> Mapping[object, object] | None:
    """Return the given label of each task from a column that repeats it in every answer."""
    if name is None:
        return None
    if name not in frame.names:
        raise InputError(f"given={name!r} is not among the columns {', '.join(map(repr, frame.names))}")
    pairs = pd.DataFrame({"task": tasks, "label": _values(frame, name)}).dropna().drop_duplicates()
    twice = pairs["task"].duplicated()
    if twice.any():
        task = pairs["task"][twice].iloc[0]
        raise InputError(f"column {name!r} holds several labels of task {task!r}; each task has one")
    return dict(zip(pairs["task"].tolist(), pairs["label"].tolist(), strict=True))


def given_codes(table: CrowdTable, majority: IntArray) -> IntArray:
    """Return the (T,) codes of the labels to judge: the given column's, else the majority."""
    if table.given is None:
        return majority
    codes = majority.copy()
    task = code_among(list(table.given.keys()), table.answers.tasks, "given")
    label = code_among(list(table.given.values()), table.answers.classes, "given")
    if (label < 0).any():
        stray = list(table.given.values())[int(np.argmax(label < 0))]
        raise InputError(f"the given label {stray!r} is named by no answer; no annotator could confirm it")
    codes[task] = label
    return codes
