"""One line an epoch while a training runs, on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias

Record: TypeAlias = Mapping[str, float | int | str | None]


def epoch_printer(*, is_verbose: bool) -> Callable[[Record], None] | None:
    """Return what prints the record of an epoch: on a terminal, or anywhere if ``is_verbose``."""
    wanted = is_verbose or (sys.stderr.isatty() and os.environ.get("TAMIS_PROGRESS", "1") != "0")
    return _print if wanted else None


def _print(record: Record) -> None:
    # Not a stream kept from before: a progress bar on the terminal stands aside for this one only.
    print(epoch_line(record), file=sys.stderr, flush=True)


def epoch_line(record: Record) -> str:
    """Return the record of an epoch as one line.

    Examples
    --------
    >>> epoch_line({"epoch": 3, "loss": 0.5, "kept": 0.8, "test_accuracy": 0.9, "samples_per_second": 1200.0})
    'epoch 3  loss 0.5000  kept 80.0 %  test 90.0 %  1,200 samples/s'
    """
    from tamis.reporting.curves import reached

    parts = [f"epoch {record.get('epoch')}", f"loss {_number(record.get('loss'))}"]
    if isinstance(kept := record.get("kept"), float):
        parts.append(f"kept {100 * kept:.1f} %")
    parts += [
        f"{name} {100 * value:.1f} %"
        for name in ("training", "validation", "test")
        if (value := reached(record, name)) is not None
    ]
    if isinstance(speed := record.get("samples_per_second"), float):
        parts.append(f"{speed:,.0f} samples/s")
    return "  ".join(parts)


def _number(value: float | int | str | None) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "?"
