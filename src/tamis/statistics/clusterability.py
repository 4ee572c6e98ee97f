"""Label consensus of a point and its two nearest neighbours: counts, the model of them, the objective."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

MOST_CLASSES = 300
"""Beyond it the counts of triples (classes cubed) take gigabytes."""

_LOG_FLOOR = 0.01
_PEAK_WEIGHT = 0.1


class Consensus(NamedTuple):
    """Shares of label singles, pairs and triples; each sums to 1 (K classes, leading axes = a batch).

    Attributes
    ----------
    c1 : (..., K) float64 tensor
    c2 : (..., K, K) float64 tensor
    c3 : (..., K, K, K) float64 tensor
    """

    c1: torch.Tensor
    c2: torch.Tensor
    c3: torch.Tensor


class ConsensusCounts:
    """How often labels ``(a, b, c)`` meet: on a point and its two neighbours, or from three annotators.

    The state is a sum: blocks may come in any order and states of parts may be merged.

    Parameters
    ----------
    n_classes : int
        2 to 300.

    Raises
    ------
    InputError
        ``n_classes`` is out of range.

    Examples
    --------
    >>> counts = ConsensusCounts(2).partial_fit(np.array([[0, 0, 1], [1, 1, 1]]))
    >>> counts.shares().c2
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """

    def __init__(self, n_classes: int) -> None:
        if not 2 <= n_classes <= MOST_CLASSES:
            raise InputError(
                f"n_classes is {n_classes}; label consensus needs 2 to {MOST_CLASSES} classes, because it "
                "counts every triple of them: group rare classes, or treat parts of the classes apart"
            )
        self.n_classes = n_classes
        self.triples: npt.NDArray[np.int64] = np.zeros((n_classes, n_classes, n_classes), dtype=np.int64)

    @property
    def n(self) -> int:
        """Number of triples counted."""
        return int(self.triples.sum())

    @property
    def pairs(self) -> npt.NDArray[np.int64]:
        """(K, K) counts of the first two labels."""
        return np.asarray(self.triples.sum(axis=2))

    @property
    def singles(self) -> npt.NDArray[np.int64]:
        """(K,) counts of the first label."""
        return np.asarray(self.triples.sum(axis=(1, 2)))

    def partial_fit(self, triples: IntArray) -> Self:
        """Add a block of label triples.

        Parameters
        ----------
        triples : (m, 3) int
            Class codes: the point's label, then the labels of its nearest and second nearest neighbour; or
            the answers of three annotators.

        Raises
        ------
        InputError
            Another shape, or a code outside 0..K-1.
        """
        block = np.asarray(triples)
        if block.ndim != 2 or block.shape[1] != 3 or not np.issubdtype(block.dtype, np.integer):
            raise InputError(
                f"triples has shape {block.shape} and dtype {block.dtype}; pass (m, 3) integer class codes"
            )
        is_bad = ((block < 0) | (block >= self.n_classes)).any(axis=1)
        if is_bad.any():
            row = int(is_bad.argmax())
            raise InputError(
                f"triples row {row} is {block[row].tolist()}; codes run from 0 to {self.n_classes - 1}: "
                "leave out rows with a missing label"
            )
        k = self.n_classes
        flat = (block[:, 0].astype(np.int64) * k + block[:, 1]) * k + block[:, 2]
        self.triples += np.bincount(flat, minlength=k**3).reshape(k, k, k)
        return self

    def merge(self, other: ConsensusCounts) -> Self:
        """Add the counts of another part of the data."""
        if other.n_classes != self.n_classes:
            raise InputError(
                f"merge: counts of {other.n_classes} classes do not go with {self.n_classes}; "
                "make every part with the same n_classes"
            )
        self.triples += other.triples
        return self

    def shares(self) -> Consensus:
        """Return the shares of singles, pairs and triples.

        Raises
        ------
        InputError
            Nothing was counted yet.
        """
        n = self.n
        if n == 0:
            raise InputError("no label triples were counted; call partial_fit with at least one")
        return Consensus(*(torch.from_numpy(each / n) for each in (self.singles, self.pairs, self.triples)))


def population_consensus(
    transition: FloatArray | torch.Tensor, prior: FloatArray | torch.Tensor
) -> Consensus:
    """Return the shares that a transition matrix and a clean prior imply.

    A point and its two neighbours share the true class, and their labels are independent given it:
    ``c3[a, b, c] = sum_i p_i T_ia T_ib T_ic``, and likewise for pairs and singles.

    Parameters
    ----------
    transition : (..., K, K) float
        ``T[i, j] = P(label j | true class i)``, rows sum to 1.
    prior : (..., K) float
        ``P(true class i)``.

    Returns
    -------
    Consensus
        Differentiable where the arguments are tensors.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> population_consensus(np.eye(2), np.array([0.25, 0.75])).c2
    tensor([[0.2500, 0.0000],
            [0.0000, 0.7500]], dtype=torch.float64)
    """
    t = torch.as_tensor(transition, dtype=torch.float64)
    p = torch.as_tensor(prior, dtype=torch.float64)
    k = t.shape[-1]
    if t.shape[-2] != k or p.shape != t.shape[:-1]:
        raise InputError(
            f"transition has shape {tuple(t.shape)} and prior {tuple(p.shape)}; pass (K, K) and (K,)"
        )
    weighted = p.unsqueeze(-1) * t
    pairs = (t.unsqueeze(-1) * t.unsqueeze(-2)).flatten(-2)  # (..., i, a * b)
    c3 = (pairs.mT @ weighted).reshape(*p.shape[:-1], k, k, k)
    return Consensus(weighted.sum(dim=-2), t.mT @ weighted, c3)


def hoc_objective(
    transition_logits: torch.Tensor,
    prior_logits: torch.Tensor,
    observed: Consensus,
    *,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    is_peaked: bool = False,
) -> torch.Tensor:
    """Return how far the model's shares are from the observed ones.

    The sum of three Euclidean norms, not squared, of the differences in singles, pairs and triples.

    Parameters
    ----------
    transition_logits : (..., K, K) float64 tensor
        The transition matrix is their softmax over the last axis.
    prior_logits : (..., K) float64 tensor
        The prior is their softmax.
    observed : Consensus
    weights : three floats
        Of singles, pairs and triples.
    is_peaked : bool
        Add ``mean(log(p + 0.01)) / 10``, which pushes the prior towards few classes; used for the labels of
        a small neighbourhood.

    Returns
    -------
    (...) float64 tensor
        Differentiable.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> logits = torch.zeros(2, 2, dtype=torch.float64)
    >>> observed = population_consensus(np.full((2, 2), 0.5), np.full(2, 0.5))
    >>> float(hoc_objective(logits, torch.zeros(2, dtype=torch.float64), observed))
    0.0
    """
    prior = prior_logits.softmax(dim=-1)
    model = population_consensus(transition_logits.softmax(dim=-1), prior)
    loss = torch.zeros(prior.shape[:-1], dtype=torch.float64, device=prior.device)
    for n_axes, (weight, seen, expected) in enumerate(zip(weights, observed, model, strict=True), start=1):
        loss = loss + weight * torch.linalg.vector_norm(seen - expected, dim=tuple(range(-n_axes, 0)))
    if is_peaked:
        loss = loss + _PEAK_WEIGHT * (prior + _LOG_FLOOR).log().mean(dim=-1)
    return loss
