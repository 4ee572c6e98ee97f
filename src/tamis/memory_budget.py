"""Memory budgets: what a caller allows, and how many rows of a block that buys."""

from __future__ import annotations

import re

from tamis.errors import InputError

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "k": 2**10, "m": 2**20, "g": 2**30}
_DEFAULT_BLOCK_BYTES = 2**28


def parse_memory_budget(value: str | int | None) -> int | None:
    """Return a memory budget in bytes; None means no limit.

    Examples
    --------
    >>> parse_memory_budget("64MiB")
    67108864
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"memory_budget must be text such as '2GiB', bytes, or None; got {value!r}")
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value.lower())
        if match is None or match[2] not in _UNITS:
            raise InputError(f"memory_budget {value!r} is not a size; write for example '64MiB' or '2GiB'")
        # Beyond 2**62 bytes (and for numbers too long for a float) there is no limit left to keep.
        value = int(min(float(match[1]) * _UNITS[match[2]], 2.0**62))
    if value < 2**20:
        raise InputError(f"memory_budget is {value} bytes; at least 1MiB is needed")
    return value


def rows_per_block(bytes_per_row: int, budget: int | None, *, at_most: int = 65_536) -> int:
    """Return how many rows of ``bytes_per_row`` fit a quarter of the budget (at least 1)."""
    allowed = _DEFAULT_BLOCK_BYTES if budget is None else min(budget // 4, _DEFAULT_BLOCK_BYTES)
    return max(1, min(at_most, allowed // max(1, bytes_per_row)))
