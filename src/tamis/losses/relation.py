"""Graphs of the similarities in a batch, and how far a student's graph is from a teacher's."""

from __future__ import annotations

import torch
from torch import nn

from tamis.errors import InputError
from tamis.losses.cosine import cosines, unit_rows, without_autocast

# Finite: minus infinity times 0 would be NaN.
_MASKED = -1e30

# Similarities of equal samples differ by the rounding of a product, which depends on their place in it.
_TIE = 16.0


def relation_graph(features: torch.Tensor) -> torch.Tensor:
    """Return the cosine of every pair of rows.

    Parameters
    ----------
    features : (B, D) float tensor

    Returns
    -------
    (B, B) tensor
        In [-1, 1], in float32 or better; 0 in the row and the column of a sample with features of zeros.

    Examples
    --------
    >>> relation_graph(torch.tensor([[2.0, 0.0], [3.0, 4.0]]))
    tensor([[1.0000, 0.6000],
            [0.6000, 1.0000]])
    """
    unit = unit_rows(features)
    with without_autocast(unit):
        return unit @ unit.T


def neighbor_mask(graph: torch.Tensor, k: int | None = None) -> torch.Tensor:
    """Return which pairs count: for each row its k most similar others, or all others.

    Parameters
    ----------
    graph : (B, B) float tensor
    k : int, optional
        At least 1; ``B - 1`` and more mean all others, as None does. Of equals (but for rounding) the first
        is taken.

    Returns
    -------
    (B, B) bool tensor
        Entry (i, j): j is a neighbour of i. The diagonal is False; not symmetric.

    Raises
    ------
    InputError
        ``graph`` is not square or ``k`` is under 1.

    Examples
    --------
    >>> neighbor_mask(relation_graph(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])), k=1).int()
    tensor([[0, 1, 0],
            [1, 0, 0],
            [0, 1, 0]], dtype=torch.int32)
    """
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1]:
        raise InputError(f"graph has shape {tuple(graph.shape)}; expected (B, B), as relation_graph gives it")
    if k is not None and k < 1:
        raise InputError(f"k is {k}; expected at least 1 neighbour, or None for all")
    is_self = torch.eye(len(graph), dtype=torch.bool, device=graph.device)
    if k is None or k >= len(graph) - 1:
        return ~is_self
    nearest = _descending(graph.masked_fill(is_self, -torch.inf))[:, :k]
    return torch.zeros_like(is_self).scatter_(1, nearest, True)


def _descending(graph: torch.Tensor) -> torch.Tensor:
    """Return the columns of each row from its largest entry to its smallest, equals as they stand."""
    values, columns = graph.sort(dim=1, descending=True, stable=True)
    is_lower = values[:, :-1] - values[:, 1:] > _TIE * torch.finfo(values.dtype).eps
    level = nn.functional.pad(is_lower, (1, 0)).cumsum(dim=1)
    return (level * len(graph) + columns).sort(dim=1).values % len(graph)


def neighbor_log_probs(graph: torch.Tensor, mask: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Return the logarithm of each row's distribution over its neighbours: a softmax of the similarities.

    Parameters
    ----------
    graph : (B, B) float tensor
    mask : (B, B) bool tensor
    temperature : float
        Above 0. Small: only the most similar count.

    Returns
    -------
    (B, B) tensor
        About -1e30 where the mask is False.

    Examples
    --------
    >>> graph = torch.tensor([[1.0, 0.2, 0.2], [0.2, 1.0, 0.5], [0.2, 0.5, 1.0]])
    >>> neighbor_log_probs(graph, neighbor_mask(graph)).exp()[0]
    tensor([0.0000, 0.5000, 0.5000])
    """
    return torch.log_softmax((graph / temperature).masked_fill(~mask, _MASKED), dim=1)


def edge_kl(
    student_graph: torch.Tensor,
    teacher_graph: torch.Tensor,
    mask: torch.Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.1,
) -> torch.Tensor:
    """Return for each row the divergence of the student's distribution over neighbours from the teacher's.

    Parameters
    ----------
    student_graph, teacher_graph : (B, B) float tensor
        Of `relation_graph`.
    mask : (B, B) bool tensor
        Of `neighbor_mask`, from the teacher's graph.
    student_temperature, teacher_temperature : float
        Above 0.

    Returns
    -------
    (B,) tensor
        KL(teacher || student), at least 0 up to rounding. Exactly 0 where a row has one neighbour or none.

    Examples
    --------
    >>> teacher = relation_graph(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    >>> edge_kl(teacher, teacher, neighbor_mask(teacher))
    tensor([0., 0., 0.])
    """
    wanted = neighbor_log_probs(teacher_graph.detach(), mask, teacher_temperature)
    found = neighbor_log_probs(student_graph, mask, student_temperature)
    return (wanted.exp() * (wanted - found)).masked_fill(~mask, 0.0).sum(dim=1)


def edge_mse(student_graph: torch.Tensor, teacher_graph: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return for each row the squared difference of similarities; the rows average to that of a pair.

    Parameters
    ----------
    student_graph, teacher_graph : (B, B) float tensor
        Of `relation_graph`.
    mask : (B, B) bool tensor
        Of `neighbor_mask`, from the teacher's graph.

    Returns
    -------
    (B,) tensor
        In [0, 4] where all rows have as many neighbours; 0 where there are none.

    Examples
    --------
    >>> mask = neighbor_mask(torch.zeros(2, 2))
    >>> edge_mse(torch.eye(2), torch.ones(2, 2), mask)
    tensor([1., 1.])
    """
    squares = (student_graph - teacher_graph.detach()).square().masked_fill(~mask, 0.0)
    return squares.sum(dim=1) * len(mask) / mask.sum().clamp_min(1)


def node_cosine(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return for each row 1 minus the cosine between the student's projected and the teacher's features.

    Parameters
    ----------
    student, teacher : (B, D) float tensor

    Returns
    -------
    (B,) tensor
        In [0, 2]; 1 for a row of zeros.

    Examples
    --------
    >>> node_cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.4000])
    """
    return 1.0 - cosines(student, teacher.detach())


def node_aggregate(
    student: torch.Tensor, teacher: torch.Tensor, neighbor_probs: torch.Tensor
) -> torch.Tensor:
    """Return `node_cosine` of the averages of neighbours instead of the rows themselves.

    Parameters
    ----------
    student, teacher : (B, D) float tensor
    neighbor_probs : (B, B) float tensor
        The teacher's distribution over neighbours: weights of the average. A row of zeros has no neighbours.

    Returns
    -------
    (B,) tensor
        In [0, 2]; 0 for a row without neighbours.

    Examples
    --------
    >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> node_aggregate(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), swap)
    tensor([1., 0.])
    """
    weights = neighbor_probs.detach()
    units = unit_rows(student), unit_rows(teacher.detach())
    with without_autocast(weights):
        averages = [weights.to(unit.dtype) @ unit for unit in units]
    return node_cosine(*averages).masked_fill(~weights.any(dim=1), 0.0)
