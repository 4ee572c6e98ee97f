"""RKD: relational knowledge distillation, of the distances and the angles in a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tamis.losses.relation_weights import check_number
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import rkd_distance_loss
from tamis.memory_budget import parse_memory_budget


class RelationalTerms(NamedTuple):
    """The two parts of relational knowledge distillation, unweighted.

    Attributes
    ----------
    distance : scalar tensor
    angle : scalar tensor
    """

    distance: Tensor
    angle: Tensor


class RelationalKnowledgeDistillation(nn.Module):
    """Relational knowledge distillation: a student keeps the distances and angles that a teacher sees (RKD).

    No labels: with wrong labels, train the teacher with a method that resists them, and the student without
    any. Student and teacher may differ in width. A student whose points have all collapsed into one gets no
    gradient from this loss alone.

    Parameters
    ----------
    distance_weight, angle_weight : float
        At least 0; 0 leaves the term out.
    distinct : bool
        See `rkd_distance_loss`.
    memory_budget : str or int, optional
        See `rkd_angle_loss`.

    Raises
    ------
    InputError
        A weight or the budget is out of range; when called: see `rkd_distance_loss`.

    References
    ----------
    .. [1] W. Park, D. Kim, Y. Lu, M. Cho. Relational Knowledge Distillation. CVPR 2019.

    Examples
    --------
    In a training loop of your own:

    >>> import torch
    >>> student, teacher = nn.Linear(8, 3), nn.Linear(8, 5)
    >>> distillation = RelationalKnowledgeDistillation()
    >>> inputs = torch.eye(8)
    >>> loss = distillation(student(inputs), teacher(inputs))
    >>> loss.backward()
    """

    def __init__(
        self,
        *,
        distance_weight: float = 1.0,
        angle_weight: float = 2.0,
        distinct: bool = False,
        memory_budget: str | int | None = None,
    ) -> None:
        super().__init__()
        check_number("distance_weight", distance_weight)
        check_number("angle_weight", angle_weight)
        self.distance_weight, self.angle_weight = distance_weight, angle_weight
        self.distinct = distinct
        self.memory_budget = parse_memory_budget(memory_budget)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the weighted sum of both terms for (N, ds) and (N, dt) embeddings of the same samples."""
        distance, angle = self.terms(student, teacher)
        return self.distance_weight * distance + self.angle_weight * angle

    def terms(self, student: Tensor, teacher: Tensor) -> RelationalTerms:
        """Return both terms, unweighted; a term of weight 0 is not computed and comes as 0."""
        none = (student * 0.0).sum()
        distance = angle = none
        if self.distance_weight > 0:
            distance = rkd_distance_loss(student, teacher, distinct=self.distinct)
        if self.angle_weight > 0:
            angle = rkd_angle_loss(student, teacher, distinct=self.distinct, memory_budget=self.memory_budget)
        return RelationalTerms(distance, angle)
