"""InsCLR's pool of likely positives and negatives of every sample, and what is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.counter_draws import sample_words


@dataclass(frozen=True)
class Pool:
    """The most similar samples of every sample, from an earlier stage of the network.

    Attributes
    ----------
    neighbors : (N, K) int64 tensor
        Best first, the sample itself excluded; -1 = none.
    positive_boundary, negative_boundary : (N,) int64 tensor
        Positions before the first count as positives, from the second on as negatives, between them the
        walk decides.
    """

    neighbors: Tensor
    positive_boundary: Tensor
    negative_boundary: Tensor


@dataclass(frozen=True)
class MemoryBatch:
    """Rows of the memory that a batch is compared with.

    Attributes
    ----------
    index : (M,) int64 tensor
        Rows of the data set, ascending.
    labels : (M,) int64 tensor
        Their pseudo labels.
    """

    index: Tensor
    labels: Tensor


def pool_boundary(similarities: Tensor, threshold: float) -> Tensor:
    """Return for each row 1 + the last position with a similarity of at least ``threshold``; 0 without any.

    Parameters
    ----------
    similarities : (N, K) float tensor
        Falling along each row.
    threshold : float

    Examples
    --------
    >>> pool_boundary(torch.tensor([[0.9, 0.8, 0.1], [0.3, 0.2, 0.1]]), 0.5)
    tensor([2, 0])
    """
    positions = torch.arange(1, similarities.shape[1] + 1, device=similarities.device)
    reached = torch.where(similarities >= threshold, positions, 0)
    return reached.amax(dim=1) if similarities.shape[1] else reached.sum(dim=1)


def candidate_pool(
    neighbors: Tensor, similarities: Tensor, *, positive_threshold: float, negative_threshold: float
) -> Pool:
    """Return the pool with the boundaries of two thresholds.

    Parameters
    ----------
    neighbors : (N, K) int64 tensor
        From an exact search such as `tamis.neighbors.nearest_neighbors`, the sample itself excluded.
    similarities : (N, K) float tensor
        Falling along each row.
    positive_threshold, negative_threshold : float
        The second at most the first.

    Raises
    ------
    InputError
        Shapes that differ, or thresholds in the wrong order.

    Examples
    --------
    >>> pool = candidate_pool(torch.tensor([[1], [0]]), torch.tensor([[0.9], [0.9]]), positive_threshold=0.8,
    ...                       negative_threshold=0.5)
    >>> pool.positive_boundary
    tensor([1, 1])
    """
    if neighbors.ndim != 2 or neighbors.shape != similarities.shape:
        raise InputError(
            f"neighbors {tuple(neighbors.shape)} and similarities {tuple(similarities.shape)} differ; "
            "expected (N, K) both"
        )
    if not negative_threshold <= positive_threshold:
        raise InputError(
            f"negative_threshold is {negative_threshold}, above positive_threshold {positive_threshold}; it "
            "must not be larger"
        )
    return Pool(
        neighbors,
        pool_boundary(similarities, positive_threshold),
        pool_boundary(similarities, negative_threshold),
    )


@torch.no_grad()
def random_negatives(
    pool: Pool,
    is_stored: Tensor,
    batch_index: Tensor,
    *,
    size: int = 100_000,
    n_excluded: int = 50,
    seed: int = 0,
    step: int = 0,
) -> MemoryBatch:
    """Return stored samples that are unlike every sample of the batch, as negatives of all (early stages).

    Parameters
    ----------
    pool : Pool
    is_stored : (N,) bool tensor
    batch_index : (B,) int64 tensor
    size : int
        At most so many, drawn without replacement.
    n_excluded : int
        The first so many of the pool of each sample of the batch may be positives and are left out; so are
        the samples of the batch themselves.
    seed, step : int
        The draw is a pure function of them.

    Returns
    -------
    MemoryBatch
        All with the label N + 1.

    Examples
    --------
    >>> pool = candidate_pool(torch.tensor([[1], [0], [0]]), torch.ones(3, 1), positive_threshold=0.8,
    ...                       negative_threshold=0.5)
    >>> random_negatives(pool, torch.tensor([True, True, True]), torch.tensor([0])).index
    tensor([2])
    """
    allowed = is_stored.clone()
    allowed[batch_index] = False
    near = pool.neighbors[batch_index, :n_excluded].flatten()
    allowed[near[near >= 0]] = False
    index = drawn_rows(allowed.nonzero()[:, 0], size, seed, step)
    return MemoryBatch(index, torch.full_like(index, len(is_stored) + 1))


def pool_members(pool: Pool, rows: Tensor, start: Tensor, stop: Tensor | None, allowed: Tensor) -> Tensor:
    """Return the allowed samples at positions from ``start`` to before ``stop`` in the pools of the rows.

    Parameters
    ----------
    pool : Pool
    rows : (b,) int64 tensor
    start : (b,) int64 tensor
    stop : (b,) int64 tensor or None
        None = to the end.
    allowed : (N,) bool tensor

    Returns
    -------
    (m,) int64 tensor
        Ascending, each once.
    """
    neighbors = pool.neighbors[rows]
    positions = torch.arange(neighbors.shape[1], device=neighbors.device)
    within = positions >= start[:, None]
    if stop is not None:
        within &= positions < stop[:, None]
    found = torch.zeros_like(allowed)
    found[neighbors[within & (neighbors >= 0)]] = True
    return (found & allowed).nonzero()[:, 0]


def drawn_rows(rows: Tensor, size: int, seed: int, step: int) -> Tensor:
    """Return at most ``size`` of the rows, ascending, drawn without replacement by ``(seed, step)``.

    Examples
    --------
    >>> drawn_rows(torch.tensor([7, 9]), 5, seed=0, step=3)
    tensor([7, 9])
    """
    if len(rows) <= size:
        return rows
    words = sample_words(rows.cpu().numpy(), seed, step, "insclr memory")
    chosen = torch.from_numpy(words.argsort(kind="stable")[:size]).to(rows.device)
    return rows[chosen].sort().values
