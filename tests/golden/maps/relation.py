"""Golden cases of erasing attention consistency and of relation distillation."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs
from torch import Tensor, nn

from tamis.losses.flip_attention import EraseAttentionConsistency, class_attention_maps, flip_consistency
from tamis.losses.relation import edge_kl, edge_mse, neighbor_mask, relation_graph
from tamis.losses.relation_distillation import RelationDistillation
from tamis.losses.simsiam import simsiam_loss


def _leaf(value: object) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def _eac(inputs: Case, params: Case) -> Outputs:
    maps, maps_flipped = _leaf(inputs["features"]), _leaf(inputs["features_flipped_image"])
    weight, bias = _leaf(inputs["fc_weight"]), _leaf(inputs["fc_bias"])
    labels = torch.tensor(inputs["labels"])
    logits = nn.functional.linear(maps.mean(dim=(2, 3)), weight, bias)
    total = EraseAttentionConsistency(params["lambda"])(logits, labels, maps, maps_flipped, weight)
    total.backward()
    return {
        "logits": logits,
        "cam": class_attention_maps(maps, weight),
        "cam_flipped_image": class_attention_maps(maps_flipped, weight),
        "ce": EraseAttentionConsistency(0.0)(logits, labels, maps, maps_flipped, weight),
        "flip_consistency": flip_consistency(maps, maps_flipped, weight).mean(),
        "total": total,
        "grad_features": maps.grad,
        # Without weight the mirror image takes no part at all.
        "grad_features_flipped_image": _or_zeros(maps_flipped),
        "grad_fc_weight": weight.grad,
        "grad_fc_bias": bias.grad,
    }


def _or_zeros(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _is_zero(gradient: Tensor | None) -> int:
    return int(gradient is None or not gradient.any())


def _simsiam(inputs: Case) -> Outputs:
    tensors = {name: _leaf(inputs[name]) for name in ("p1", "p2", "z1", "z2")}
    loss = simsiam_loss(*tensors.values())
    loss.backward()
    return {
        "loss": loss,
        "grad_p1": tensors["p1"].grad,
        "grad_p2": tensors["p2"].grad,
        "grad_z1_is_zero": _is_zero(tensors["z1"].grad),
        "grad_z2_is_zero": _is_zero(tensors["z2"].grad),
    }


def _projector(weight: Tensor) -> nn.Linear:
    projector = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
    projector.weight = nn.Parameter(weight.detach())
    return projector


def _relation(inputs: Case, params: Case) -> Outputs:
    teacher, student = _leaf(inputs["teacher_features"]), _leaf(inputs["student_features"])
    projector = _projector(_leaf(inputs["projector_weight"]))
    options = {
        "k": params["k"],
        "edge": params["edge"],
        "node": params.get("node", "cos"),
        "teacher_temperature": params["tau_teacher"],
        "student_temperature": params["tau_student"],
    }
    weights = {"edge_weight": params["alpha_edge"], "node_weight": params["beta_node"]}
    total = RelationDistillation(projector, **options, **weights)(student, teacher)
    if total.requires_grad:  # a loss without any weight has no gradient
        total.backward()
    assert teacher.grad is None
    graph, student_graph = relation_graph(teacher), relation_graph(student)
    mask = neighbor_mask(graph, params["k"])
    temperatures = {
        "student_temperature": params["tau_student"],
        "teacher_temperature": params["tau_teacher"],
    }
    return {
        "teacher_similarity": graph,
        "mask": mask,
        "edge_kl": edge_kl(student_graph, graph, mask, **temperatures).mean(),
        "edge_mse": edge_mse(student_graph, graph, mask).mean(),
        # A term of weight 0 is left out of the total, not out of the case.
        "node_loss": RelationDistillation(projector, **options).terms(student, teacher).node,
        "total": total,
        "grad_student_features": _or_zeros(student),
    }


def _rmdnet(inputs: Case, params: Case) -> Outputs:
    return _simsiam(inputs) if "p1" in inputs else _relation(inputs, params)


GOLDEN: dict[str, Golden] = {
    "eac": Golden(
        (
            "tamis.losses.flip_attention.class_attention_maps",
            "tamis.losses.flip_attention.flip_consistency",
            "tamis.losses.flip_attention.EraseAttentionConsistency",
        ),
        _eac,
    ),
    "rmdnet": Golden(
        (
            "tamis.losses.simsiam.simsiam_loss",
            "tamis.losses.relation.relation_graph",
            "tamis.losses.relation.neighbor_mask",
            "tamis.losses.relation.edge_kl",
            "tamis.losses.relation.edge_mse",
            "tamis.losses.relation_distillation.RelationDistillation",
        ),
        _rmdnet,
    ),
}
