"""How a search is cut up: by the sizes of both sides and the memory allowed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tamis.neighbors.sides import GROUP
from tamis.neighbors.sweep import BLOCK, PANEL
from tamis.neighbors.vectors import UnitRows

# A sweep needs many columns to guess from the first panel what the others hold.
FEWEST_SWEPT = 4 * PANEL
# Queries that are swept at once, where they are not the reference rows themselves.
SWEPT_TOGETHER = 8 * PANEL

_DEFAULT_BUDGET = 2**30
# Bytes of a pair in a shortlist, and pairs of a row beside twice the k it looks for.
_PAIR_BYTES, _SPARE_PAIRS = 14, 50


@dataclass(frozen=True)
class Plan:
    """How much is worked on at once.

    Attributes
    ----------
    queries, panel : int
        Query and reference rows of a block.
    holds_reference : bool
        Whether the reference rows are kept in memory.
    sweeps : bool
        Whether most rows are searched by one sweep over all pairs.
    """

    queries: int
    panel: int
    holds_reference: bool
    sweeps: bool


def plan_search(queries: UnitRows, reference: UnitRows, *, k: int, budget: int | None, device: str) -> Plan:
    """Return the plan of a search for ``k`` neighbours within ``budget`` bytes, by default 1 GiB."""
    allowed = _DEFAULT_BUDGET if budget is None else min(budget, _DEFAULT_BUDGET)
    sweeps = torch.device(device).type == "cpu" and _can_sweep(queries, reference, k, allowed)
    # Held rows take 4 bytes a value and, in bfloat16, 2 more.
    holds = sweeps or 6 * len(reference) * reference.width <= allowed // 2
    scores = min(allowed // 8, 2**26) // 4
    # Where the reference is read again for every block of queries, that block should be tall.
    tall = 512 if holds else 4096
    panel = max(64, min(len(reference), 32_768, scores // tall))
    return Plan(max(1, min(tall, scores // panel)), panel, holds, sweeps)


def _can_sweep(queries: UnitRows, reference: UnitRows, k: int, allowed: int) -> bool:
    """Tell whether a sweep is worth its preparation and fits the memory allowed."""
    m, d = len(reference), reference.width
    n_rows = m if queries is reference else min(len(queries), SWEPT_TOGETHER)
    if m < FEWEST_SWEPT or n_rows < BLOCK or k > PANEL // GROUP // 2:
        return False
    # Held rows and their codes, in the largest format.
    held = 8 * d * (m if queries is reference else m + n_rows)
    lists = n_rows * (2 * k + _SPARE_PAIRS) * _PAIR_BYTES
    tile = 8 * BLOCK * PANEL + (16 * PANEL + 12 * BLOCK) * d
    return held + lists + tile <= allowed
