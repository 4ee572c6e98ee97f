"""Exact cosine nearest neighbours in blocks: a fast product proposes, exact arithmetic decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget
from tamis.neighbors.candidates import BlockPrecision, Candidates, Scorer
from tamis.neighbors.checks import check_counts, dense_groups, tie_ranks
from tamis.neighbors.exact import exact_values, exhaustive, order
from tamis.neighbors.formats import Format, Precision
from tamis.neighbors.masks import Forbidden
from tamis.neighbors.plan import FEWEST_SWEPT, SWEPT_TOGETHER, Plan, plan_search
from tamis.neighbors.precision import choose_format, faster_precision
from tamis.neighbors.sides import Side
from tamis.neighbors.sweep import Sweep
from tamis.neighbors.vectors import Matrix, UnitRows
from tamis.progress import track
from tamis.types import IntArray

_Found: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Values (b, c), columns (b, c), and whether each row is proven (b,)."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of every query, best first.

    Attributes
    ----------
    indices : (n, k) int64 array
        Reference rows; -1 where a query has fewer than ``k`` legal neighbours.
    similarities : (n, k) float32 array
        Cosine similarities in [-1, 1]; -inf where the index is -1.
    """

    indices: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float32]


def nearest_neighbors(
    queries: Matrix,
    reference: Matrix | None = None,
    *,
    k: int,
    reference_rows: IntArray | None = None,
    query_groups: IntArray | None = None,
    reference_groups: IntArray | None = None,
    tie_keys: npt.NDArray[np.uint64] | None = None,
    exclude_self: bool = True,
    allow_zero: bool = False,
    memory_budget: str | int | None = None,
    precision: Precision | Literal["auto"] = "auto",
    device: str = "cpu",
) -> Neighbors:
    """Find the ``k`` reference rows with the highest cosine similarity to each query, exactly.

    A blocked product in float32 or bfloat16 proposes a few more than ``k`` candidates; their similarities
    are computed again without rounding error on unit vectors of 24 bits. An error bound proves that no other
    row can belong to the answer; the rows where it cannot are searched again more precisely. So block size,
    threads, row order and ``precision`` change the time, never the result. Above some 200,000 rows use a
    reference subset (`choose_reference`), the work grows with the product of both sizes.

    Parameters
    ----------
    queries : (n, d) float array or tensor
        May be memory-mapped, of any float type; rows need not have unit length.
    reference : (m, d) float array or tensor, optional
        Where neighbours are looked for; by default among the queries, each row itself excluded by index.
    k : int
        At least 1.
    reference_rows : (m,) int array, optional
        Instead of ``reference``: look only among these rows of ``queries``. Indices in the answer are rows
        of ``queries``, and self is excluded.
    query_groups, reference_groups : (n,) and (m,) int array, optional
        Rows of the same group (codes; negative = no group) are never neighbours of each other. The second
        only goes with ``reference``.
    tie_keys : (n,) or (n, 2) uint64 array, optional
        Equally similar rows are ordered by this key of the reference rows, such as a content hash (of all
        ``queries`` where there is no ``reference``); by default by row number.
    exclude_self : bool
        Without ``reference``: whether a row is kept from being its own neighbour.
    allow_zero : bool
        Whether all-zero rows, which have no direction, are accepted. They get no neighbours and are nobody's.
    memory_budget : str, int or None
        Such as "64MiB", beside the arrays passed in and the answer; None allows about 1 GiB.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Of the proposing product; "auto" times all once and looks at a sample of the rows.
    device : str
        A torch device.

    Returns
    -------
    Neighbors

    Raises
    ------
    InputError
        A matrix is not two-dimensional, holds NaN, infinity or an all-zero row; widths, lengths or
        ``k`` do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> found = nearest_neighbors(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), k=1)
    >>> found.indices[:, 0]
    array([1, 0, 1])
    """
    n_reference = check_counts(queries, reference, reference_rows, k=k)
    if precision not in ("auto", "float32", "bfloat16", "int8"):
        raise InputError(f"precision is {precision!r}; choose 'auto', 'float32', 'bfloat16' or 'int8'")
    if n_reference == 0 or len(queries) == 0:
        return _nothing(len(queries), k)
    rows = None if reference_rows is None else np.asarray(reference_rows, dtype=np.int64)
    left = UnitRows(queries, "queries", allow_zero=allow_zero, device=device)
    right = left
    if reference is not None:
        right = UnitRows(reference, "reference", allow_zero=allow_zero, device=device)
    elif rows is not None:
        right = UnitRows(queries, "queries", rows=rows, allow_zero=allow_zero, device=device)
    groups = dense_groups(
        query_groups, reference_groups, rows, n=len(left), m=len(right), has_reference=reference is not None
    )
    ranks = tie_ranks(tie_keys, rows, len(left if reference is None else right))
    plan = plan_search(left, right, k=k, budget=parse_memory_budget(memory_budget), device=device)
    if plan.holds_reference and not plan.tile:
        right.hold()
    own = _own_columns(len(left), rows) if exclude_self and reference is None else None
    forbidden = Forbidden(own, *groups, right.zero_rows() if allow_zero else None)
    search = _Search(left, right, forbidden, k=k, tie_rank=ranks.to(device), plan=plan)
    found = search.run(precision, skip=left.zero_rows() if allow_zero else None)
    if rows is None:
        return found
    return Neighbors(np.where(found.indices >= 0, rows[found.indices], -1), found.similarities)


class _Search:
    """One search: the same rows go through ever more precise stages until each is proven."""

    def __init__(
        self,
        queries: UnitRows,
        reference: UnitRows,
        forbidden: Forbidden,
        *,
        k: int,
        tie_rank: torch.Tensor,
        plan: Plan,
    ) -> None:
        self._queries = queries
        self._reference = reference
        self._forbidden = forbidden
        self._k = k
        self._tie_rank = tie_rank
        self._plan = plan
        self._found = _nothing(len(queries), k)

    def run(self, precision: Precision | Literal["auto"], *, skip: torch.Tensor | None) -> Neighbors:
        """Search all queries but the skipped ones."""
        n = len(self._queries)
        pending = torch.arange(n) if skip is None else (~skip).nonzero()[:, 0]
        if self._plan.tile:
            pending = self._sweep(pending, precision)
        first: BlockPrecision = "float32" if precision == "float32" or self._plan.tile else "bfloat16"
        if precision == "auto" and not self._plan.tile:
            first = faster_precision(self._reference.width, self._tie_rank.device.type)
        stages: tuple[BlockPrecision, ...] = ("float32",) if first == "float32" else (first, "float32")
        for stage in stages:
            scorer = Scorer(
                self._reference, self._forbidden, precision=stage, k=self._k, panel=self._plan.panel
            )
            pending = self._pass(pending, self._proposer(scorer), self._plan.queries)
        # The exhaustive stage keeps three float64 blocks where a product keeps one float32 block.
        self._pass(pending, self._exhaustive, max(1, self._plan.queries // 8))
        return self._found

    def _sweep(self, rows: torch.Tensor, precision: Precision | Literal["auto"]) -> torch.Tensor:
        """Search ``rows`` with one sweep over all pairs, keep what is proven and return the other rows."""
        alive = torch.arange(len(self._reference))
        if self._forbidden.dead_columns is not None:
            alive = alive[~self._forbidden.dead_columns]
        if len(alive) < FEWEST_SWEPT:
            self._reference.hold()
            return rows
        form = choose_format(precision, self._reference, alive, self._k)
        right = Side(self._reference, alive, form)
        unproven = []
        with track("neighbours", total=len(rows)) as advance:
            for left in [right] if self._queries is self._reference else self._left_sides(rows, form):
                sweep = Sweep(
                    left,
                    right,
                    form,
                    self._forbidden,
                    tie_rank=self._tie_rank,
                    k=self._k,
                    tile=self._plan.tile,
                )
                for numbers, values, columns, is_proven in sweep.run():
                    self._store(numbers[is_proven], values[is_proven], columns[is_proven])
                    unproven.append(numbers[~is_proven])
                    advance(len(numbers))
                if not sweep.is_trusted:
                    return rows
        return torch.cat(unproven).sort().values

    def _left_sides(self, rows: torch.Tensor, form: Format) -> Iterator[Side]:
        for part in torch.split(rows, SWEPT_TOGETHER):
            yield Side(self._queries.subset(part.numpy()), torch.arange(len(part)), form, part)

    def _pass(
        self, rows: torch.Tensor, find: Callable[[torch.Tensor, torch.Tensor], _Found], block: int
    ) -> torch.Tensor:
        """Search ``rows`` block by block, keep what is proven and return the other rows."""
        if len(rows) == 0:
            return rows
        unproven = []
        with track("neighbours", total=len(rows)) as advance:
            for part in torch.split(rows, block):
                values, columns, is_proven = find(self._queries.take(part), part)
                is_proven = is_proven.cpu()
                self._store(part[is_proven], values.cpu()[is_proven], columns.cpu()[is_proven])
                unproven.append(part[~is_proven])
                advance(len(part))
        return torch.cat(unproven)

    def _store(self, rows: torch.Tensor, values: torch.Tensor, columns: torch.Tensor) -> None:
        at, width = rows.numpy(), columns.shape[1]
        is_legal = torch.isfinite(values)
        self._found.indices[at, :width] = torch.where(is_legal, columns, -1).numpy()
        bounded = torch.where(is_legal, values.clamp(-1.0, 1.0), -torch.inf)
        self._found.similarities[at, :width] = bounded.float().numpy()

    def _proposer(self, scorer: Scorer) -> Callable[[torch.Tensor, torch.Tensor], _Found]:
        def find(queries: torch.Tensor, rows: torch.Tensor) -> _Found:
            proposed = scorer.candidates(queries, rows)
            exact = exact_values(self._reference, queries, proposed.columns)
            exact.masked_fill_(torch.isinf(proposed.scores), -torch.inf)
            values, columns = order(exact, proposed.columns, self._tie_rank, self._k)
            return values, columns, _is_proven(proposed, exact, values[:, -1])

        return find

    def _exhaustive(self, queries: torch.Tensor, rows: torch.Tensor) -> _Found:
        values, columns = exhaustive(
            self._reference,
            self._forbidden,
            queries,
            rows,
            tie_rank=self._tie_rank,
            k=self._k,
            panel=self._plan.panel,
        )
        return values, columns, torch.ones(len(rows), dtype=torch.bool)


def _is_proven(proposed: Candidates, exact: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Tell for each row whether no column outside the candidates can reach the k-th similarity.

    ``last`` is the exact k-th similarity. A column outside scored at most as much as the worst candidate.
    """
    worst = proposed.scores.amin(dim=1).double()
    if proposed.is_complete:
        return torch.ones_like(worst, dtype=torch.bool)
    # Reduced-precision modes of a backend can break the promised bound: the candidates themselves show it.
    observed = (proposed.scores - exact).nan_to_num(nan=0.0).abs().amax()
    bound = torch.where(observed > proposed.bound, 2.0 * observed, proposed.bound.double())
    return torch.isinf(worst) | (worst + bound < last)


def _nothing(n: int, k: int) -> Neighbors:
    indices = np.full((n, k), -1, dtype=np.int64)
    return Neighbors(indices, np.full((n, k), -np.inf, dtype=np.float32))


def _own_columns(n: int, rows: IntArray | None) -> torch.Tensor:
    if rows is None:
        return torch.arange(n)
    own = np.full(n, -1, dtype=np.int64)
    own[rows] = np.arange(len(rows))
    return torch.from_numpy(own)
