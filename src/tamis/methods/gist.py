"""GIST: each round of self-training keeps what validates better, trusted labels or pseudo labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.backbones.classifier import Classifier, Outputs
from tamis.errors import InputError
from tamis.methods.base import METHODS, BuildNetwork, Losses, make_optimizer
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.self_training import PAPER, SelfTraining
from tamis.methods.visual_selection import Selector
from tamis.registry import Facts
from tamis.samplers import shuffled
from tamis.statistics.labelled_logits import checked_logits
from tamis.targets import choose_set
from tamis.targets.self_training import Choice


@METHODS.register("gist", Facts(title="GIST self-training", inputs=("any",), year=2021, paper=PAPER))
class GIST(SelfTraining):
    """Rounds of self-training, each on trusted labels or on pseudo labels: whichever validates better.

    In every round one copy of the network learns from each set; the better one on trusted rows that were held
    out is what the next round begins with, and what predicts. Costs two trainings; with few trusted rows
    `RIST` is the safer choice. Trusted rows and errors are those of `SelfTraining`.

    Parameters
    ----------
    build, n_samples, n_classes, round_length, threshold, trust, selector
        As in `SelfTraining`.
    held_out : float in (0, 1), default=0.1
        Share of the trusted rows that only validate.

    Notes
    -----
    One round ahead is looked at; the abstract of the paper leaves that open. Each copy keeps its optimiser's
    momentum from round to round.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = GIST(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    policy = "gist"
    n_right: Tensor
    leader: Tensor

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        round_length: float = 0.1,
        threshold: float | None = None,
        trust: float | None = None,
        selector: Selector = "knn",
        held_out: float = 0.1,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            round_length=round_length,
            threshold=threshold,
            trust=trust,
            selector=selector,
        )
        if not 0 < held_out < 1:
            raise InputError(f"held_out is {held_out}; expected a share above 0 and below 1")
        self.held_out = held_out
        self.network_2 = copy.deepcopy(self.network)  # learns from pseudo labels
        self.register_buffer("n_right", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("leader", torch.zeros((), dtype=torch.int64))

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return an optimiser for each copy: ``trusted`` and ``pseudo``."""
        self.plan = recipe
        networks = {"trusted": self.network, "pseudo": self.network_2}
        return {name: make_optimizer(recipe, network.parameters()) for name, network in networks.items()}

    def _begin(self, number: int, scan: Scan) -> None:
        super()._begin(number, scan)
        if self.is_started and not self.held.any():
            rows = torch.nonzero(self.trusted).flatten().cpu().numpy()
            order = torch.from_numpy(shuffled(rows, self.known.seed, 0))
            n_held = min(len(rows) - 1, max(1, round(self.held_out * len(rows))))
            self.held[order[:n_held].to(self.held.device)] = True
        best = self._best()
        for network in (self.network, self.network_2):
            if network is not best:
                network.load_state_dict(best.state_dict())

    def _passes(self, number: int, epoch: int) -> list[Pass]:
        self.n_right.zero_()
        choices: tuple[Choice, ...] = ("trusted", "pseudo") if self._n_pseudo() else ("trusted",)
        passes = [Pass({choice: self._stream(choice, epoch) for choice in choices})]
        if self.held.any() and len(choices) > 1:
            rows = torch.nonzero(self.held).flatten()
            passes.append(Pass({"held": Stream(rows, ("none",))}, name="validation"))
        else:
            self.leader.zero_()
        return passes

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of each copy on its own labels; or count what both get right."""
        if moment.phase == "validation":
            return self._validate(batches["held"], moment)
        self.note(kept=self.trusted.float().mean())
        networks = {"trusted": self.network, "pseudo": self.network_2}
        return {name: self._loss(networks[name], batch) for name, batch in batches.items()}

    def _validate(self, batch: Batch, moment: Moment) -> Tensor:
        with torch.no_grad():
            self.eval()
            outputs = [network(batch.inputs).logits for network in (self.network, self.network_2)]
            self.n_right += torch.stack([(each.argmax(dim=1) == batch.labels).sum() for each in outputs])
        if moment.position + 1 == moment.length:
            trusted, pseudo = self.n_right.tolist()
            choice = choose_set(
                "gist", 0, moment.seed, validation_scores={"trusted": trusted, "pseudo": pseudo}
            )
            self.leader.fill_(int(choice == "pseudo"))
            self.note(pseudo=torch.tensor(float(choice == "pseudo")))
        # A loss that no weight has a part in: the optimisers leave them where they are.
        loss = cross_entropy(checked_logits(outputs[0]), batch.labels)
        return loss + torch.zeros_like(loss, requires_grad=True)

    def _best(self) -> Classifier:
        return self.network_2 if self.leader else self.network

    def forward(self, inputs: Tensor) -> Outputs:
        """Predict with the copy that validates better."""
        outputs: Outputs = self._best()(inputs)
        return outputs
