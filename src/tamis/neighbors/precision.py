"""Which precision multiplies faster on this machine."""

from __future__ import annotations

import functools
import time

import torch

from tamis.neighbors.candidates import Precision

_ROWS, _COLUMNS = 512, 4096
# The longer candidate list of bfloat16 has to be paid for.
_WORTHWHILE = 0.8


@functools.cache
def faster_precision(width: int, device: str = "cpu") -> Precision:
    """Return the precision whose product of unit rows is faster here, from a run of a few milliseconds.

    Only the speed of a search depends on the answer, never its result. It is remembered per width and device.

    Parameters
    ----------
    width : int
        Number of columns of the features.
    device : str
        Other devices than the CPU always answer float32: the search does not take long there.

    Examples
    --------
    >>> faster_precision(16) in ("float32", "bfloat16")
    True
    """
    if torch.device(device).type != "cpu":
        return "float32"
    seconds = {dtype: _product_seconds(dtype, width) for dtype in (torch.float32, torch.bfloat16)}
    return "bfloat16" if seconds[torch.bfloat16] < _WORTHWHILE * seconds[torch.float32] else "float32"


def _product_seconds(dtype: torch.dtype, width: int) -> float:
    left = torch.ones((_ROWS, width), dtype=dtype)
    right = torch.ones((_COLUMNS, width), dtype=dtype)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(left, right.T)
        best = min(best, time.perf_counter() - start)
    return best
