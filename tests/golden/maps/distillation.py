"""Golden cases of relational knowledge distillation and of DarkRank."""

from __future__ import annotations

from collections.abc import Callable

import torch
from golden_case import Case, Golden, Outputs
from torch import Tensor

from tamis.losses.darkrank import hard_darkrank_loss
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import relative_distances, rkd_distance_loss


def _run(loss_of: Callable[[Tensor, Tensor], Tensor], inputs: Case) -> Outputs:
    student = torch.tensor(inputs["student"], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor(inputs["teacher"], dtype=torch.float64, requires_grad=True)
    loss = loss_of(student, teacher)
    loss.backward()
    assert teacher.grad is None
    return {
        "loss": loss,
        "grad_student": student.grad,
        "student_distances_normalised": relative_distances(student),
        "teacher_distances_normalised": relative_distances(teacher),
    }


def _distance(inputs: Case, params: Case) -> Outputs:
    return _run(rkd_distance_loss, inputs)


def _angle(inputs: Case, params: Case) -> Outputs:
    def loss_of(student: Tensor, teacher: Tensor) -> Tensor:
        compat = rkd_angle_loss(student, teacher, compat=True)
        torch.testing.assert_close(rkd_angle_loss(student, teacher), compat)
        return compat

    return _run(loss_of, inputs)


def _darkrank(inputs: Case, params: Case) -> Outputs:
    def loss_of(student: Tensor, teacher: Tensor) -> Tensor:
        options = {name: params[name] for name in ("alpha", "beta", "permute_len") if name in params}
        return hard_darkrank_loss(student, teacher, compat=True, **options)

    return _run(loss_of, inputs)


GOLDEN: dict[str, Golden] = {
    "rkd_distance": Golden(
        ("tamis.losses.rkd_distance.rkd_distance_loss", "tamis.losses.rkd_distance.relative_distances"),
        _distance,
    ),
    "rkd_angle": Golden(("tamis.losses.rkd_angle.rkd_angle_loss",), _angle),
    "rkd_hard_darkrank": Golden(("tamis.losses.darkrank.hard_darkrank_loss",), _darkrank),
}
