"""Relation distillation (RMDNet-style): similarities a label-free teacher sees, kept by a student."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import nn

from tamis.errors import InputError, TamisWarning
from tamis.losses.reduction import reduced
from tamis.losses.relation import (
    edge_kl,
    edge_mse,
    neighbor_log_probs,
    neighbor_mask,
    node_aggregate,
    node_cosine,
    relation_graph,
)
from tamis.losses.relation_weights import check_number, relation_ramp
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import rkd_distance_loss
from tamis.losses.simsiam import check_not_collapsed
from tamis.statistics.labelled_logits import can_read_values

Edge: TypeAlias = Literal["kl", "mse", "rkd_distance", "rkd_angle"]
"""How edges are compared: as distributions over neighbours, similarity by similarity, or by RKD's terms."""

Node: TypeAlias = Literal["cos", "aggregate"]
"""What stands for a sample: its own features, or the average of its neighbours'."""

_FULL_UP_TO = 256
_LARGE_BATCH_K = 32


class RelationTerms(NamedTuple):
    """The two parts of relation distillation, unweighted.

    Attributes
    ----------
    edge : scalar tensor
        How far the student's graph is from the teacher's.
    node : scalar tensor
        How far the student's features are from the teacher's.
    """

    edge: torch.Tensor
    node: torch.Tensor


class RelationDistillation(nn.Module):
    """Pull the similarities between a student's samples towards those that a teacher without labels sees.

    Wrong labels push samples of one class apart and of several together. A teacher that never saw labels (a
    SimSiam encoder, or any frozen pretrained one) is not misled, and its graph of similarities in each batch
    corrects the student's. Edge term: each sample's distribution over its neighbours, or the similarities
    themselves. Node term: the features, after a projector. Both are added to the loss of any method, on all
    samples. No use where the teacher's features say little about the classes.

    Parameters
    ----------
    projector : nn.Module, optional
        From student to teacher features, trained with the student: by default none, for features of one
        width; else ``nn.Linear(student_width, teacher_width, bias=False)``. Only the node term uses it.
    k : int, "auto" or None
        Neighbours of each sample, by the teacher. None: all others. ``"auto"``: all others in batches up
        to 256, else 32. RKD's edges are all pairs or triples, whatever ``k``.
    edge : {"kl", "mse", "rkd_distance", "rkd_angle"}
        ``k=1`` has no distribution to compare: it warns and takes ``"mse"``. The last two: see
        `rkd_distance_loss` and `rkd_angle_loss`, of the features as they are; time grows with B**3 for the
        last one.
    node : {"cos", "aggregate"}
        ``"aggregate"`` compares averages over neighbours.
    teacher_temperature, student_temperature : float
        Above 0; of the distributions over neighbours.
    edge_weight, node_weight : float
        At least 0; 0 leaves the term out.
    ramp_epochs : float
        Epochs over which the whole term grows from 0 to 1.

    Raises
    ------
    InputError
        An argument is out of its range. When called: shapes do not fit, or the teacher has collapsed.

    Warns
    -----
    TamisWarning
        ``k=1`` with ``edge="kl"``.

    Notes
    -----
    The paper states the two terms and their sum with the classification loss; its exact formulas were not
    available. Graph, temperatures, weights and ramp are this package's choice, after similarity-preserving
    distillation [2]_ and self-supervised distillation [3]_. The teacher is checked for collapse in the first
    batch of two rows or more.

    References
    ----------
    .. [1] X. Che, J. Zhang, Z. Qi, X. Qi. Relation Modeling and Distillation for Learning with Noisy Labels.
       arXiv 2405.19606, 2024.
    .. [2] F. Tung, G. Mori. Similarity-Preserving Knowledge Distillation. ICCV 2019.
    .. [3] Z. Fang et al. SEED: Self-supervised Distillation for Visual Representation. ICLR 2021.

    Examples
    --------
    In a training loop of your own:

    >>> student, head = nn.Linear(4, 3), nn.Linear(3, 2)
    >>> relation = RelationDistillation(nn.Linear(3, 5, bias=False))
    >>> inputs, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> teacher_features = torch.eye(4, 5)  # of a frozen encoder
    >>> features = student(inputs)
    >>> loss = nn.functional.cross_entropy(head(features), labels)
    >>> loss = loss + relation(features, teacher_features, epoch=3)
    >>> loss.backward()
    """

    def __init__(
        self,
        projector: nn.Module | None = None,
        *,
        k: int | Literal["auto"] | None = "auto",
        edge: Edge = "kl",
        node: Node = "cos",
        teacher_temperature: float = 0.1,
        student_temperature: float = 0.1,
        edge_weight: float = 1.0,
        node_weight: float = 1.0,
        ramp_epochs: float = 10,
    ) -> None:
        super().__init__()
        _check_choices(k, edge, node)
        for name, value in (
            ("edge_weight", edge_weight),
            ("node_weight", node_weight),
            ("ramp_epochs", ramp_epochs),
        ):
            check_number(name, value)
        for name, value in (
            ("teacher_temperature", teacher_temperature),
            ("student_temperature", student_temperature),
        ):
            check_number(name, value, above_zero=True)
        if k == 1 and edge == "kl":
            warnings.warn(
                "k=1 leaves each sample one neighbour, and every distribution over one is the same: the edge "
                'term takes edge="mse" instead; use k of at least 2 for "kl"',
                TamisWarning,
                stacklevel=2,
            )
            edge = "mse"
        self.projector = projector
        self.k, self.edge, self.node = k, edge, node
        self.teacher_temperature, self.student_temperature = teacher_temperature, student_temperature
        self.edge_weight, self.node_weight, self.ramp_epochs = edge_weight, node_weight, ramp_epochs
        self._is_teacher_checked = False

    def forward(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        *,
        epoch: float | None = None,
        sample_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what to add to the classification loss, ramped and weighted.

        Parameters
        ----------
        student : (B, Ds) float tensor
            Features under the student's head.
        teacher : (B, D) float tensor
            Features of the same samples from a frozen encoder. No gradient.
        epoch : float, optional
            From 0, for the ramp; None means that the ramp is over.
        sample_weight : (B,) float tensor, optional
            Of the edge term, such as `noise_emphasis`; 1 by default. With RKD's edges a pair or triple counts
            as the product of its samples' weights, divided by the sum of these products.

        Returns
        -------
        scalar tensor
            A plain 0 without gradient while the ramp is at 0, so that the host's step stays as it is.
        """
        ramp = 1.0 if epoch is None else relation_ramp(epoch, self.ramp_epochs)
        if ramp == 0.0:
            return torch.zeros(
                (), dtype=torch.promote_types(student.dtype, torch.float32), device=student.device
            )
        edge, node = self.terms(student, teacher, sample_weight=sample_weight)
        return ramp * (self.edge_weight * edge + self.node_weight * node)

    def terms(
        self, student: torch.Tensor, teacher: torch.Tensor, *, sample_weight: torch.Tensor | None = None
    ) -> RelationTerms:
        """Return edge and node term, unweighted; a term of weight 0 is not computed and comes as 0."""
        _check_rows(student, teacher, sample_weight)
        teacher = teacher.detach()
        self._check_teacher(teacher)
        teacher_graph = relation_graph(teacher)
        mask = neighbor_mask(teacher_graph, self._k(len(teacher)))
        edge = node = teacher_graph.new_zeros(())
        if self.edge_weight > 0:
            edge = self._edge(student, teacher, teacher_graph, mask, sample_weight)
        if self.node_weight > 0:
            node = reduced(self._node(student, teacher, teacher_graph, mask), "mean")
        return RelationTerms(edge, node)

    def _check_teacher(self, teacher: torch.Tensor) -> None:
        # Once: the teacher is frozen, and reading a number back from the device makes it wait.
        if not self._is_teacher_checked and len(teacher) > 1 and can_read_values():
            check_not_collapsed(teacher)
            self._is_teacher_checked = True

    def _k(self, batch: int) -> int | None:
        if self.k == "auto":
            return None if batch <= _FULL_UP_TO else _LARGE_BATCH_K
        return self.k

    def _edge(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        teacher_graph: torch.Tensor,
        mask: torch.Tensor,
        sample_weight: torch.Tensor | None,
    ) -> torch.Tensor:
        if self.edge == "rkd_distance":
            return rkd_distance_loss(student, teacher, sample_weight=sample_weight)
        if self.edge == "rkd_angle":
            return rkd_angle_loss(student, teacher, sample_weight=sample_weight)
        student_graph = relation_graph(student)
        if self.edge == "mse":
            rows = edge_mse(student_graph, teacher_graph, mask)
        else:
            rows = edge_kl(
                student_graph,
                teacher_graph,
                mask,
                student_temperature=self.student_temperature,
                teacher_temperature=self.teacher_temperature,
            )
        return reduced(rows if sample_weight is None else sample_weight * rows, "mean")

    def _node(
        self, student: torch.Tensor, teacher: torch.Tensor, teacher_graph: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        projected: torch.Tensor = student if self.projector is None else self.projector(student)
        if projected.shape != teacher.shape:
            raise InputError(
                f"student features of shape {tuple(projected.shape)} cannot be compared with teacher "
                f"features of shape {tuple(teacher.shape)}; give projector=nn.Linear({student.shape[1]}, "
                f"{teacher.shape[1]}, bias=False), or node_weight=0 for edges alone"
            )
        if self.node == "cos":
            return node_cosine(projected, teacher)
        probs = neighbor_log_probs(teacher_graph, mask, self.teacher_temperature).exp()
        return node_aggregate(projected, teacher, probs.masked_fill(~mask, 0.0))


def _check_choices(k: int | str | None, edge: str, node: str) -> None:
    if edge not in get_args(Edge):
        raise InputError(f"edge is {edge!r}; use {', '.join(map(repr, get_args(Edge)))}")
    if node not in get_args(Node):
        raise InputError(f'node is {node!r}; use "cos" or "aggregate"')
    is_count = isinstance(k, int) and not isinstance(k, bool) and k >= 1
    if not (k is None or k == "auto" or is_count):
        raise InputError(f'k is {k!r}; expected at least 1 neighbour, "auto", or None for all others')


def _check_rows(student: torch.Tensor, teacher: torch.Tensor, sample_weight: torch.Tensor | None) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise InputError(
            f"student and teacher have shapes {tuple(student.shape)} and {tuple(teacher.shape)}; expected "
            "(B, Ds) and (B, D) features of the same samples"
        )
    if sample_weight is not None and sample_weight.shape != student.shape[:1]:
        raise InputError(
            f"sample_weight has shape {tuple(sample_weight.shape)}; expected ({len(student)},), one a sample"
        )
