"""Answers of several annotators: who said what about which task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tamis.crowd.ids import IdArray, code_among, code_ids, coded_column, join_ids
from tamis.crowd.tables import Table, answer_columns, column_names, table_column
from tamis.errors import InputError
from tamis.types import IntArray


@dataclass(frozen=True, eq=False, repr=False)
class Answers:
    """Sparse crowd labels: one entry for each answer.

    A worker may answer a task several times; each time counts as one answer. Tasks without answers and
    workers without answers exist only where they are listed.

    Attributes
    ----------
    task, worker, label : (n,) int32 arrays
        Codes into ``tasks``, ``workers`` and ``classes``, in the order of the source.
    tasks : (T,) array
        Ids, sorted unless they were listed.
    workers : (A,) array
    classes : (K,) array
    rows : (n,) int array
        Row of the source that each answer stands in; answers without a label are left out.
    notes : tuple of str
        What was left out.

    Examples
    --------
    >>> answers = Answers.from_arrays(["t1", "t1", "t2"], [7, 8, 7], ["cat", "dog", None])
    >>> answers
    <Answers: 2 by 2 workers about 1 tasks, 2 classes>
    >>> answers.notes
    ('1 of 3 answers has no label and was left out.',)
    """

    task: IntArray
    worker: IntArray
    label: IntArray
    tasks: IdArray
    workers: IdArray
    classes: IdArray
    rows: IntArray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.task)

    def __repr__(self) -> str:
        return (
            f"<Answers: {len(self):,} by {self.n_workers:,} workers about {self.n_tasks:,} tasks, "
            f"{self.n_classes:,} classes>"
        )

    @property
    def n_tasks(self) -> int:
        """Number of tasks, those without answers included."""
        return len(self.tasks)

    @property
    def n_workers(self) -> int:
        """Number of workers, those without answers included."""
        return len(self.workers)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @classmethod
    def from_arrays(
        cls,
        task: object,
        worker: object,
        label: object,
        *,
        tasks: Sequence[object] | IdArray | None = None,
        workers: Sequence[object] | IdArray | None = None,
        classes: Sequence[object] | IdArray | None = None,
    ) -> Answers:
        """Return the answers of three columns.

        Parameters
        ----------
        task, worker : (n,) ids
            Text or whole numbers.
        label : (n,) labels
            None or NaN = no answer; such rows are left out and noted.
        tasks, workers, classes : sequence, optional
            All ids, in the order wanted; default: those that occur, sorted.

        Raises
        ------
        InputError
            Columns of different length, a missing task or worker, an id that is not listed, or no answer.
        """
        columns = {
            "task": coded_column(task, tasks, "task"),
            "worker": coded_column(worker, workers, "worker"),
            "label": coded_column(label, classes, "label", may_miss=True),
        }
        lengths = {name: len(codes) for name, (codes, _) in columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the columns have different lengths {lengths}; each row is one answer")
        codes = {name: values for name, (values, _) in columns.items()}
        rows: IntArray = np.arange(lengths["task"])
        notes: tuple[str, ...] = ()
        if (codes["label"] < 0).any():
            rows = np.flatnonzero(codes["label"] >= 0)
            missing = lengths["task"] - len(rows)
            verb = "has no label and was" if missing == 1 else "have no label and were"
            notes = (f"{missing:,} of {lengths['task']:,} answers {verb} left out.",)
            codes = {name: values[rows] for name, values in codes.items()}
        if not len(rows):
            raise InputError("there is no answer: every label is missing, or the table is empty")
        ids = {name: found for name, (_, found) in columns.items()}
        if notes:
            codes, ids = _without_unused(codes, ids, {"task": tasks, "worker": workers})
        return cls(
            codes["task"],
            codes["worker"],
            codes["label"],
            ids["task"],
            ids["worker"],
            ids["label"],
            rows,
            notes,
        )

    @classmethod
    def from_table(
        cls,
        table: Table,
        *,
        task: str | None = None,
        worker: str | None = None,
        label: str | None = None,
        classes: Sequence[object] | IdArray | None = None,
    ) -> Answers:
        """Return the answers of a data frame, an Arrow table or a mapping of columns.

        Parameters
        ----------
        table : data frame, pyarrow.Table or mapping
        task, worker, label : str, optional
            Names of the columns; default: found by their usual names (`tamis.crowd.tables.COLUMNS`).
        classes : sequence, optional

        Raises
        ------
        InputError
            A column is missing or could be one of several; see `from_arrays` for the rest.

        Examples
        --------
        >>> frame = pd.DataFrame({"item": [1, 1], "annotator": ["a", "b"], "label": ["x", "x"]})
        >>> Answers.from_table(frame).n_workers
        2
        """
        found = answer_columns(column_names(table), {"task": task, "worker": worker, "label": label})
        columns = [table_column(table, found[role]) for role in ("task", "worker", "label")]
        return cls.from_arrays(*columns, classes=classes)

    @classmethod
    def from_matrix(
        cls, labels: npt.ArrayLike, *, classes: Sequence[object] | IdArray | None = None
    ) -> Answers:
        """Return the answers of an (N, A) matrix of tasks and annotators; None, NaN or < 0 = no answer.

        Tasks and workers are numbered as rows and columns, those without any answer too.

        Examples
        --------
        >>> Answers.from_matrix([[0, None], [1, 1]])
        <Answers: 3 by 2 workers about 2 tasks, 2 classes>
        """
        matrix = np.asarray(labels.to_numpy() if isinstance(labels, pd.DataFrame) else labels)
        if matrix.ndim != 2:
            raise InputError(f"labels has shape {matrix.shape}; expected (tasks, annotators)")
        present = ~pd.isna(matrix)
        if matrix.dtype.kind in "if":
            present &= ~(np.where(present, matrix, 0) < 0)
        task, worker = np.nonzero(present)
        label = _plain(matrix[present])
        n_tasks, n_workers = matrix.shape
        return cls.from_arrays(
            task, worker, label, tasks=np.arange(n_tasks), workers=np.arange(n_workers), classes=classes
        )


def as_answers(value: object, *, classes: Sequence[object] | IdArray | None = None) -> Answers:
    """Return answers from whatever holds them.

    Parameters
    ----------
    value : Answers, data frame, pyarrow.Table, mapping of columns, (task, worker, label) or (N, A) array
    classes : sequence, optional
        See `Answers.from_arrays`; ignored for `Answers`.

    Raises
    ------
    InputError
        Anything else, or what the constructors refuse.
    """
    if isinstance(value, Answers):
        return value
    if isinstance(value, pd.DataFrame | pa.Table | Mapping):
        return Answers.from_table(value, classes=classes)
    if isinstance(value, tuple) and len(value) == 3:
        return Answers.from_arrays(*value, classes=classes)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return Answers.from_matrix(value, classes=classes)
    raise InputError(
        f"answers is a {type(value).__name__}; pass Answers, a table with task, worker and label columns, "
        "a tuple (task, worker, label), or a matrix (tasks, annotators)"
    )


def join_answers(parts: Sequence[Answers]) -> Answers:
    """Return all answers together, ids sorted: the same from any order of parts but for the order of rows."""
    if len(parts) == 1:
        return parts[0]
    ids, codes = {}, {}
    for role, listed in (("task", "tasks"), ("worker", "workers"), ("label", "classes")):
        joined: IdArray = getattr(parts[0], listed)[:0]
        for part in parts:
            joined, _ = join_ids(joined, getattr(part, listed))
        ids[role] = code_ids(joined, role).ids
        codes[role] = np.concatenate(
            [code_among(getattr(part, listed), ids[role], role)[getattr(part, role)] for part in parts]
        )
    sizes = np.cumsum([0, *(len(part) for part in parts)])
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Answers(
        codes["task"],
        codes["worker"],
        codes["label"],
        ids["task"],
        ids["worker"],
        ids["label"],
        np.arange(sizes[-1]),
        notes,
    )


def _without_unused(
    codes: dict[str, IntArray], ids: dict[str, IdArray], listed: Mapping[str, object]
) -> tuple[dict[str, IntArray], dict[str, IdArray]]:
    """Drop ids that only rows without a label mentioned, unless they were listed."""
    codes, ids = dict(codes), dict(ids)
    for role, given in listed.items():
        if given is None:
            used = np.unique(codes[role])
            place = np.full(len(ids[role]), -1, dtype=np.int32)
            place[used] = np.arange(len(used), dtype=np.int32)
            codes[role], ids[role] = place[codes[role]], ids[role][used]
    return codes, ids


def _plain(values: IdArray) -> IdArray:
    return np.asarray(values.tolist()) if values.dtype.kind == "O" and len(values) else values
