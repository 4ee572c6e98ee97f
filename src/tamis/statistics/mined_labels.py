"""InsCLR's pseudo labels: which samples of the whole data set count as positives and negatives of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.counter_draws import sample_words
from tamis.statistics.labelled_logits import at_least_float32
from tamis.statistics.traversal import Mode, parse_mode, select_positives


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
            f"neighbors {tuple(neighbors.shape)} and similarities {tuple(similarities.shape)} differ; expected "
            "(N, K) both"
        )
    if not negative_threshold <= positive_threshold:
        raise InputError(
            f"negative_threshold is {negative_threshold}, above positive_threshold {positive_threshold}; it must "
            "not be larger"
        )
    return Pool(
        neighbors,
        pool_boundary(similarities, positive_threshold),
        pool_boundary(similarities, negative_threshold),
    )


def reject_unlike(
    features: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.6,
    is_relative: bool = False,
    always_true: int = 0,
    official: bool = False,
) -> Tensor:
    """Return the labels, negative for neighbours that are not like the anchor of their label any more.

    The anchor of a label is the first row that carries it; the others are the neighbours it brought along.

    Parameters
    ----------
    features : (B, d) float tensor
        Of samples as they are, not augmented; unit rows.
    labels : (B,) int64 tensor, above 0
    threshold : float
        Least similarity to the anchor.
    is_relative : bool
        Take it as a share of the similarity of the anchor's most similar neighbour.
    always_true : int
        So many first neighbours of every anchor are kept in any case.
    official : bool
        Give rejected rows the negative label of their anchor, as the authors' code does, which makes them
        positives of each other; by default each gets a label of its own.

    Raises
    ------
    InputError
        A label that is not above 0, or shapes that do not fit.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> reject_unlike(rows, torch.tensor([5, 5, 5])), reject_unlike(rows, torch.tensor([5, 5, 5]), official=True)
    (tensor([ 5,  5, -3]), tensor([ 5,  5, -5]))
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InputError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} do not fit together; expected "
            "(B, d) and (B,)"
        )
    if bool((labels <= 0).any()):
        raise InputError(f"labels hold {int(labels.min())}; expected pseudo labels above 0")
    rows = at_least_float32(features.detach())
    is_same = labels[:, None] == labels[None, :]
    numbers = torch.arange(len(labels), device=labels.device)
    # Position of each row among the rows of its label: 0 is the anchor.
    position = (is_same & (numbers[None, :] < numbers[:, None])).sum(dim=1)
    anchor = is_same.int().argmax(dim=1)
    similarity = (rows * rows[anchor]).sum(dim=1)
    least = torch.full_like(similarity, threshold)
    if is_relative:
        others = similarity[None, :].masked_fill(~is_same | (position == 0)[None, :], -torch.inf)
        least = threshold * others.amax(dim=1)
    is_kept = (similarity >= least) | (position <= always_true)
    own = -labels if official else -(numbers + 1)
    return torch.where(is_kept, labels, own)


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
    index = _drawn(allowed.nonzero()[:, 0], size, seed, step)
    return MemoryBatch(index, torch.full_like(index, len(is_stored) + 1))


@torch.no_grad()
def mine_labels(
    pool: Pool,
    features: Tensor,
    is_stored: Tensor,
    batch_index: Tensor,
    batch_labels: Tensor,
    *,
    mode: str | Mode = "b+i_tr4_avg0.60_k05",
    use_negatives: bool = True,
    size: int = 100_000,
    seed: int = 0,
    step: int = 0,
) -> MemoryBatch:
    """Return the rows of the memory that a batch is compared with, with pseudo labels (last stage).

    For each pseudo label: what stands before the positive boundary in the pools of its samples is positive
    from the start; what stands between the boundaries is a candidate, and `select_positives` walks from the
    batch and the initial positives to those that are like them. What stands behind the negative boundary of
    any sample is a hard negative, and more negatives are drawn at random.

    Parameters
    ----------
    pool : Pool
    features : (N, d) float tensor
        Latest features of every sample as it is, not augmented; those of the batch already among them. Unit
        rows.
    is_stored : (N,) bool tensor
        Which rows of ``features`` mean anything.
    batch_index : (B,) int64 tensor
    batch_labels : (B,) int64 tensor
        Negative = rejected: such rows bring hard negatives only. The first row of a label is its anchor.
    mode : str or Mode
    use_negatives : bool
    size : int
        Random negatives fill the answer up to so many rows.
    seed, step : int
        The draw is a pure function of them.

    Returns
    -------
    MemoryBatch
        Negatives with the label N + 1. No row twice: of several labels that claim one the highest score wins
        (pool similarity is not kept, so it is the largest similarity to the label's samples in the batch for
        initial positives, the score of the walk for others), ties go to the smaller label; a positive is
        never a negative.

    Raises
    ------
    InputError
        Lengths that do not fit together, or a mode of another form.

    References
    ----------
    .. [1] Z. Deng, Y. Zhong, S. Guo, W. Huang. "InsCLR: Improving Instance Retrieval with Self-Supervision",
       AAAI 2022, and the authors' code.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.96, 0.28], [0.8, 0.6], [0.0, 1.0]])
    >>> similarities, neighbors = (rows @ rows.T).fill_diagonal_(-2).sort(descending=True)
    >>> pool = candidate_pool(neighbors[:, :3], similarities[:, :3], positive_threshold=0.9,
    ...                       negative_threshold=0.5)
    >>> found = mine_labels(pool, rows, torch.ones(4, dtype=torch.bool), torch.tensor([0]), torch.tensor([1]))
    >>> list(zip(found.index.tolist(), found.labels.tolist()))
    [(0, 5), (1, 1), (2, 1), (3, 5)]
    """
    n = len(is_stored)
    if len(features) != n or len(pool.neighbors) != n or batch_index.shape != batch_labels.shape:
        raise InputError(
            f"features {tuple(features.shape)}, pool {tuple(pool.neighbors.shape)} and is_stored "
            f"{tuple(is_stored.shape)} must have one row a sample, batch_index {tuple(batch_index.shape)} and "
            f"batch_labels {tuple(batch_labels.shape)} one a row of the batch"
        )
    walk = parse_mode(mode) if isinstance(mode, str) else mode
    features = at_least_float32(features)
    labels = [int(label) for label in batch_labels[batch_labels > 0].unique()]
    groups = {label: _Group.of(pool, is_stored, batch_index[batch_labels == label]) for label in labels}
    is_initial = torch.zeros(n, dtype=torch.bool, device=is_stored.device)
    for group in groups.values():
        is_initial[group.initial] = True
    claims = _Claims(n, features)
    # Ascending labels, and only a higher score takes a row over: ties stay with the smaller label.
    for label, group in groups.items():
        members = features[group.batch]
        claims.add(label, group.initial, (features[group.initial] @ members.T).amax(dim=1))
        candidates = group.candidates[~is_initial[group.candidates]]
        chosen, scores = select_positives(
            members,
            features[candidates],
            features[group.initial],
            features[group.anchor_initial],
            mode=walk,
        )
        claims.add(label, candidates[chosen], scores[chosen])
    if use_negatives:
        hard = _union(pool, batch_index, pool.negative_boundary[batch_index], None, is_stored)
        claims.add_negatives(hard)
        missing = max(0, size - int((claims.labels != 0).sum()))
        others = (is_stored & (claims.labels == 0)).nonzero()[:, 0]
        claims.add_negatives(_drawn(others, missing, seed, step))
    index = (claims.labels != 0).nonzero()[:, 0]
    return MemoryBatch(index, claims.labels[index])


@dataclass(frozen=True)
class _Group:
    """What one pseudo label starts from: rows of the data set, each (m,) int64 ascending, but ``batch``."""

    batch: Tensor
    initial: Tensor
    anchor_initial: Tensor
    candidates: Tensor

    @staticmethod
    def of(pool: Pool, is_stored: Tensor, batch: Tensor) -> _Group:
        positive, negative = pool.positive_boundary[batch], pool.negative_boundary[batch]
        others = is_stored.clone()
        others[batch] = False
        first = torch.zeros_like(positive)
        return _Group(
            batch,
            _union(pool, batch, first, positive, others),
            _union(pool, batch[:1], first[:1], positive[:1], others),
            _union(pool, batch, positive, negative, is_stored),
        )


class _Claims:
    """The label of every row so far, 0 = none."""

    def __init__(self, n: int, features: Tensor) -> None:
        self._scores = torch.full((n,), -torch.inf, dtype=features.dtype, device=features.device)
        self.labels = torch.zeros(n, dtype=torch.int64, device=features.device)

    def add(self, label: int, rows: Tensor, scores: Tensor) -> None:
        wins = scores > self._scores[rows]
        self.labels[rows[wins]] = label
        self._scores[rows[wins]] = scores[wins]

    def add_negatives(self, rows: Tensor) -> None:
        self.labels[rows[self.labels[rows] == 0]] = len(self.labels) + 1


def _union(pool: Pool, rows: Tensor, start: Tensor, stop: Tensor | None, allowed: Tensor) -> Tensor:
    """Return the allowed samples at positions from ``start`` to before ``stop`` in the pools of the rows."""
    neighbors = pool.neighbors[rows]
    positions = torch.arange(neighbors.shape[1], device=neighbors.device)
    within = positions >= start[:, None]
    if stop is not None:
        within &= positions < stop[:, None]
    found = torch.zeros_like(allowed)
    found[neighbors[within & (neighbors >= 0)]] = True
    return (found & allowed).nonzero()[:, 0]


def _drawn(rows: Tensor, size: int, seed: int, step: int) -> Tensor:
    """Return at most ``size`` of the rows, ascending, drawn without replacement."""
    if len(rows) <= size:
        return rows
    words = sample_words(rows.cpu().numpy(), seed, step, "insclr memory")
    chosen = torch.from_numpy(words.argsort(kind="stable")[:size]).to(rows.device)
    return rows[chosen].sort().values
