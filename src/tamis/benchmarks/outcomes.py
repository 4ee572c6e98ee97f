"""What a training of a benchmark leaves, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tamis.benchmarks.judging import Cell
from tamis.benchmarks.trial import DONE, FAILED, REFUSED
from tamis.errors import InputError, RunError

DIVERGED = "diverged"
"""How a trial ended whose loss is not finite any more; it is not tried again."""

Curves = dict[str, list[float | None]]
"""A value an epoch, by name."""

Result = dict[str, Cell | Curves]
"""A trial as its file holds it: the row of the table, and its curves."""


def outcome_of(row: Result, run: Callable[[Result], None]) -> Result:
    """Return the row with its outcome; what goes wrong is said in there.

    Parameters
    ----------
    row : mapping
        What the trial is.
    run : callable
        Adds what it comes to.
    """
    try:
        run(row)
    except InputError as error:
        return row | {"outcome": REFUSED, "error": str(error)}
    except RunError as error:
        return row | {"outcome": DIVERGED, "error": str(error)}
    except Exception as error:
        # One candidate that fails must not take the table with it; its row says why.
        return row | {"outcome": FAILED, "error": f"{type(error).__name__}: {error}"}
    return row | {"outcome": DONE}


def curves_of(history: Sequence[Mapping[str, object]], names: Mapping[str, str]) -> Curves:
    """Return the curves in a log by their names here; one that the log does not have is left out.

    Examples
    --------
    >>> curves_of([{"test_map": 0.5}, {"test_map": 0.75}], {"test": "test_map", "kept": "kept"})
    {'test': [0.5, 0.75]}
    """
    return {
        name: [_number(record.get(key)) for record in history]
        for name, key in names.items()
        if any(key in record for record in history)
    }


def filled(values: Sequence[float | None]) -> list[float]:
    """Return a curve of a figure of at least 0, with -1 where there is none: it never is the best."""
    return [-1.0 if value is None else value for value in values]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
