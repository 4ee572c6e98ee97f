"""A table with named columns on its way to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tamis.data.cells import Cells
from tamis.data.dataset import LabelName
from tamis.errors import InputError

_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = r"^(?i:[-+]?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|nan|[-+]?inf(inity)?)$"
_PROBE_ROWS = 1000


@dataclass
class Frame:
    """Columns of a source, before their roles are known.

    Attributes
    ----------
    columns : mapping of name to pyarrow.ChunkedArray
        Columns in memory (or memory-mapped).
    lazy : mapping of name to Cells
        Columns of image bytes that stay where they are.
    n_rows : int
    source : str
        For people.
    root : Path or None
        Folder that image paths must stay in; None for tables of the caller's own program.
    mixed : mapping of name to list
        Columns whose cells have several types, so that Arrow does not hold them.
    label_names : mapping of column name to class names
        Known for that column; the name ``""`` stands for any column.
    missing_codes : mapping of column name to int
        The integer that means unlabelled.
    is_text : bool
        Whether the columns came as text (CSV) and numbers must be recognised.
    """

    columns: dict[str, pa.ChunkedArray]
    n_rows: int
    source: str
    lazy: dict[str, Cells] = field(default_factory=dict)
    root: Path | None = None
    mixed: dict[str, list[object]] = field(default_factory=dict)
    label_names: Mapping[str, tuple[LabelName, ...]] = field(default_factory=dict)
    missing_codes: Mapping[str, int] = field(default_factory=dict)
    is_text: bool = False
    notes: list[str] = field(default_factory=list)
    _typed: dict[str, pa.ChunkedArray] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return [*self.columns, *self.lazy, *self.mixed]

    def typed(self, name: str) -> pa.ChunkedArray:
        """Return a column with its numbers as numbers."""
        if not self.is_text:
            return self.columns[name]
        if name not in self._typed:
            self._typed[name] = numbers_of_text(self.columns[name])
        return self._typed[name]


def numbers_of_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a text column as int64 or float64 where every cell is a number, else as it is.

    Cells with leading zeros ("007") are text: they are names, not amounts.
    """
    present = pc.drop_null(column)
    if not len(present):
        return column
    for pattern, target in ((_INTEGER, pa.int64()), (_NUMBER, pa.float64())):
        # The first rows decide about most text columns without a look at the rest.
        if _all_match(present.slice(0, _PROBE_ROWS), pattern) and _all_match(present, pattern):
            return column.cast(target)
    return column


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def frame_of_table(table: pa.Table, source: str, root: Path | None = None) -> Frame:
    """Return the frame of an Arrow table in memory.

    Raises
    ------
    InputError
        If two columns have the same name.
    """
    check_column_names(table.column_names)
    return Frame(dict(zip(table.column_names, table.columns, strict=True)), table.num_rows, source, root=root)


def check_column_names(names: list[str]) -> None:
    """Raise `InputError` if a column name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(
            f"the columns {twice} occur more than once in {names}; give every column its own name"
        )
