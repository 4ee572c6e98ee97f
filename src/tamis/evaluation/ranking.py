"""The levels of relevant items for every query: from short exact lists, from all items where those end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tamis.evaluation.embeddings import Labelled
from tamis.memory_budget import parse_memory_budget
from tamis.metrics.relevant_levels import RelevantLevels, levels_of_ranking
from tamis.neighbors import nearest_neighbors
from tamis.neighbors.vectors import Matrix, UnitRows
from tamis.types import BoolArray, FloatArray, IntArray

_DEFAULT_BUDGET = 2**30
# Ranks listed beyond those asked for: a short tie that crosses the last one is then seen whole.
_SPARE = 4
# Longer lists take longer than looking at every item.
LONGEST_LIST = 256
# Bytes of a listed item: in the answer of the search; while it is turned into levels.
_ANSWER_BYTES, _LEVEL_BYTES = 12, 80
_SHORTLIST_BYTES = 14
_PANEL = 4096


class Need(NamedTuple):
    """How much of the ranking of each query matters.

    Attributes
    ----------
    depth : (n,) int64 array
        Ranks that must be known, at least 1.
    first_within : int
        The first relevant item must be known if it is among so many ranks.
    has_all : bool
        Whether all must be known.
    """

    depth: npt.NDArray[np.int64]
    first_within: int
    has_all: bool


class Ranking:
    """The rankings of a gallery for each query.

    Parameters
    ----------
    queries, gallery : Labelled
    is_own : bool
        Whether the queries are the rows of the gallery, in its order: none is then found by itself.
    memory_budget : str, int or None
        Beside the embeddings; None allows about 1 GiB.
    device : str
    """

    def __init__(
        self,
        queries: Labelled,
        gallery: Labelled,
        *,
        is_own: bool,
        memory_budget: str | int | None,
        device: str,
    ) -> None:
        self._queries, self._gallery = queries, gallery
        self._is_own = is_own
        # Distances as angles have other rows on either side.
        self._is_symmetric = is_own and queries.rows is gallery.rows
        self._allowed = min(parse_memory_budget(memory_budget) or _DEFAULT_BUDGET, _DEFAULT_BUDGET)
        self._device = device
        n_classes = int(max(queries.codes.max(), gallery.codes.max())) + 1
        counts = np.bincount(gallery.codes, minlength=n_classes)
        self.n_relevant: npt.NDArray[np.int64] = counts[queries.codes] - int(self._is_own)
        self.n_ranks = len(gallery) - int(self._is_own)
        # Members of each class, class after class.
        self._members = np.argsort(gallery.codes, kind="stable")
        self._first_member = np.cumsum(counts) - counts

    def levels(self, need: Need) -> Iterator[tuple[IntArray, RelevantLevels]]:
        """Yield rows of queries with the levels of their relevant items; every query with any comes once."""
        is_asked = self.n_relevant > 0
        depth = np.minimum(need.depth, self.n_ranks)
        # A row of zeros is equally similar to all items: no list shows that.
        is_listed = is_asked & (depth + _SPARE <= LONGEST_LIST) & ~self._queries.is_zero & (not need.has_all)
        left_over: list[IntArray] = [np.flatnonzero(is_asked & ~is_listed)]
        for rows in self._chunks(np.flatnonzero(is_listed), depth):
            values, columns = self._lists(rows, int(depth[rows].max()) + _SPARE)
            for part in _parts(len(rows), self._allowed // 8 // (_LEVEL_BYTES * values.shape[1])):
                levels, is_decided = self._levels_of(
                    values[part], columns[part], rows[part], depth[rows[part]], need.first_within
                )
                left_over.append(rows[part][~is_decided])
                yield rows[part][is_decided], levels.take(is_decided)
        yield from self._all_levels(np.concatenate(left_over))

    def _chunks(self, rows: IntArray, depth: IntArray) -> Iterator[IntArray]:
        """Yield rows that are searched together."""
        if len(rows) == 0:
            return
        k = int(depth[rows].max()) + _SPARE
        n, d = self._gallery.rows.shape
        shortlists = n * (6 * d + (2 * k + 50) * _SHORTLIST_BYTES)
        fits = 4 * _ANSWER_BYTES * k * n <= self._allowed and 2 * shortlists <= self._allowed
        if self._is_symmetric and fits:
            # Among themselves: every product serves two rows.
            yield rows
            return
        rows = rows[np.argsort(depth[rows], kind="stable")]
        while len(rows):
            size = max(1, self._allowed // 4 // (_ANSWER_BYTES * (int(depth[rows[0]]) + _SPARE)))
            k = int(depth[rows[:size][-1]]) + _SPARE
            size = max(1, self._allowed // 4 // (_ANSWER_BYTES * k))
            yield np.sort(rows[:size])
            rows = rows[size:]

    def _lists(self, rows: IntArray, k: int) -> tuple[FloatArray, IntArray]:
        """Return similarities and gallery rows of the ``k`` nearest items of some queries."""
        budget = max(2**20, self._allowed // 2)
        k = min(k, self.n_ranks)
        zeros = bool(self._gallery.is_zero.any())
        if self._is_symmetric and 2 * len(rows) >= len(self._queries):
            found = nearest_neighbors(
                self._queries.rows, k=k, allow_zero=zeros, memory_budget=budget, device=self._device
            )
            return found.similarities[rows], found.indices[rows]
        found = nearest_neighbors(
            _rows_of(self._queries.rows, rows),
            self._gallery.rows,
            k=k + int(self._is_own),
            allow_zero=zeros,
            memory_budget=budget,
            device=self._device,
        )
        if not self._is_own:
            return found.similarities, found.indices
        # One more was asked for: the query itself goes, or the last one where copies stand before it.
        is_kept = found.indices != rows[:, None]
        is_kept[is_kept.all(axis=1), -1] = False
        shape = (len(rows), k)
        return found.similarities[is_kept].reshape(shape), found.indices[is_kept].reshape(shape)

    def _levels_of(
        self, values: FloatArray, columns: IntArray, rows: IntArray, depth: IntArray, first_within: int
    ) -> tuple[RelevantLevels, BoolArray]:
        """Return the levels of lists, and which lists are long enough."""
        hits = (self._gallery.codes[columns] == self._queries.codes[rows][:, None]) & (columns >= 0)
        is_whole = (columns >= 0).sum(axis=1) == self.n_ranks
        rest = np.where(is_whole, -np.inf, values[:, -1])
        if self._gallery.is_zero.any():
            # Rows of zeros are in no list; their similarity is 0.
            rest = np.where(is_whole, rest, np.maximum(rest, 0.0))
        levels = levels_of_ranking(hits, values, self.n_relevant[rows], rest)
        # Ranks whose levels do not go on outside of the list.
        n_known = (values > rest[:, None]).sum(axis=1)
        has_first = np.bincount(levels.query, minlength=len(rows)) > 0
        is_decided = (n_known >= depth) & (has_first | (n_known >= first_within))
        return levels, is_decided | is_whole

    def _all_levels(self, rows: IntArray) -> Iterator[tuple[IntArray, RelevantLevels]]:
        """Yield the levels of queries that are compared with every item, in float64."""
        if len(rows) == 0:
            return
        rows = rows[np.argsort(self.n_relevant[rows], kind="stable")]
        gallery = UnitRows(self._gallery.rows, "embeddings", allow_zero=True, device=self._device)
        queries = UnitRows(self._queries.rows, "embeddings", allow_zero=True, device=self._device)
        if 4 * len(gallery) * gallery.width <= self._allowed // 2:
            gallery.hold()
        # Of a query: similarities, and places, counts and measures of its relevant items.
        size = 8 * len(gallery) + 200 * int(self.n_relevant[rows].max())
        height = max(1, min(512, self._allowed // 4 // size))
        block = torch.empty((height, len(gallery)), dtype=torch.float32, device=self._device)
        for part in _parts(len(rows), height):
            chosen = rows[part]
            _similarities(queries.take(torch.from_numpy(chosen)), gallery, block[: len(chosen)])
            if self._is_own:
                block[torch.arange(len(chosen)), torch.from_numpy(chosen)] = -torch.inf
            yield chosen, self._count(block[: len(chosen)], chosen)

    def _count(self, similarities: torch.Tensor, rows: IntArray) -> RelevantLevels:
        """Return the levels of queries with all their similarities; these are sorted in place."""
        codes = self._queries.codes[rows]
        counts = self.n_relevant[rows] + int(self._is_own)
        # Rising similarities of the relevant items, infinite beyond the last.
        place = np.arange(counts.max())
        member = self._first_member[codes][:, None] + np.minimum(place, counts[:, None] - 1)
        columns = torch.from_numpy(self._members[member]).to(similarities.device)
        own = similarities.gather(1, columns)
        own[torch.from_numpy(place >= counts[:, None]).to(own.device)] = torch.inf
        # The query itself, -inf, goes there too.
        own = torch.where(torch.isinf(own), torch.inf, own)
        _sort(own)
        _sort(similarities)
        below = torch.searchsorted(similarities, own).cpu().numpy()
        reached = torch.searchsorted(similarities, own, right=True).cpu().numpy()
        values = own.cpu().numpy()
        is_start = np.isfinite(values)
        is_start[:, 1:] &= values[:, 1:] != values[:, :-1]
        # Turned around: the most similar level first.
        query, at = np.nonzero(is_start[:, ::-1])
        at = values.shape[1] - 1 - at
        stop = np.where(np.diff(query, prepend=-1) > 0, self.n_relevant[rows][query], np.roll(at, 1))
        above = similarities.shape[1] - reached[query, at]
        size = reached[query, at] - below[query, at]
        return RelevantLevels(self.n_relevant[rows], query, above, size, stop - at)


def _similarities(queries: torch.Tensor, gallery: UnitRows, out: torch.Tensor) -> None:
    """Write similarities rounded to float32 as the search gives them: products on the grid are exact."""
    left = queries.double()
    for start in range(0, len(gallery), _PANEL):
        panel = gallery.block(start, min(start + _PANEL, len(gallery))).double()
        out[:, start : start + len(panel)] = (left @ panel.T).clamp_(-1.0, 1.0)


def _sort(rows: torch.Tensor) -> None:
    """Sort every row in place, rising."""
    if rows.device.type == "cpu":
        # numpy sorts some ten times faster than torch.
        rows.numpy().sort(axis=1)
    else:
        rows.copy_(rows.sort(dim=1).values)


def _parts(n: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _rows_of(rows: Matrix, index: IntArray) -> Matrix:
    if isinstance(rows, torch.Tensor):
        return rows.detach()[torch.from_numpy(index).to(rows.device)]
    return rows[index]
