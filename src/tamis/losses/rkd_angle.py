"""Angles between the points of a batch, and how far a student's are from a teacher's (RKD-A)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tamis.losses.cosine import without_autocast
from tamis.losses.rkd_distance import relative_weights, same_samples
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.statistics.labelled_logits import widest

_LEAST_LENGTH = 1e-12


def rkd_angle_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    distinct: bool = False,
    sample_weight: Tensor | None = None,
    memory_budget: str | int | None = None,
    compat: bool = False,
) -> Tensor:
    """Return how far the cosines of the angles in triangles of student rows are from the teacher's (RKD-A).

    Time grows with N**3 (ds + dt). The gradient is found together with the value, a block of vertices at a
    time, so that memory stays within the budget; blocks change no result by more than rounding. There is no
    second derivative.

    Parameters
    ----------
    student : (N, ds) float tensor
        Not normalised by the paper's recipe.
    teacher : (N, dt) float tensor
        Of the same samples, of any width. No gradient.
    distinct : bool
        Mean over the N (N - 1) (N - 2) triples of different samples, as the paper writes, instead of all
        N**3 as in the authors' code, with which the paper's weights were tuned.
    sample_weight : (N,) float tensor, optional
        A triple counts as the product of its samples' weights, in the sum and in what the sum is divided by.
        No gradient.
    memory_budget : str or int, optional
        Such as ``"64MiB"``; a quarter of it goes to a block. Blocks are of 256 MiB at most.
    compat : bool
        Parity with the authors' code, whose gradient at coincident points of the student is that of a
        division by 1e-12. Here it is 0: they have no direction to turn in.

    Returns
    -------
    scalar tensor
        At least 0; 0 where one is a rotated, mirrored, scaled or shifted copy of the other, for N < 3, and
        where no triple has a weight.

    Raises
    ------
    InputError
        No two matrices of finite floats with as many rows, a budget that is none, or weights that do not fit
        or are negative.

    References
    ----------
    .. [1] W. Park, D. Kim, Y. Lu, M. Cho. Relational Knowledge Distillation. CVPR 2019, equations 8 and 9.

    Examples
    --------
    >>> corner = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> line = torch.tensor([[1.0], [0.0], [-1.0]])
    >>> rkd_angle_loss(4 * corner, corner), rkd_angle_loss(corner, line, distinct=True)
    (tensor(0.), tensor(0.1953))
    """
    student, teacher = same_samples(student, teacher)
    n, widths = len(student), student.shape[1] + teacher.shape[1]
    # A vertex of a block: differences and their gradients (N, d), cosines and theirs (N, N).
    vertex_bytes = student.element_size() * n * (4 * widths + 6 * n)
    block = rows_per_block(vertex_bytes, parse_memory_budget(memory_budget))
    # Without a graph to fill, no time is spent on gradients.
    student = student if torch.is_grad_enabled() else student.detach()
    weights = None if sample_weight is None else relative_weights(sample_weight, student)
    total: Tensor = _AngleSum.apply(student, teacher, weights, block, compat)  # type: ignore[no-untyped-call]
    # Unless points coincide, triples with a sample twice are equal for both networks: only the count differs.
    if weights is not None:
        count = _weight_of_triples(weights, distinct)
        return torch.where(count > 0, total / count.masked_fill(count <= 0, 1.0), total * 0.0)
    return total / max(1, n * (n - 1) * (n - 2) if distinct else n**3)


def _weight_of_triples(weights: Tensor, distinct: bool) -> Tensor:
    """Return the sum over triples of the product of their weights; 0 where rounding is all that is left."""
    once, twice, thrice = (widest(weights).pow(power).sum() for power in (1, 2, 3))
    everything = once.pow(3)
    # Newton's identity: without the triples in which a sample stands twice or three times.
    total = everything - 3 * once * twice + 2 * thrice if distinct else everything
    return total.masked_fill(total <= 1e-9 * everything, 0.0).to(weights)


def _directions(points: Tensor, vertices: Tensor, compat: bool) -> Tensor:
    """Return the unit vectors from each vertex to each point, (V, N, d); zeros between coincident ones."""
    differences = points - vertices[:, None, :]
    if compat:
        return functional.normalize(differences, dim=2, eps=_LEAST_LENGTH)
    lengths = torch.linalg.vector_norm(differences, dim=2, keepdim=True)
    is_zero = lengths < _LEAST_LENGTH
    # Dividing by a floor instead would send gradients of 1e12 into coincident points.
    units: Tensor = differences / lengths.masked_fill(is_zero, 1.0)
    return units.masked_fill(is_zero, 0.0)


def _angle_sum(
    student: Tensor, teacher: Tensor, weights: Tensor | None, vertices: slice, compat: bool
) -> Tensor:
    """Return the sum of the weighted Huber losses of all triples whose vertex is in a slice of the rows."""
    with torch.no_grad():
        arms = _directions(teacher, teacher[vertices], compat)
        wanted = arms @ arms.transpose(1, 2)  # (V, N, N)
    arms = _directions(student, student[vertices], compat)
    found, wanted = arms @ arms.transpose(1, 2), wanted.to(arms)
    if weights is None:
        return functional.smooth_l1_loss(found, wanted, reduction="sum")
    losses = functional.smooth_l1_loss(found, wanted, reduction="none")
    return torch.einsum("v,i,k,vik->", weights[vertices], weights, weights, losses)


class _AngleSum(torch.autograd.Function):
    """The sum over all triples, whose gradient is made block by block in the forward pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.Function,
        student: Tensor,
        teacher: Tensor,
        weights: Tensor | None,
        block: int,
        compat: bool,
    ) -> Tensor:
        leaf = student.detach().requires_grad_(student.requires_grad)
        total = widest(leaf.new_zeros(()))
        gradient = torch.zeros_like(leaf)
        with torch.set_grad_enabled(leaf.requires_grad), without_autocast(leaf):
            for start in range(0, len(leaf), block):
                part = _angle_sum(leaf, teacher, weights, slice(start, start + block), compat)
                total += part.detach()
                if leaf.requires_grad:
                    gradient += torch.autograd.grad(part, leaf)[0]
        ctx.save_for_backward(gradient)
        return total.to(student.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.Function, outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None, None, None
