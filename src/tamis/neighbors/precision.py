"""Which precision multiplies faster on this machine."""

from __future__ import annotations

import functools
import time
from typing import Literal

import torch

from tamis.neighbors.candidates import BlockPrecision
from tamis.neighbors.formats import Format, Precision, fitting_format
from tamis.neighbors.vectors import UnitRows

_ROWS, _COLUMNS = 256, 4096
_SAMPLE, _SAMPLED_ROWS = 4096, 256
# What a pair that the rough product leaves open costs, about.
_PAIR_SECONDS = 3e-7
# Narrower rows gain nothing.
_NARROWEST_INT8 = 16
# The longer candidate list of bfloat16 has to be paid for.
_WORTHWHILE = 0.8


@functools.cache
def faster_precision(width: int, device: str = "cpu") -> BlockPrecision:
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
    limit = _WORTHWHILE * _product_seconds("float32", width)
    return "bfloat16" if _product_seconds("bfloat16", width) < limit else "float32"


@functools.cache
def is_int8_exact(width: int) -> bool:
    """Return whether int8 products of this width exist here and are exact for the largest codes.

    Instructions that add pairs of products in 16 bits overflow on them. Rows of a few columns have nothing to
    gain (and for one column torch 2.13 returns what happened to be in memory).
    """
    if not hasattr(torch, "_int_mm") or not _NARROWEST_INT8 <= width < 2**17:
        return False
    signs = torch.where(torch.arange(64 * width).view(64, width) % 7 < 5, 127, -127)
    signs[0], signs[1] = 127, -127
    codes = signs.to(torch.int8)
    try:
        product = torch._int_mm(codes, codes.T)
    except RuntimeError:
        return False
    return torch.equal(product.double(), signs.double() @ signs.double().T)


def choose_format(
    precision: Precision | Literal["auto"], rows: UnitRows, alive: torch.Tensor, k: int
) -> Format:
    """Return the format of a sweep: that of ``precision``, or the one that should take the least time.

    The less precise a product, the more pairs have to be computed again: how many is seen on a sample.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "int8"}
        One that does not work here counts as "auto".
    rows : UnitRows
    alive : (n,) int64 tensor
        The rows that take part.
    k : int
    """
    generator = torch.Generator().manual_seed(1)
    sample = rows.take(alive[torch.randperm(len(alive), generator=generator)[:_SAMPLE]])
    able: tuple[Precision, ...] = ("float32", "bfloat16")
    if is_int8_exact(rows.width):
        able = (*able, "int8")
    if precision in able:
        return fitting_format(precision, sample)
    forms = [fitting_format(one, sample) for one in able]
    # Similarities of some rows to the others, and the one that the k-th neighbour among all should reach.
    similarity = (sample[:_SAMPLED_ROWS] @ sample[_SAMPLED_ROWS:].T).double()
    rank = max(1, round(k * similarity.shape[1] / len(alive)))
    floor = similarity.topk(rank, dim=1).values[:, -1:]

    def seconds(form: Format) -> float:
        lost = form.encode(sample)[1]
        error = form.similarities(form.allowances(lost, float(lost.median())))
        is_possible = similarity + error[:_SAMPLED_ROWS].unsqueeze(1) + error[_SAMPLED_ROWS:] >= floor
        pairs = float(is_possible.double().mean())
        return _product_seconds(form.precision, rows.width) / (_ROWS * _COLUMNS) + pairs * _PAIR_SECONDS

    return min(forms, key=seconds)


@functools.cache
@functools.cache
def _product_seconds(precision: Precision, width: int) -> float:
    form = Format(precision, width)
    left = torch.ones((_ROWS, width), dtype=form.dtype)
    right = torch.ones((_COLUMNS, width), dtype=form.dtype)
    out = torch.empty((_ROWS, _COLUMNS), dtype=form.score_dtype)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        form.product(left, right, out)
        best = min(best, time.perf_counter() - start)
    return best
