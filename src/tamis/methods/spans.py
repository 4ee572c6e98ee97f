"""Lengths in epochs or steps that may be given as a share of the run."""

from __future__ import annotations

import math

from tamis.errors import InputError


def span(value: float, total: int) -> int:
    """Return a length: a value from 1 on as it is, a smaller one as that share of ``total``.

    Parameters
    ----------
    value : float
        At least 0.
    total : int
        Epochs or steps of the whole run.

    Examples
    --------
    >>> span(10, total=200), span(0.25, total=200), span(0, total=200)
    (10, 50, 0)
    """
    return int(value) if value >= 1 else round(value * total)


def refuse_span(value: float, name: str) -> None:
    """Raise `InputError` where a value is neither a share below 1 nor a whole number."""
    is_length = math.isfinite(value) and value >= 0 and (value < 1 or value == int(value))
    if not is_length:
        raise InputError(
            f"{name} is {value!r}; expected a whole number of at least 0, or a share of the run below 1"
        )
