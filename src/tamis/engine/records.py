"""What a run writes down while it goes on: one JSON object a line, one line an epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.runs import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Record = dict[str, float | int | str | None]


class Records:
    """The log of a run: ``metrics.jsonl`` and, on request, TensorBoard.

    Parameters
    ----------
    folder : Path, optional
        Nothing is written where it is None.
    is_writer : bool, default=True
        Only one of several processes writes.
    tensorboard : bool, default=False
        Also write event files under ``folder/tensorboard``.
    """

    def __init__(self, folder: Path | None, *, is_writer: bool = True, tensorboard: bool = False) -> None:
        self.lines: list[Record] = []
        self._path = folder / "metrics.jsonl" if folder is not None and is_writer else None
        self._events: SummaryWriter | None = None
        if tensorboard and self._path is not None:
            self._events = _writer(self._path.parent / "tensorboard")

    def restore(self, lines: list[Record]) -> None:
        """Begin again with the lines of a checkpoint: what was written after it is forgotten."""
        self.lines = list(lines)
        if self._path is not None:
            write_records(self._path, self.lines)

    def add(self, record: Mapping[str, float | int | str | None]) -> None:
        """Add one line."""
        line: Record = {key: _legal(value) for key, value in record.items()}
        self.lines.append(line)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_as_line(line))
                file.flush()
                os.fsync(file.fileno())
        if self._events is not None:
            for key, value in line.items():
                if isinstance(value, int | float) and key not in {"epoch", "step"}:
                    self._events.add_scalar(key, value, int(line["step"] or 0))
            self._events.flush()

    def close(self) -> None:
        """Close the TensorBoard files."""
        if self._events is not None:
            self._events.close()


def write_records(path: Path, lines: Iterable[Record]) -> None:
    """Write a whole log at once, in place of what is there."""
    write_text(path, "".join(_as_line(line) for line in lines))


def _as_line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _legal(value: float | int | str | None) -> float | int | str | None:
    # JSON has no NaN.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _writer(folder: Path) -> SummaryWriter:
    from tamis.errors import MissingExtraError

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard is not installed: pip install tensorboard") from error
    return SummaryWriter(str(folder))
