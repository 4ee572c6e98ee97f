"""Numbers of several trials in one cell of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tamis.benchmarks.judging import Cell


def values_of(rows: Sequence[Mapping[str, Cell]], key: str) -> list[float]:
    """Return the numbers that rows have under a key."""
    found = [row.get(key) for row in rows]
    return [float(value) for value in found if isinstance(value, int | float)]


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def mean_and_spread(values: Sequence[float], form: str, *, with_spread: bool = True) -> str:
    """Return mean ± standard deviation, "-" of nothing.

    Examples
    --------
    >>> mean_and_spread([1.0, 3.0], ".1f"), mean_and_spread([2.0], ".1f"), mean_and_spread([], ".1f")
    ('2.0 ± 1.4', '2.0', '-')
    """
    mean = mean_of(values)
    if mean is None:
        return "-"
    if len(values) == 1 or not with_spread:
        return format(mean, form)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    # The sign is that of the mean.
    return f"{mean:{form}} ± {spread:{form.removeprefix('+')}}"


def short_error(row: Mapping[str, Cell]) -> str:
    """Return why a trial has no figures, on one line of a Markdown table."""
    return " ".join(str(row["error"]).split()).replace("|", "\\|")[:200]
