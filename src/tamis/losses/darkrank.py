"""DarkRank: a student learns the order in which a teacher sees the neighbours of each sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.relation_weights import check_number
from tamis.losses.rkd_distance import pair_distances, same_samples


def hard_darkrank_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 3.0,
    beta: float = 3.0,
    permute_len: int = 4,
    compat: bool = False,
) -> Tensor:
    """Return minus the log-likelihood, under the student, of the teacher's order of the nearest neighbours.

    The score of a pair is ``-alpha * distance ** beta``; the likelihood of an order is Plackett and Luce's,
    over the chosen neighbours alone.

    Parameters
    ----------
    student : (N, ds) float tensor
        Of length 1 by the recipe: distances, hence scores, are not relative.
    teacher : (N, dt) float tensor
        Of the same samples, of any width. No gradient.
    alpha, beta : float
        Above 0. The command line of the authors' code says ``alpha=2``.
    permute_len : int
        Nearest neighbours of each sample, at least 1; ``N - 1`` and more mean all others.
    compat : bool
        Parity with the authors' code: of neighbours at one distance of the teacher the first row comes
        first. Here the student's order holds, so that the order of the rows does not matter.

    Returns
    -------
    scalar tensor
        Mean over the samples, at least 0; 0 for N < 3.

    Raises
    ------
    InputError
        No two matrices of finite floats with as many rows, or a parameter out of its range.

    References
    ----------
    .. [1] Y. Chen, N. Wang, Z. Zhang. DarkRank: Accelerating Deep Metric Learning via Cross Sample
       Similarities Transfer. AAAI 2018, the hard form.
    .. [2] W. Park, D. Kim, Y. Lu, M. Cho. Relational Knowledge Distillation. CVPR 2019, a baseline there.

    Examples
    --------
    >>> line = torch.tensor([[0.0], [0.5], [2.0]])
    >>> hard_darkrank_loss(line, line), hard_darkrank_loss(-line.flip(0), line)
    (tensor(1.9749e-05), tensor(3.2500))
    """
    student, teacher = same_samples(student, teacher)
    _check_parameters(alpha, beta, permute_len)
    n = len(student)
    if n < 2:
        return (student * 0.0).sum()
    scores = -alpha * pair_distances(student).pow(beta)  # (N, N)
    order = _teacher_order(scores.detach(), pair_distances(teacher), compat)[:, :permute_len]
    ordered = scores.gather(1, order)  # (N, L), L = min(permute_len, N - 1)
    # From each place to the last: what is left to choose from.
    remaining = ordered.flip(1).logcumsumexp(dim=1).flip(1)
    return (remaining - ordered).sum(dim=1).mean()


class HardDarkRank(nn.Module):
    """DarkRank, hard: keep the teacher's order of each sample's nearest neighbours.

    A baseline of relational distillation. It needs student embeddings of length 1: without, R@1 of the paper
    falls from 77.0 to 52.9 on Cars196.

    Parameters
    ----------
    alpha, beta : float
    permute_len : int
        See `hard_darkrank_loss`.

    Raises
    ------
    InputError
        A parameter is out of its range; when called: see `hard_darkrank_loss`.

    References
    ----------
    .. [1] Y. Chen, N. Wang, Z. Zhang. DarkRank. AAAI 2018.

    Examples
    --------
    In a training loop of your own:

    >>> student, teacher = nn.Linear(8, 3), nn.Linear(8, 5)
    >>> distillation = HardDarkRank()
    >>> inputs = torch.eye(8)
    >>> loss = distillation(nn.functional.normalize(student(inputs)), teacher(inputs))
    >>> loss.backward()
    """

    def __init__(self, *, alpha: float = 3.0, beta: float = 3.0, permute_len: int = 4) -> None:
        super().__init__()
        _check_parameters(alpha, beta, permute_len)
        self.alpha, self.beta, self.permute_len = alpha, beta, permute_len

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of (N, ds) and (N, dt) embeddings of the same samples."""
        return hard_darkrank_loss(
            student, teacher, alpha=self.alpha, beta=self.beta, permute_len=self.permute_len
        )


def _teacher_order(scores: Tensor, far: Tensor, compat: bool) -> Tensor:
    """Return for each row all other rows, (N, N - 1), the teacher's nearest first."""
    is_self = torch.eye(len(far), dtype=torch.bool, device=far.device)
    far = far.masked_fill(is_self, torch.inf)
    # Two stable sorts: by the teacher, and where it sees no difference by the student.
    first = is_self.int().argsort(dim=1, stable=True)
    if not compat:
        first = scores.argsort(dim=1, descending=True, stable=True)
    return first.gather(1, far.gather(1, first).argsort(dim=1, stable=True))[:, :-1]


def _check_parameters(alpha: float, beta: float, permute_len: int) -> None:
    check_number("alpha", alpha, above_zero=True)
    check_number("beta", beta, above_zero=True)
    if isinstance(permute_len, bool) or not isinstance(permute_len, int) or permute_len < 1:
        raise InputError(f"permute_len is {permute_len!r}; expected at least 1 neighbour")
