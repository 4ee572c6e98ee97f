"""MixFix: train on a first selection, and let it grow by what the network is sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tamis.losses.soft_cross_entropy import soft_cross_entropy
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.methods.visual_selection import (
    SelectionRules,
    Selector,
    are_features,
    first_selection,
    refuse_threshold,
)
from tamis.registry import Facts
from tamis.samplers import class_balanced, cycled
from tamis.targets import absorb_and_relabel, mixup, mixup_lambda, mixup_permutation, one_hot


@METHODS.register(
    "mixfix",
    Facts(
        title="MixFix",
        inputs=("any",),
        year=2024,
        paper="C. Feng, G. Tzimiropoulos, I. Patras. CLIPCleaner: cleaning noisy labels with CLIP. ACM "
        "Multimedia 2024.",
    ),
)
class MixFix(Method):
    """Class-balanced mixup on selected rows; after each epoch, sure predictions add rows and correct labels.

    Starts from the initial selection, as CLIPCleaner or an audit makes it; its rows stay selected. Without
    one it makes its own, by a classifier on the features: those it is given, its inputs where they are rows
    of numbers, else those of its own network after a short warm-up. Inputs must be numbers that can be mixed,
    not tokens. Rows without a label join once they are relabelled.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    theta_r : float, default=0.8
        A row whose label the network predicts with at least this probability is selected; above 1: never.
    theta_r2 : float, default=0.8
        A row for which it predicts another label with at least this probability is selected with that one;
        above 1: never. The paper: both 0.8 for symmetric noise, 1 for instance-dependent, 0.7 and 0.95 for
        ANIMAL-10N.
    alpha : float, at least 0, default=1.0
        Of mixup's Beta distribution; 0 = no mixing.
    view : str, optional
        Augmentation; None: "strong" for images, "weak" for rows of numbers. The paper: an AutoAugment policy
        after crop and flip.
    selector : {"knn", "logistic"}, default="knn"
        Classifier of its own selection: the vote of the nearest neighbours, or logistic regression.
    n_neighbors : int, default=30
        Voters.
    theta_gmm, theta_cons : float, default=0.5, 0.8
        Rules of its own selection, see `tamis.methods.visual_selection.SelectionRules`.
    warm_up : float, default=0.1
        Epochs on all labels before a selection by the network's own features; below 1 as a share of all.

    Raises
    ------
    InputError
        A parameter out of range.

    Notes
    -----
    The paper: SGD at 0.02, weight decay 0.0005, batches of 128, 300 epochs on CIFAR, a tenth of the learning
    rate from 200 and from 250 on. Here 50 epochs, with steps at the same shares. An epoch has as many steps
    as one over all rows. The selection of its own is ours: both rules of CLIPCleaner without the text half.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = MixFix(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    recipe = Recipe(schedule="steps", milestones=(2 / 3, 5 / 6))
    kept: Tensor
    selected: Tensor
    current: Tensor
    is_started: Tensor

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        theta_r: float = 0.8,
        theta_r2: float = 0.8,
        alpha: float = 1.0,
        view: str | None = None,
        selector: Selector = "knn",
        n_neighbors: int = 30,
        theta_gmm: float = 0.5,
        theta_cons: float = 0.8,
        warm_up: float = 0.1,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_threshold(theta_r, "theta_r")
        refuse_threshold(theta_r2, "theta_r2")
        mixup_lambda(alpha, seed=0, step=0)  # refuses an alpha out of range
        refuse_span(warm_up, "warm_up")
        self.theta_r = theta_r
        self.theta_r2 = theta_r2
        self.alpha = alpha
        self.view = view
        self.given_view = "weak"
        self.rules = SelectionRules(selector, n_neighbors, theta_gmm, theta_cons)
        self.warm_up = warm_up
        self.plan = self.recipe
        self.register_buffer("kept", torch.zeros(n_samples, dtype=torch.bool))  # the first selection
        self.register_buffer("selected", torch.zeros(n_samples, dtype=torch.bool))
        self.register_buffer("current", torch.full((n_samples,), -1))  # labels, some of them corrected
        self.register_buffer("is_started", torch.zeros((), dtype=torch.bool))

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser, and note how long training takes."""
        self.plan = recipe
        return super().optimizers(recipe)

    def prepare(self, material: Material, scan: Scan) -> None:
        """Choose the augmentation where none was given."""
        super().prepare(material, scan)
        self.given_view = self.view or ("weak" if are_features(scan, material.n_classes) else "strong")

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Select first rows, or those and what the network is sure of; draw all classes equally often."""
        labels = self.known.labels
        if self.is_started:
            found = absorb_and_relabel(
                scan.probabilities(), labels, self.kept, theta_r=self.theta_r, theta_r2=self.theta_r2
            )
            self.current.copy_(found.labels)
            self.selected.copy_(found.selected)
        else:
            self.current.copy_(labels)
            self._start(epoch, scan)
        codes, chosen = self.current.cpu().numpy(), self.selected.cpu().numpy()
        order = cycled(
            lambda cycle: class_balanced(codes, chosen, self.known.seed, epoch, cycle=cycle), self.n_samples
        )
        return [Pass({"train": Stream(torch.from_numpy(order), (self.given_view,), drop_last=True)})]

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the cross-entropy of mixed rows against their mixed current labels."""
        batch = batches["train"]
        labels = self.current[batch.index]
        self.note(
            kept=self.selected.float().mean(),
            relabelled=(self.selected & (self.current != self.known.labels)).float().mean(),
        )
        weight = mixup_lambda(self.alpha, moment.seed, moment.step)
        partner = mixup_permutation(len(batch), moment.seed, moment.step, device=batch.index.device)
        mixed = mixup(batch.inputs, one_hot(labels, self.n_classes), weight, partner)
        return soft_cross_entropy(self.network(mixed.inputs).logits, mixed.targets)

    def _start(self, epoch: int, scan: Scan) -> None:
        """Make the first selection; all labelled rows while there is nothing to make it from."""
        found = first_selection(
            self.known,
            scan,
            self.network if epoch >= span(self.warm_up, self.plan.epochs) else None,
            self.rules,
        )
        if found is None:
            self.selected.copy_(self.known.labels >= 0)
            return
        self.kept.copy_(found)
        self.selected.copy_(found)
        self.is_started.fill_(True)
