"""Progress of long work, on standard error: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


def _wanted() -> bool:
    return sys.stderr.isatty() and os.environ.get("TAMIS_PROGRESS", "1") != "0"


@contextlib.contextmanager
def track(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[float], None]]:
    """Yield ``advance(count)``; while the block runs a bar shows done/total, speed and time left.

    Examples
    --------
    >>> with track("encoding", total=10, unit="images") as advance:
    ...     advance(10)
    """
    if not _wanted():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, unit=unit, rate="")

        def advance(count: float) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:,.0f} {unit}/s" if speed else ""
            progress.update(task, advance=count, rate=rate)

        yield advance
