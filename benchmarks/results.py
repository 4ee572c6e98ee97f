"""Rows of a benchmark: a progress line each, a JSON file that grows with them, Markdown tables at the end."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tamis.runs import versions, write_json, write_text

Cell: TypeAlias = str | int | float | bool | None


class Column(NamedTuple):
    """One column of a table: the key of the row, the heading, how the value is written."""

    key: str
    heading: str
    form: str = ""


class Report:
    """The rows of one benchmark run.

    With ``out`` the JSON file is rewritten after every row: an interrupted run keeps what it measured.
    """

    def __init__(self, benchmark: str, out: Path | None) -> None:
        self.rows: list[dict[str, Cell]] = []
        self._out = out
        self._head: dict[str, object] = {
            "benchmark": benchmark,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
        }

    def add(self, row: Mapping[str, Cell]) -> None:
        """Keep a row; say so on standard error."""
        self.rows.append(dict(row))
        print("  ".join(f"{key}={_short(value)}" for key, value in row.items()), file=sys.stderr, flush=True)
        if self._out is not None:
            write_json(self._out, self._head | {"rows": self.rows})

    def show(self, columns: Sequence[Column]) -> None:
        """Print the rows as a Markdown table."""
        print(markdown(columns, self.rows), flush=True)


def markdown(columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]]) -> str:
    """Return a Markdown table; what a row lacks is written as a dash."""
    lines = [[column.heading for column in columns], ["---" for _ in columns]]
    lines += [[_cell(row.get(column.key), column.form) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def machine() -> dict[str, Cell]:
    """Return what the figures depend on: processor, cores, system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def _cell(value: Cell, form: str) -> str:
    if value is None:
        return "-"
    return format(value, form) if isinstance(value, int | float) else str(value)


def _short(value: Cell) -> str:
    return format(value, ".4g") if isinstance(value, float) else str(value)


def hand_over(text: str, out: Path | None) -> None:
    """Write a page, or print it where there is no file to write."""
    if out is None:
        print(text)
    else:
        write_text(out, text)
