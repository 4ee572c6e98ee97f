"""Cells that a spreadsheet would run as formulas.

Source: OWASP, "CSV Injection" (cells that begin with ``=``, ``+``, ``-``, ``@``, tab or carriage return).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_DANGEROUS = r"^[=+\-@\t\r]"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def count_dangerous(table: pa.Table) -> int:
    """Return how many text cells, column names included, a spreadsheet would run as formulas.

    Examples
    --------
    >>> count_dangerous(pa.table({"label": ["=1+1", "cat"], "score": [-0.5, 1.0]}))
    1
    """
    texts = [table.column(index) for index, field in enumerate(table.schema) if _is_text(field.type)]
    texts.append(pa.chunked_array([pa.array(table.column_names, pa.string())]))
    hits = (pc.sum(pc.match_substring_regex(text, _DANGEROUS)).as_py() for text in texts)
    return sum(hit or 0 for hit in hits)


def defuse(table: pa.Table) -> pa.Table:
    """Return the table with an apostrophe before every dangerous text cell and column name.

    Examples
    --------
    >>> defuse(pa.table({"label": ["=1+1", "cat"]})).column("label").to_pylist()
    ["'=1+1", 'cat']
    """
    columns = [
        pc.replace_substring_regex(column, _DANGEROUS, r"'\0") if _is_text(column.type) else column
        for column in table.columns
    ]
    names = pc.replace_substring_regex(pa.array(table.column_names, pa.string()), _DANGEROUS, r"'\0")
    return pa.table(columns, names=names.to_pylist())
