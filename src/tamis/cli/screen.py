"""Where the words of a command go: people read them on stdout, or on stderr when stdout is for JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_WIDTH_OFF_TERMINAL = 120


class Column(NamedTuple):
    """One column of a table: its heading, and whether its cells are numbers (set to the right)."""

    heading: str
    is_number: bool = False


class Screen:
    """The output of one command. Every text is shown as it is: no markup, control characters spelled out.

    Parameters
    ----------
    as_json : bool
        Text goes to stderr; stdout gets one JSON object as its last line.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stream = sys.stderr if as_json else sys.stdout

    def line(self, text: str = "") -> None:
        """Print one line (line breaks inside are kept)."""
        from tamis.reporting.wording import visible

        print(visible(text, keep_lines=True), file=self._stream)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        from tamis.reporting.wording import visible

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            # Where the terminal is narrow, names go on in the next line; nothing is cut.
            table.add_column(
                Text(column.heading),
                justify="right" if column.is_number else "left",
                no_wrap=column.is_number,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        is_terminal = self._stream.isatty()
        console = Console(
            file=self._stream,
            highlight=False,
            markup=False,
            width=None if is_terminal else _WIDTH_OFF_TERMINAL,
        )
        console.print(table)

    def result(self, value: Mapping[str, Json]) -> None:
        """Print the JSON object, if one is wanted. NaN and infinity must not be in it."""
        if self.as_json:
            print(json.dumps(value, allow_nan=False), file=sys.stdout, flush=True)

    def error(self, message: str, code: int) -> None:
        """Say on stderr why the command ends, and in the JSON object if one is wanted."""
        from tamis.reporting.wording import visible

        print(f"tamis: {visible(message, keep_lines=True)}", file=sys.stderr)
        self.result({"status": "failed", "error": message, "exit_code": code})
