"""The data set: an Arrow table of rows, lazily decoded inputs and memory-mapped features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.data.digests import dataset_digest, feature_digests
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray, Task

Image: TypeAlias = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""

LabelName: TypeAlias = str | int


@dataclass(frozen=True)
class Unreadable:
    """Why one sample could not be read: the row of the issue table says this, nothing crashes."""

    row: int
    reason: str


class Input(Protocol):
    """One named input of a data set. Samples are decoded per call and never kept."""

    @property
    def kind(self) -> Literal["image", "text"]:
        """What `read` returns: RGB arrays or strings."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Decode the given rows, in the order asked for."""

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64, a 128-bit hash of each row's raw content; equal rows are exact duplicates.

        A row whose bytes cannot be read has the digest (0, 0).
        """


class SelectedInput:
    """Some rows of another input, in a given order."""

    def __init__(self, base: Input, rows: IntArray) -> None:
        self._base = base
        self._rows = rows

    @property
    def kind(self) -> Literal["image", "text"]:
        """What `read` returns: RGB arrays or strings."""
        return self._base.kind

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Decode the given rows, in the order asked for."""
        samples = self._base.read([int(self._rows[row]) for row in rows])
        return [
            Unreadable(int(row), sample.reason) if isinstance(sample, Unreadable) else sample
            for row, sample in zip(rows, samples, strict=True)
        ]

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 content hashes; (0, 0) where the content cannot be read."""
        return self._base.digests()[self._rows]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples, given labels and everything known about them; immutable.

    Attributes
    ----------
    table : pyarrow.Table
        One row a sample: ``id`` (string, unique), ``label`` (int32 code into ``class_names``; null =
        unlabelled), ``split`` and ``group`` (string, null where unknown), then any extra columns.
    class_names : tuple of str or int
        The classes in code order, as they were given.
    task : {"classification", "multilabel", "retrieval", "crowd"}
    inputs : mapping of name to Input
        ``"image"`` and/or ``"text"``.
    features : mapping of name to (n, d) array
        Feature matrices, memory-mapped where they came from a file. Readers use the name ``"features"``.
        Rows listed in ``problems`` may hold NaN or infinity.
    pred_probs : (n, K) array or None
        Predicted probabilities that came with the data, columns in ``class_names`` order.
    source : str
        Where the data came from, for people.
    truth : (n,) int32 array or None
        True label codes, known only in benchmarks (-1 = unknown).
    problems : mapping of row to reason
        Rows known to be unusable already while reading; each becomes an "unreadable" row of the issue table.
    notes : tuple of str
        Sentences a reader of the results should see: what was skipped, guessed or converted.
    """

    table: pa.Table
    class_names: tuple[LabelName, ...]
    task: Task = "classification"
    inputs: Mapping[str, Input] = field(default_factory=dict)
    features: Mapping[str, FloatArray] = field(default_factory=dict)
    pred_probs: FloatArray | None = None
    source: str = ""
    truth: IntArray | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = {"id", "label", "split", "group"} - set(self.table.column_names)
        if missing:
            raise InputError(f"table lacks the columns {sorted(missing)}; build a Dataset with tamis.read")
        sized: dict[str, int] = {name: len(values) for name, values in self.inputs.items()}
        sized |= {f"features[{name!r}]": len(values) for name, values in self.features.items()}
        if self.pred_probs is not None:
            sized["pred_probs"] = len(self.pred_probs)
        for name, length in sized.items():
            if length != len(self):
                raise InputError(f"{name} has {length} rows but the table has {len(self)}; they must match")

    def __repr__(self) -> str:
        return f"<tamis.Dataset: {self.describe()}>"

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.table.num_rows)

    @property
    def n_classes(self) -> int:
        """Number of classes, classes without a sample included."""
        return len(self.class_names)

    @property
    def ids(self) -> list[str]:
        """Ids of all rows."""
        ids: list[str] = self.table.column("id").to_pylist()
        return ids

    @property
    def label_codes(self) -> IntArray:
        """(n,) int64 label codes; -1 where the row is unlabelled."""
        codes: IntArray = (
            self.table.column("label")
            .combine_chunks()
            .fill_null(-1)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64)
        )
        return codes

    @property
    def is_labelled(self) -> BoolArray:
        """(n,) bool, True where a label is given."""
        return np.asarray(self.label_codes >= 0)

    def select(self, rows: IntArray | BoolArray | Sequence[int]) -> Dataset:
        """Return the data set of the given rows: row numbers in any order, or a mask.

        Raises
        ------
        InputError
            If a row number is out of range or repeated, or the mask has another length.
        """
        index = _row_index(rows, len(self))
        new_row = {int(row): position for position, row in enumerate(index)}
        return replace(
            self,
            table=self.table.take(pa.array(index)),
            inputs={name: SelectedInput(values, index) for name, values in self.inputs.items()},
            features={name: values[index] for name, values in self.features.items()},
            pred_probs=None if self.pred_probs is None else self.pred_probs[index],
            truth=None if self.truth is None else self.truth[index],
            problems={new_row[row]: reason for row, reason in self.problems.items() if row in new_row},
        )

    def with_labels(self, codes: IntArray) -> Dataset:
        """Return the same samples with other labels.

        Parameters
        ----------
        codes : (n,) int
            Codes into ``class_names``; -1 = unlabelled.

        Raises
        ------
        InputError
            If the length or a code does not fit.
        """
        codes = np.asarray(codes)
        if codes.shape != (len(self),):
            raise InputError(
                f"codes has shape {codes.shape}; one code for each of the {len(self)} rows is needed"
            )
        wrong = np.flatnonzero((codes < -1) | (codes >= self.n_classes))
        if wrong.size:
            raise InputError(
                f"codes row {wrong[0]} is {codes[wrong[0]]}; legal are 0 to {self.n_classes - 1}, or -1"
                " for unlabelled"
            )
        position = self.table.column_names.index("label")
        return replace(self, table=self.table.set_column(position, "label", label_column(codes)))

    def describe(self) -> str:
        """Return one paragraph for people: size, inputs, classes, splits, unusable rows.

        Examples
        --------
        >>> from tamis.data import from_arrays
        >>> from_arrays([[0.0], [1.0], [2.0]], ["cat", "dog", None]).describe()
        '3 samples from arrays; features (3 x 1); 2 classes (cat 1, dog 1); 1 unlabelled.'
        """
        parts = [f"{len(self):,} samples" + (f" from {self.source}" if self.source else "")]
        content = [
            *self.inputs,
            *(f"{name} ({len(m):,} x {m.shape[1]:,})" for name, m in self.features.items()),
        ]
        if self.pred_probs is not None:
            content.append("predicted probabilities")
        parts += [", ".join(content)] if content else []
        codes = self.label_codes
        counts = np.bincount(codes[codes >= 0], minlength=self.n_classes)
        shown = [f"{name} {count:,}" for name, count in zip(self.class_names[:10], counts, strict=False)]
        shown += ["..."] if self.n_classes > len(shown) else []
        parts.append(f"{self.n_classes:,} classes ({', '.join(shown)})")
        parts.append(f"{int((codes < 0).sum()):,} unlabelled")
        splits = [
            (item["values"], item["counts"])
            for item in pc.value_counts(self.table.column("split")).to_pylist()
        ]
        named = sorted((name, count) for name, count in splits if name is not None)
        parts += ["splits " + ", ".join(f"{name} {count:,}" for name, count in named)] if named else []
        parts += [f"{len(self.problems):,} unusable"] if self.problems else []
        return "; ".join(parts) + "."

    def fingerprint(self) -> str:
        """Return 32 hex digits that change with ids, labels, class names, splits, groups or content."""
        content = {f"input {name}": values.digests() for name, values in self.inputs.items()}
        content |= {f"features {name}": feature_digests(values) for name, values in self.features.items()}
        if self.pred_probs is not None:
            content["pred_probs"] = feature_digests(self.pred_probs)
        return dataset_digest(self.table.select(["id", "label", "split", "group"]), self.class_names, content)


def label_column(codes: IntArray) -> pa.Array:
    """Return int32 label codes as an Arrow array; negative codes become null."""
    codes = np.asarray(codes)
    return pa.array(codes.astype(np.int32), mask=codes < 0)


def _row_index(rows: IntArray | BoolArray | Sequence[int], n_rows: int) -> IntArray:
    index = np.asarray(rows)
    if index.dtype == np.bool_:
        if index.shape != (n_rows,):
            raise InputError(f"rows is a mask of shape {index.shape}; the data set has {n_rows} rows")
        return np.flatnonzero(index)
    if index.size == 0:
        return np.zeros(0, dtype=np.int64)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise InputError(f"rows has shape {index.shape} and type {index.dtype}; pass row numbers or a mask")
    wrong = index[(index < 0) | (index >= n_rows)]
    if wrong.size:
        raise InputError(f"rows holds {wrong[0]}; legal are 0 to {n_rows - 1}")
    if len(np.unique(index)) != len(index):
        raise InputError("rows holds a row more than once; each may be selected once, because ids are unique")
    return index.astype(np.int64)
