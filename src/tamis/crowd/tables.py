"""Tables of answers: which column is the task, which the worker, which the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd
import pyarrow as pa

from tamis.errors import InputError

Table: TypeAlias = pd.DataFrame | pa.Table | Mapping[str, object]

COLUMNS: dict[str, tuple[str, ...]] = {
    "task": ("task", "item", "task_id", "item_id", "question", "question_id"),
    "worker": ("worker", "annotator", "worker_id", "annotator_id", "rater", "performer", "labeler"),
    "label": ("label", "answer", "response", "annotation"),
}
"""Usual names of the three columns of a table of answers."""


def column_names(table: Table) -> list[str]:
    """Return the names of the columns of a table."""
    return [str(name) for name in (table.column_names if isinstance(table, pa.Table) else table)]


def answer_columns(names: Sequence[object], given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the column of each role (task, worker, label): the given one, or the one of a usual name.

    Raises
    ------
    InputError
        A role has no column, or could be played by several.

    Examples
    --------
    >>> answer_columns(["item", "annotator", "label"], {})
    {'task': 'item', 'worker': 'annotator', 'label': 'label'}
    """
    found: dict[str, str] = {}
    shown = ", ".join(map(repr, names[:30]))
    for role, usual in COLUMNS.items():
        wanted = given.get(role)
        if wanted is not None:
            if wanted not in names:
                raise InputError(f"{role}={wanted!r} is not among the columns {shown}")
            found[role] = wanted
            continue
        # Earlier names win, as "task" over "question".
        matches = [str(name) for each in usual for name in names if str(name).lower() == each]
        if not matches:
            raise InputError(f"no {role} column among {shown}; pass {role}= with one of them")
        found[role] = matches[0]
    if len(set(found.values())) < len(found):
        raise InputError(f"one column plays two roles: {found}; task, worker and label need one each")
    return found


def table_column(table: Table, name: str) -> object:
    """Return one column of a table as an array."""
    if isinstance(table, pa.Table):
        column = table.column(name)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        return column.to_pandas().to_numpy() if not is_text else column.to_numpy(zero_copy_only=False)
    if isinstance(table, pd.DataFrame):
        # Extension types become objects; plain numbers stay as they are.
        return table[name].to_numpy()
    return table[name]
