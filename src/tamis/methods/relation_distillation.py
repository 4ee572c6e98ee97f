"""Relation distillation (RMDNet-style), a plug-in for any method."""

from __future__ import annotations

import copy
import warnings
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from tamis.backbones.classifier import Classifier
from tamis.backbones.initialisation import initialise_head, without_draws
from tamis.errors import InputError, TamisWarning
from tamis.losses.relation_distillation import Edge, Node, RelationDistillation
from tamis.losses.relation_weights import check_number, relation_ramp
from tamis.losses.simsiam import check_not_collapsed
from tamis.methods.base import Method
from tamis.methods.batches import Moment
from tamis.methods.material import Material, Scan
from tamis.methods.plugin import PLUGINS, FirstStage, Plugin, Seen, trained_networks
from tamis.methods.simsiam import SimSiam
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts
from tamis.statistics.labelled_logits import at_least_float32

Teacher: TypeAlias = Literal["auto", "features", "simsiam"]
"""Where the relations come from: frozen features, or a network trained before without labels."""

_LOOKED_AT = 10_000


@PLUGINS.register(
    "relation_distillation",
    Facts(
        title="Relation distillation (RMDNet-style)",
        inputs=("any",),
        year=2024,
        paper="X. Che, J. Zhang, Z. Qi, X. Qi. Relation modeling and distillation for learning with noisy "
        "labels. arXiv 2405.19606, 2024.",
    ),
)
class RelationDistillationPlugin(Plugin):
    """Keep the similarities between samples near those a teacher sees that no label has misled.

    Adds ``weight`` times the loss of `tamis.losses.RelationDistillation` for every network of the host, over
    all samples of a batch that the host did not mix, whatever their labels. The teacher looks at every sample
    once, unaugmented. No use where its features say little about the classes. A host of weight 0 runs bit for
    bit as without.

    Parameters
    ----------
    teacher : {"auto", "features", "simsiam"}
        ``"features"``: frozen ones, those given or of an encoder. ``"simsiam"``: a copy of the host's network
        is trained without labels before the host starts, on all samples. ``"auto"``: features if they are
        there already, else SimSiam.
    weight : float, at least 0, default=1.0
        Of the whole term.
    k, edge, node, teacher_temperature, student_temperature, edge_weight, node_weight
        As in `tamis.losses.RelationDistillation`.
    ramp_epochs : float, default=10
        Epochs over which the weight rises from 0; below 1 as a share of all epochs.
    teacher_epochs : int, default=100
        Of SimSiam. Its paper: 800 on CIFAR.
    teacher_lr : float, default=0.03
        For each 256 samples of a batch.
    teacher_batch_size : int, default=512
    teacher_projected : int, default=512
        Width that SimSiam compares views in. Its paper: 2048.

    Raises
    ------
    InputError
        A parameter out of range. When trained: there are no features, the host has nothing that SimSiam could
        train, or the teacher sees all samples alike.

    Warns
    -----
    TamisWarning
        The host's networks have a frozen backbone or none: their features stay as they are.

    Notes
    -----
    The paper states the two stages and that edges and nodes are matched, and was not available beyond that:
    the exact formulas are this package's, hence "RMDNet-style". Each network has a projector of its own.
    SimSiam starts from the host's first weights.

    Examples
    --------
    >>> plugin = RelationDistillationPlugin(teacher="features", k=8)
    >>> plugin.stage_recipe.epochs, plugin.weight
    (100, 1.0)
    """

    teacher_features: Tensor | None

    def __init__(
        self,
        *,
        teacher: Teacher = "auto",
        weight: float = 1.0,
        k: int | Literal["auto"] | None = "auto",
        edge: Edge = "kl",
        node: Node = "cos",
        teacher_temperature: float = 0.1,
        student_temperature: float = 0.1,
        edge_weight: float = 1.0,
        node_weight: float = 1.0,
        ramp_epochs: float = 10,
        teacher_epochs: int = 100,
        teacher_lr: float = 0.03,
        teacher_batch_size: int = 512,
        teacher_projected: int = 512,
    ) -> None:
        super().__init__()
        if teacher not in get_args(Teacher):
            raise InputError(f"teacher is {teacher!r}; use {', '.join(map(repr, get_args(Teacher)))}")
        check_number("weight", weight)
        refuse_span(ramp_epochs, "ramp_epochs")
        if teacher_projected < 1:
            raise InputError(f"teacher_projected is {teacher_projected}; expected a width of at least 1")
        self.relation = RelationDistillation(
            k=k,
            edge=edge,
            node=node,
            teacher_temperature=teacher_temperature,
            student_temperature=student_temperature,
            edge_weight=edge_weight,
            node_weight=node_weight,
            ramp_epochs=0,  # the ramp is ours: it may be a share of the run
        )
        self.teacher: Teacher = teacher
        self.weight, self.ramp_epochs = weight, ramp_epochs
        self.k, self.edge, self.node = k, edge, node
        self.teacher_temperature, self.student_temperature = teacher_temperature, student_temperature
        self.edge_weight, self.node_weight = edge_weight, node_weight
        self.teacher_epochs, self.teacher_batch_size = teacher_epochs, teacher_batch_size
        self.teacher_lr, self.teacher_projected = teacher_lr, teacher_projected
        self.stage_recipe = SimSiam.recipe.changed(
            epochs=teacher_epochs, batch_size=teacher_batch_size, lr=teacher_lr * teacher_batch_size / 256
        )
        self.students = nn.ModuleList()
        self.register_buffer("teacher_features", None, persistent=False)
        self._places: dict[int, int] = {}

    def meet(self, host: Method, material: Material) -> FirstStage | None:
        """Make a projector for each network; take frozen features, or ask for SimSiam."""
        if not self._is_on:
            return None
        networks = trained_networks(host)
        _warn_of_frozen(networks)
        is_given = self.teacher == "features" or (self.teacher == "auto" and material.has_features)
        if is_given:
            self._take(material.features())
            width = self._table.shape[1]
        else:
            width = networks[0].n_features
        self._places = {id(network): place for place, network in enumerate(networks)}
        self.students = nn.ModuleList(
            self._student(network, width, seed=material.seed * 1000 + place)
            for place, network in enumerate(networks)
        )
        return None if is_given else self._first_stage(networks[0], host, material)

    def learn(self, stage: FirstStage, scan: Scan) -> None:
        """Keep what the trained backbone makes of every sample."""
        self._take(torch.cat([block.outputs.features for block in scan.blocks(stage.method)]))

    def is_active(self, moment: Moment) -> bool:
        """Return whether the weight is above 0 by now."""
        return self._is_on and self._ramp(moment) > 0

    def loss(self, seen: list[Seen], moment: Moment) -> Tensor:
        """Return the weighted term: a network's mean over what it was shown, summed over networks."""
        terms: dict[int, list[Tensor]] = {}
        for network, outputs, batch, _ in seen:
            place = self._places[id(network)]
            term = self.students[place](outputs.features, self._table[batch.index])
            terms.setdefault(place, []).append(term)
        total = torch.stack([torch.stack(own).mean() for own in terms.values()]).sum()
        return self.weight * self._ramp(moment) * total

    @property
    def _is_on(self) -> bool:
        return self.weight > 0 and self.edge_weight + self.node_weight > 0

    @property
    def _table(self) -> Tensor:
        if self.teacher_features is None:
            raise RuntimeError(
                "meet(host, material) comes first, and learn(stage, scan) where it asks for it"
            )
        return self.teacher_features

    def _ramp(self, moment: Moment) -> float:
        return relation_ramp(moment.progress, span(self.ramp_epochs, moment.n_epochs))

    def _take(self, features: Tensor) -> None:
        features = at_least_float32(features.detach())
        if len(features) > 1:
            check_not_collapsed(features[:: max(1, len(features) // _LOOKED_AT)])
        self.teacher_features = features

    def _student(self, network: Classifier, width: int, seed: int) -> RelationDistillation:
        student = copy.deepcopy(self.relation)
        if self.node_weight > 0:
            with without_draws():
                student.projector = nn.Linear(network.n_features, width, bias=False)
            initialise_head(student.projector, seed)
        return student

    def _first_stage(self, network: Classifier, host: Method, material: Material) -> FirstStage:
        if not _has_trained_backbone(network):
            raise InputError(
                "teacher 'simsiam' trains a copy of the host's network without labels, and this one has a "
                "frozen backbone or none; use teacher='features', or a backbone that is trained"
            )
        teacher = SimSiam(
            lambda number, n_outputs=None: copy.deepcopy(network),
            n_samples=host.n_samples,
            n_classes=host.n_classes,
            n_projected=self.teacher_projected,
            seed=material.seed,
        )
        return FirstStage("first_stage", teacher, self.stage_recipe)


def _has_trained_backbone(network: Classifier) -> bool:
    return any(weight.requires_grad for weight in network.backbone.parameters())


def _warn_of_frozen(networks: list[Classifier]) -> None:
    if not all(_has_trained_backbone(network) for network in networks):
        warnings.warn(
            "relation distillation shapes the features under a network's head, and here the backbone is "
            "frozen or none at all: it changes nothing; use a backbone that is trained, such as 'mlp' for "
            "features",
            TamisWarning,
            stacklevel=3,
        )
