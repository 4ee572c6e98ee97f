"""Relative distances in a batch, and how far a student's are from a teacher's (RKD-D)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.cosine import without_autocast
from tamis.statistics.labelled_embeddings import finite_embeddings

_LEAST_DISTANCE = 1e-6


def pair_distances(embeddings: Tensor) -> Tensor:
    """Return the distance of every pair of rows: at least 1e-6 off the diagonal, where it is 0.

    Differences are taken before squares, so that close points keep their distance in float32. Coincident
    points have no gradient.

    Parameters
    ----------
    embeddings : (N, d) float tensor
        In float32 or better, finite.

    Returns
    -------
    (N, N) tensor

    Examples
    --------
    >>> pair_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]])
    """
    with without_autocast(embeddings):
        far = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    is_self = torch.eye(len(far), dtype=torch.bool, device=far.device)
    return far.clamp_min(_LEAST_DISTANCE).masked_fill(is_self, 0.0)


def relative_distances(embeddings: Tensor) -> Tensor:
    """Return the distance of every pair of rows, divided by the mean over the pairs of different rows.

    Parameters
    ----------
    embeddings : (N, d) float tensor

    Returns
    -------
    (N, N) tensor
        Mean 1 off the diagonal, 0 on it; in float32 or better.

    Raises
    ------
    InputError
        No matrix of finite floats.

    Examples
    --------
    >>> relative_distances(torch.tensor([[0.0], [1.0], [3.0]]))
    tensor([[0.0000, 0.5000, 1.5000],
            [0.5000, 0.0000, 1.0000],
            [1.5000, 1.0000, 0.0000]])
    """
    distances = pair_distances(finite_embeddings(embeddings))
    n_pairs = len(distances) * (len(distances) - 1)
    return distances / (distances.sum() / n_pairs) if n_pairs else distances


def rkd_distance_loss(
    student: Tensor, teacher: Tensor, *, distinct: bool = False, sample_weight: Tensor | None = None
) -> Tensor:
    """Return how far the student's relative distances are from the teacher's (RKD-D).

    Parameters
    ----------
    student : (N, ds) float tensor
        Not normalised by the paper's recipe.
    teacher : (N, dt) float tensor
        Of the same samples, of any width. No gradient.
    distinct : bool
        Mean over the N (N - 1) pairs of different samples, as the paper writes, instead of all N * N as in
        the authors' code, with which the paper's weights were tuned.
    sample_weight : (N,) float tensor, optional
        A pair counts as the product of its samples' weights, in the sum and in what the sum is divided by.
        No gradient.

    Returns
    -------
    scalar tensor
        At least 0; 0 where one is a rotated, mirrored, scaled or shifted copy of the other, for N < 3, and
        where no pair has a weight.

    Raises
    ------
    InputError
        No two matrices of finite floats with as many rows, or weights that do not fit or are negative.

    References
    ----------
    .. [1] W. Park, D. Kim, Y. Lu, M. Cho. Relational Knowledge Distillation. CVPR 2019, equations 5 to 7.

    Examples
    --------
    >>> line = torch.tensor([[0.0], [1.0], [3.0]])
    >>> rkd_distance_loss(10 * line, line), rkd_distance_loss(line.square(), line)
    (tensor(0.), tensor(0.0247))
    """
    student, teacher = same_samples(student, teacher)
    found, wanted = relative_distances(student), relative_distances(teacher)
    if sample_weight is not None:
        return _weighted_mean(found, wanted, relative_weights(sample_weight, student), distinct)
    count = max(1, len(found) * (len(found) - int(distinct)))
    return functional.smooth_l1_loss(found, wanted.to(found), reduction="sum") / count


def _weighted_mean(found: Tensor, wanted: Tensor, weights: Tensor, distinct: bool) -> Tensor:
    losses = functional.smooth_l1_loss(found, wanted.to(found), reduction="none")  # (N, N)
    pairs = weights[:, None] * weights[None, :]
    total = pairs.sum() - pairs.diagonal().sum() * int(distinct)
    # One sample alone with a weight: no pair has one, and rounding may leave less than nothing of them.
    is_any = total > 1e-6 * pairs.sum()
    return torch.where(is_any, (pairs * losses).sum() / total.masked_fill(~is_any, 1.0), losses.sum() * 0.0)


def relative_weights(weights: Tensor, rows: Tensor) -> Tensor:
    """Return weights of the rows with the largest at 1, in their type, without gradient.

    Raises
    ------
    InputError
        Not one weight a row, or one that is negative or not finite.
    """
    if weights.shape != rows.shape[:1]:
        raise InputError(f"sample_weight has shape {tuple(weights.shape)}; expected ({len(rows)},)")
    weights = weights.detach().to(rows)
    if not bool((torch.isfinite(weights) & (weights >= 0)).all()):
        raise InputError("sample_weight holds negative numbers, NaN or infinity; expected at least 0")
    # Products of three must not underflow.
    largest = weights.amax() if len(weights) else weights.sum()
    return weights / largest.masked_fill(largest == 0, 1.0)


def same_samples(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in at least float32, the teacher without gradient; `InputError` where rows do not match."""
    student, teacher = finite_embeddings(student, "student"), finite_embeddings(teacher.detach(), "teacher")
    if len(student) != len(teacher):
        raise InputError(
            f"student and teacher have shapes {tuple(student.shape)} and {tuple(teacher.shape)}; expected "
            "rows of the same samples, in the same order"
        )
    return student, teacher
