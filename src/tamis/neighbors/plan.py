"""How a search is cut up: by the sizes of both sides and the memory allowed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tamis.neighbors.sides import GROUP
from tamis.neighbors.vectors import UnitRows

# Fewer reference rows are searched as fast block by block.
FEWEST_SWEPT = 8192
# Queries that are swept at once, where they are not the reference rows themselves.
SWEPT_TOGETHER = 32_768

# Sides of a tile. Large ones need fewer passes; the first of the panels has to be a small share of all.
_TILES = (4096, 2048, 1024)
_FEWEST_PANELS = 8

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
    tile : int
        Rows and columns of a tile of the sweep that searches most rows; 0 for a search without sweep.
    """

    queries: int
    panel: int
    holds_reference: bool
    tile: int


def plan_search(queries: UnitRows, reference: UnitRows, *, k: int, budget: int | None, device: str) -> Plan:
    """Return the plan of a search for ``k`` neighbours within ``budget`` bytes, by default 1 GiB."""
    allowed = _DEFAULT_BUDGET if budget is None else min(budget, _DEFAULT_BUDGET)
    tile = _largest_tile(queries, reference, k, allowed) if torch.device(device).type == "cpu" else 0
    # Held rows take 4 bytes a value and, in bfloat16, 2 more.
    holds = tile > 0 or 6 * len(reference) * reference.width <= allowed // 2
    scores = min(allowed // 8, 2**26) // 4
    # Where the reference is read again for every block of queries, that block should be tall.
    tall = 512 if holds else 4096
    panel = max(64, min(len(reference), 32_768, scores // tall))
    return Plan(max(1, min(tall, scores // panel)), panel, holds, tile)


def _largest_tile(queries: UnitRows, reference: UnitRows, k: int, allowed: int) -> int:
    """Return the side of the tiles of a sweep within the memory allowed, 0 where it is not worth while."""
    m, d = len(reference), reference.width
    n_rows = m if queries is reference else min(len(queries), SWEPT_TOGETHER)
    # Held rows and their codes.
    held = 6 * d * (m if queries is reference else m + n_rows)
    lists = n_rows * (2 * k + _SPARE_PAIRS) * _PAIR_BYTES
    for tile in _TILES:
        # Scores with limits of their groups and a search among them; unit rows in float32 and float64, codes.
        size = 7 * tile * tile + 24 * tile * d
        is_small = tile * _FEWEST_PANELS <= m and k <= tile // GROUP // 2
        if m >= FEWEST_SWEPT and n_rows >= 1024 and is_small and held + lists + size <= allowed:
            return tile
    return 0
