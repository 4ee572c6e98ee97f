"""Self-training in rounds: what its policies share, RIST, and the fixed mixture they improve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.backbones.classifier import Classifier
from tamis.errors import InputError
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.methods.visual_selection import SelectionRules, Selector, first_selection
from tamis.registry import Facts
from tamis.samplers import cycled, shuffled
from tamis.statistics.labelled_logits import checked_logits
from tamis.targets import choose_set, pseudo_labels, round_labels
from tamis.targets.self_training import Choice, Policy

PAPER = (
    "E. W. Teh, T. DeVries, B. Duke, R. Jiang, P. Aarabi, G. W. Taylor. The GIST and RIST of iterative "
    "self-training for semi-supervised segmentation. arXiv 2103.17105, 2021."
)


class SelfTraining(Method):
    """What the three policies share: a first round on trusted rows, then rounds as the policy chooses.

    Trusted are the rows of the initial selection, or those whose label score exceeds ``trust``; without
    either, what a classifier on the features agrees with, as in MixFix (on the network's own features after a
    first round on all labels). All other rows, unlabelled ones too, get pseudo labels of the newest network
    at the start of every round.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    round_length : float, default=0.1
        Epochs of a round; below 1 as a share of all epochs.
    threshold : float, optional
        Least confidence of a pseudo label; without one every prediction counts.
    trust : float, optional
        Trust rows whose label score exceeds this, in place of the initial selection; needs an audit.
    selector : {"knn", "logistic"}, default="knn"
        As in MixFix.

    Raises
    ------
    InputError
        A parameter out of range, or ``trust`` without label scores.
    """

    policy: ClassVar[Policy]
    recipe = Recipe(schedule="constant")
    trusted: Tensor
    held: Tensor
    current: Tensor
    is_started: Tensor

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
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_span(round_length, "round_length")
        pseudo_labels(torch.ones(1, 1), threshold=threshold)  # refuses a threshold that is NaN
        if trust is not None and not 0 <= trust < 1:
            raise InputError(f"trust is {trust}; expected a label score of at least 0 and below 1, or None")
        self.round_length = round_length
        self.threshold = threshold
        self.trust = trust
        self.rules = SelectionRules(selector)
        self.plan = self.recipe
        self.register_buffer("trusted", torch.zeros(n_samples, dtype=torch.bool))
        self.register_buffer("held", torch.zeros(n_samples, dtype=torch.bool))  # trusted, but not trained on
        self.register_buffer("current", torch.full((n_samples,), -1))  # pseudo labels of the round
        self.register_buffer("is_started", torch.zeros((), dtype=torch.bool))

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser, and note how long training takes."""
        self.plan = recipe
        return super().optimizers(recipe)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Make trusted rows and pseudo labels where a round begins; draw as many rows as there are."""
        length = max(1, span(self.round_length, self.plan.epochs))
        number = epoch // length
        if epoch % length == 0:
            self._begin(number, scan)
        return self._passes(number, epoch)

    def _begin(self, number: int, scan: Scan) -> None:
        if not self.is_started:
            found = self._first_trusted(scan, self.network if number > 0 else None)
            self.trusted.copy_(self.known.labels >= 0 if found is None else found)
            self.is_started.fill_(found is not None)
        if number > 0:
            made = pseudo_labels(scan.probabilities(), threshold=self.threshold)
            self.current.copy_(made.labels.masked_fill(self.trusted | self.held, -1))

    def _first_trusted(self, scan: Scan, network: Classifier | None) -> Tensor | None:
        if self.trust is None:
            return first_selection(self.known, scan, network, self.rules)
        scores = self.known.label_scores
        if scores is None:
            raise InputError(f"trust is {self.trust}, and there are no label scores; train with an audit")
        is_trusted = (scores > self.trust) & (self.known.labels >= 0)
        if not is_trusted.any():
            raise InputError(f"no label score exceeds trust = {self.trust}; the largest is {scores.max():g}")
        return is_trusted

    def _passes(self, number: int, epoch: int) -> list[Pass]:
        choice = choose_set(self.policy, number, self.known.seed, n_pseudo=self._n_pseudo())
        return [Pass({choice: self._stream(choice, epoch)})]

    def _n_pseudo(self) -> int:
        return int((self.current >= 0).sum())

    def _stream(self, choice: Choice, epoch: int) -> Stream:
        """Return the rows of a set in random order, over and over, as many as there are rows in all."""
        rows = torch.nonzero(self._labels(choice) >= 0).flatten().cpu().numpy()
        seed = self.known.seed
        order = cycled(lambda cycle: shuffled(rows, seed, epoch, cycle=cycle), self.n_samples)
        return Stream(torch.from_numpy(order), self.views, drop_last=True)

    def _labels(self, choice: Choice) -> Tensor:
        """Return the labels of a round, (n,); -1 where a row takes no part."""
        return round_labels(choice, self.known.labels, self.trusted & ~self.held, self.current).labels

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the cross-entropy of the round's labels."""
        ((choice, batch),) = batches.items()
        self.note(pseudo=torch.tensor(float(choice == "pseudo")), kept=self.trusted.float().mean())
        return self._loss(self.network, batch)

    def _loss(self, network: Classifier, batch: Batch) -> Tensor:
        """Return the cross-entropy of given labels of trusted rows and pseudo labels of the others."""
        given = self.known.labels[batch.index]
        labels = given.where(self.trusted[batch.index], self.current[batch.index])
        return cross_entropy(checked_logits(network(batch.inputs).logits), labels)


@METHODS.register("rist", Facts(title="RIST self-training", inputs=("any",), year=2021, paper=PAPER))
class RIST(SelfTraining):
    """Rounds of self-training, each on trusted labels or on pseudo labels as a coin falls.

    Unlike a fixed mixture of both it does not confirm its own mistakes round after round. Parameters, trusted
    rows and errors are those of `SelfTraining`.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = RIST(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    policy = "rist"


@METHODS.register(
    "mix", Facts(title="Fixed mixture of self-training", inputs=("any",), year=2021, paper=PAPER)
)
class FixedMix(SelfTraining):
    """Rounds of self-training on trusted and pseudo labels together: the baseline that GIST and RIST improve.

    Parameters, trusted rows and errors are those of `SelfTraining`.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = FixedMix(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    policy = "mix"
