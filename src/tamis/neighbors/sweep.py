"""Nearest neighbours by one sweep over tiles of a rough product, each pair of panels multiplied once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from tamis.neighbors.exact import order, pair_values
from tamis.neighbors.formats import Format
from tamis.neighbors.masks import Forbidden
from tamis.neighbors.shortlist import Shortlist, at_least, nonzero_places, nth_largest, ragged_to_rows
from tamis.neighbors.sides import GROUP, Panel, Side, open_panel

Bucket: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Numbers of rows (b,), values (b, c), columns (b, c), and whether each row is proven (b,)."""

# Chance per row and look that a floor guessed from the columns seen so far is too high.
_RISK = 3e-4
# A row or column with more than this share of a tile possible is left to another search.
_CROWDED = 8
_CHECKED = 256


def guessed_rank(k: int, seen: float) -> int:
    """Return the rank, among a random share ``seen`` of the columns, that almost surely has k - 1 above it.

    The smallest rank for which so many of the best k - 1 columns are in the share with a chance below 3e-4.

    Examples
    --------
    >>> guessed_rank(10, 0.04), guessed_rank(10, 0.5), guessed_rank(10, 1.0)
    (4, 10, 10)
    """
    chance = 1.0
    for rank in range(1, k):
        chance -= math.comb(k - 1, rank - 1) * seen ** (rank - 1) * (1.0 - seen) ** (k - rank)
        if chance < _RISK:
            return rank
    return k


@dataclass(frozen=True)
class _Tile:
    rows: slice  # places of its rows in the left order
    scores: torch.Tensor  # (b, w)
    best: torch.Tensor  # (b, n_groups): largest score of each group of columns
    unit: torch.Tensor  # (b, d) float32 unit rows
    exact: torch.Tensor  # (b, d) float64, the same rows


class Sweep:
    """One search of all rows of ``left`` among the rows of ``right``.

    A floor per row is a similarity that its k-th neighbour reaches. It is guessed from the columns seen so
    far, so that a wrong guess is very unlikely, and checked in the end: a row with fewer than k columns at or
    above its floor is not proven. Only pairs whose rough score leaves it possible that they reach the floor
    of their row are computed again, in float32 and then without rounding error.

    Parameters
    ----------
    left, right : Side
        The same object for a search of rows among themselves: then every product serves both its rows.
    form : Format
        Of the codes.
    forbidden : Forbidden
    tie_rank : (n_reference,) int64 tensor
    k : int
    tile : int
        Rows and columns of a tile, at most 2**15.
    """

    def __init__(
        self,
        left: Side,
        right: Side,
        form: Format,
        forbidden: Forbidden,
        *,
        tie_rank: torch.Tensor,
        k: int,
        tile: int,
    ) -> None:
        self._left, self._right = left, right
        self._form = form
        self._forbidden = forbidden
        self._tie_rank = tie_rank
        self._k = k
        self._tile = tile
        self._is_symmetric = left is right
        self._left_allowance = form.allowances(left.lost, float(right.lost.max()))
        self._right_allowance = form.allowances(right.lost, float(left.lost.max()))
        self._floor = torch.full((len(left),), -torch.inf, dtype=torch.float64)
        self._lists = [Shortlist(len(part), 4 * k + 1024) for part in torch.split(self._floor, tile)]
        # Kept from tile to tile: memory that is given back and taken again costs more than the work in it.
        padded = tile * (tile + GROUP)
        self._scores = torch.empty(padded, dtype=form.score_dtype)
        self._best = torch.empty(padded // GROUP, dtype=form.score_dtype)
        self._least = torch.empty(padded // GROUP, dtype=form.limit_dtype)
        self._exact = torch.empty((tile, right.unit.shape[1]), dtype=torch.float64)
        self._rounding = 2.0 * (right.unit.shape[1] + 8) * 2.0**-24
        self.is_trusted = True
        """Whether every product was as precise as its format promises."""

    def run(self) -> Iterator[Bucket]:
        """Yield the neighbours found, bucket by bucket."""
        for p, start in enumerate(range(0, len(self._right), self._tile)):
            stop = min(start + self._tile, len(self._right))
            rank = guessed_rank(self._k, stop / len(self._right))
            buckets = range(len(self._lists))
            if self._is_symmetric:
                # A panel with its own rows: the tile holds every pair twice, once for each row.
                self._meet(self._open(start, stop), p, rank, is_first=p == 0)
                self._compact(p, rank)
                buckets = range(p + 1, len(self._lists))
            panel = self._open(start, stop)
            for q in buckets:
                self._meet(panel, q, rank, is_first=p == 0, other=p if self._is_symmetric else None)
                if self._lists[q].is_due:
                    self._compact(q, rank)
            if self._is_symmetric:
                yield self._finish(p)
        if not self._is_symmetric:
            yield from map(self._finish, range(len(self._lists)))

    def _open(self, start: int, stop: int) -> Panel:
        floor = torch.full((stop - start,), torch.inf, dtype=torch.float64)
        if self._is_symmetric:
            floor = self._floor[start:stop]
        return open_panel(self._right, start, stop, floor, self._right_allowance[start:stop])

    def _meet(self, panel: Panel, q: int, rank: int, *, is_first: bool, other: int | None = None) -> None:
        """Go through the tile of a panel and bucket ``q``; ``other`` is the bucket of the panel's rows."""
        first = q * self._tile
        is_both = other is not None
        tile = self._multiply(panel, slice(first, min(first + self._tile, len(self._left))))
        if is_first:
            self._floor[tile.rows] = self._first_floor(tile, panel, rank)
        rows, columns = self._possible(tile, panel, is_both=is_both)
        while self._give_up(tile, panel, rows, columns, is_both=is_both):
            rows, columns = self._possible(tile, panel, is_both=is_both)
        rows, columns = self._near(tile, panel, rows, columns, is_both=is_both)
        values = pair_values(tile.exact, panel.exact, rows, columns)
        self._check(tile, panel, rows, columns, values)
        chosen = values >= self._floor[tile.rows][rows]
        self._lists[q].add(rows[chosen], panel.numbers[columns[chosen]], values[chosen])
        if other is not None:
            chosen = values >= panel.floor[columns]
            own = panel.places[columns[chosen]] - other * self._tile
            self._lists[other].add(own, self._left.numbers[tile.rows][rows[chosen]], values[chosen])

    def _multiply(self, panel: Panel, rows: slice) -> _Tile:
        b, w = rows.stop - rows.start, len(panel.places)
        scores = self._scores[: b * w].view(b, w)
        best = self._best[: b * panel.n_groups].view(b, -1)
        self._form.product(self._left.codes[rows], panel.codes, scores)
        if panel.n_padding:
            scores[:, panel.places < 0] = self._form.lowest
        self._forbidden.apply_at(scores, self._left.numbers[rows], panel.numbers, self._form.lowest)
        torch.amax(scores.view(b, GROUP, -1), dim=1, out=best)
        unit = self._left.unit[rows]
        return _Tile(rows, scores, best, unit, self._exact[:b].copy_(unit))

    def _first_floor(self, tile: _Tile, panel: Panel, rank: int) -> torch.Tensor:
        """Return the exact ``rank``-th largest similarity among the best columns of the best groups."""
        b = len(tile.best)
        best = tile.best.to(self._form.limit_dtype, copy=True)
        rankth = nth_largest(best, min(rank, panel.n_groups)).unsqueeze(1)
        rows, groups = ((tile.best >= rankth) & (tile.best > self._form.lowest)).nonzero(as_tuple=True)
        inside = tile.scores.view(b, GROUP, -1)[rows, :, groups].argmax(dim=1)
        values = pair_values(tile.exact, panel.exact, rows, inside * panel.n_groups + groups)
        floor = nth_largest(ragged_to_rows(rows, values, b)[0], rank)
        # A row that has seen too few legal columns would ask for every pair: it is left to another search.
        return torch.where(torch.isinf(floor), torch.inf, floor)

    def _possible(self, tile: _Tile, panel: Panel, *, is_both: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pairs, sorted by row, whose scores may reach the floor of one of their rows."""
        w, n_groups = tile.scores.shape[1], panel.n_groups
        floor = self._form.scores(self._floor[tile.rows]).unsqueeze(1)
        least = self._least[: tile.best.numel()].view(tile.best.shape)
        if is_both:
            torch.minimum(floor, self._form.scores(panel.lowest_floors()), out=least)
        else:
            least.copy_(floor.expand_as(least))
        least.sub_(self._left_allowance[tile.rows].unsqueeze(1)).sub_(panel.allowance)
        groups = nonzero_places(at_least(tile.best, least))
        # Places in the flattened tile: of the group's first column, and of the others after it.
        first = groups // n_groups * (w - n_groups) + groups
        inside = torch.arange(0, w, n_groups)
        scores = tile.scores.view(-1).index_select(0, (first.unsqueeze(1) + inside).view(-1)).view(-1, GROUP)
        limit = least.view(-1).index_select(0, groups).unsqueeze(1)
        found = nonzero_places(at_least(scores, limit))
        place = first[found // GROUP] + inside[found % GROUP]
        return place // w, place % w

    def _give_up(
        self, tile: _Tile, panel: Panel, rows: torch.Tensor, columns: torch.Tensor, *, is_both: bool
    ) -> bool:
        """Give up rows for which the product tells too little; return whether there were any."""
        b, w = tile.scores.shape
        if len(rows) <= b * w // (4 * _CROWDED):
            return False
        floor = self._floor[tile.rows]
        crowded = (torch.bincount(rows, minlength=b) > w // _CROWDED + 4 * self._k) & torch.isfinite(floor)
        floor[crowded] = torch.inf
        if not is_both:
            return bool(crowded.any())
        full = (torch.bincount(columns, minlength=w) > b // _CROWDED + 4 * self._k) & torch.isfinite(
            panel.floor
        )
        panel.floor[full] = torch.inf
        self._floor[panel.places[full]] = torch.inf
        return bool(crowded.any() or full.any())

    def _near(
        self, tile: _Tile, panel: Panel, rows: torch.Tensor, columns: torch.Tensor, *, is_both: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the pairs that reach a floor in float32, give or take its rounding."""
        floor = self._floor[tile.rows][rows]
        if is_both:
            floor = torch.minimum(floor, panel.floor[columns])
        near = pair_values(tile.unit, panel.rows, rows, columns) >= (floor - self._rounding).float()
        return rows[near], columns[near]

    def _check(
        self, tile: _Tile, panel: Panel, rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor
    ) -> None:
        """Notice a backend whose product is less precise than promised."""
        # Some pairs of every tile: imprecise modes err everywhere.
        rows, columns, values = rows[:_CHECKED], columns[:_CHECKED], values[:_CHECKED]
        scores = tile.scores[rows, columns]
        allowed = self._left_allowance[tile.rows][rows] + panel.allowance[columns % panel.n_groups]
        self.is_trusted &= bool(self._form.is_within(scores, values, allowed).all())

    def _compact(self, q: int, rank: int) -> None:
        self._lists[q].compact(self._floor[q * self._tile : (q + 1) * self._tile], rank)

    def _finish(self, q: int) -> Bucket:
        """Return the neighbours of the rows of bucket ``q``, which have seen every column."""
        self._compact(q, self._k)
        here = slice(q * self._tile, (q + 1) * self._tile)
        rows, columns, values = self._lists[q].take()
        n_rows = len(self._floor[here])
        matrix, place = ragged_to_rows(rows, values, n_rows)
        candidates = torch.zeros(matrix.shape, dtype=torch.int64)
        candidates[rows, place] = columns
        is_proven = torch.bincount(rows, minlength=n_rows) >= self._k
        values, columns = order(matrix, candidates, self._tie_rank, self._k)
        return self._left.numbers[here], values, columns, is_proven
