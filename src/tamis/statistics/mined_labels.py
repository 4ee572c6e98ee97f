"""InsCLR's pseudo labels: which samples of the whole data set count as positives and negatives of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.candidate_pool import MemoryBatch, Pool, drawn_rows, pool_members
from tamis.statistics.labelled_logits import at_least_float32
from tamis.statistics.traversal import Mode, parse_mode, select_positives


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
        (of an initial positive the largest similarity to the label's samples in the batch, of others that of
        the walk), ties go to the smaller label; a positive is never a negative.

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
    >>> from tamis.statistics.candidate_pool import candidate_pool
    >>> rows = torch.tensor([[1.0, 0.0], [0.96, 0.28], [0.8, 0.6], [0.0, 1.0]])
    >>> similarities, neighbors = (rows @ rows.T).fill_diagonal_(-2).sort(descending=True)
    >>> pool = candidate_pool(neighbors[:, :3], similarities[:, :3], positive_threshold=0.9,
    ...                       negative_threshold=0.5)
    >>> found = mine_labels(pool, rows, torch.ones(4, dtype=torch.bool), torch.tensor([0]), torch.tensor([1]))
    >>> list(zip(found.index.tolist(), found.labels.tolist()))
    [(0, 5), (1, 1), (2, 1), (3, 5)]
    """
    _refuse_lengths(pool, features, is_stored, batch_index, batch_labels)
    walk = parse_mode(mode) if isinstance(mode, str) else mode
    features = at_least_float32(features)
    # Ascending labels, and only a higher score takes a row over: ties stay with the smaller label.
    labels = sorted({label for label in batch_labels.tolist() if label > 0})
    groups = {label: _Group.of(pool, is_stored, batch_index[batch_labels == label]) for label in labels}
    is_initial = torch.zeros_like(is_stored)
    for group in groups.values():
        is_initial[group.initial] = True
    claims = _Claims(features)
    for label, group in groups.items():
        members, initial = features[group.batch], features[group.initial]
        claims.add(label, group.initial, (initial @ members.T).amax(dim=1))
        candidates = group.candidates[~is_initial[group.candidates]]
        chosen, scores = select_positives(
            members, features[candidates], initial, features[group.anchor_initial], mode=walk
        )
        claims.add(label, candidates[chosen], scores[chosen])
    if use_negatives:
        claims.add_negatives(
            pool_members(pool, batch_index, pool.negative_boundary[batch_index], None, is_stored)
        )
        others = (is_stored & (claims.labels == 0)).nonzero()[:, 0]
        claims.add_negatives(drawn_rows(others, max(0, size - claims.count()), seed, step))
    index = (claims.labels != 0).nonzero()[:, 0]
    return MemoryBatch(index, claims.labels[index])


@dataclass(frozen=True)
class _Group:
    """What one pseudo label starts from: rows of the data set, ascending; ``batch`` as it came."""

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
            pool_members(pool, batch, first, positive, others),
            pool_members(pool, batch[:1], first[:1], positive[:1], others),
            pool_members(pool, batch, positive, negative, is_stored),
        )


class _Claims:
    """The label of every row so far, 0 = none."""

    def __init__(self, features: Tensor) -> None:
        n = len(features)
        self._scores = torch.full((n,), -torch.inf, dtype=features.dtype, device=features.device)
        self.labels = torch.zeros(n, dtype=torch.int64, device=features.device)

    def add(self, label: int, rows: Tensor, scores: Tensor) -> None:
        wins = scores > self._scores[rows]
        self.labels[rows[wins]] = label
        self._scores[rows[wins]] = scores[wins]

    def add_negatives(self, rows: Tensor) -> None:
        self.labels[rows[self.labels[rows] == 0]] = len(self.labels) + 1

    def count(self) -> int:
        return int((self.labels != 0).sum())


def _refuse_lengths(
    pool: Pool, features: Tensor, is_stored: Tensor, batch_index: Tensor, batch_labels: Tensor
) -> None:
    n = len(is_stored)
    if len(features) != n or len(pool.neighbors) != n or batch_index.shape != batch_labels.shape:
        raise InputError(
            f"features {tuple(features.shape)}, pool {tuple(pool.neighbors.shape)} and is_stored "
            f"{tuple(is_stored.shape)} must have one row a sample, batch_index {tuple(batch_index.shape)} "
            f"and batch_labels {tuple(batch_labels.shape)} one a row of the batch"
        )
