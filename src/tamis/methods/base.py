"""What every training method is: a module around a network, with hooks the engine calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from tamis.backbones.classifier import Classifier, Outputs
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.registry import Registry
from tamis.samplers import shuffled


class BuildNetwork(Protocol):
    """Makes a network.

    The number (0, 1, ...) tells the networks of one method apart: each starts differently. ``n_outputs`` is
    the width of its last layer, one output a class where it is None.
    """

    def __call__(self, number: int, n_outputs: int | None = None, /) -> Classifier:
        """Return a network with its first weights."""


Losses: TypeAlias = Tensor | Mapping[str, Tensor]
"""One loss for all optimisers, or one for each by its name, which reaches its optimiser's weights only."""


class Verdict(NamedTuple):
    """What a trained method believes about the labels it was trained on.

    Attributes
    ----------
    clean_scores : (n,) float tensor
        Any monotone scale, higher = label more probably right. NaN where a row has no label.
    beliefs : (n, K) float tensor
        Probability of every class; rows sum to 1. (n, 0) of a method that compares samples: it knows no
        probabilities, and K may be large.
    best : (n,) int64 tensor, optional
        The most probable class, where that does not follow from ``beliefs``.
    """

    clean_scores: Tensor
    beliefs: Tensor
    best: Tensor | None = None

    @property
    def suggested(self) -> Tensor:
        """The most probable class of every row, (n,) int64."""
        return self.beliefs.argmax(dim=1) if self.best is None else self.best


class Method(nn.Module):
    """A published training recipe around one or more networks.

    Subclass it, write `training_step`, and register the class with `METHODS`. Everything that training
    changes lives in parameters and buffers (of fixed shapes): the engine saves and restores nothing else. A
    random draw is a function of ``moment.seed`` and ``moment.step``.

    Parameters
    ----------
    build : callable
        ``build(number)`` makes a network.
    n_samples, n_classes : int
        Of the training set.

    Attributes
    ----------
    recipe : Recipe
        The defaults of the publication, or what suits a small budget; a run may change them.
    views : tuple of str
        Augmentations of the default pass.
    """

    recipe: ClassVar[Recipe] = Recipe()
    views: ClassVar[tuple[str, ...]] = ("weak",)

    def __init__(self, build: BuildNetwork, *, n_samples: int, n_classes: int) -> None:
        super().__init__()
        self.n_samples = n_samples
        self.n_classes = n_classes
        self.network = build(0)
        self.material: Material | None = None
        self.notes: dict[str, Tensor] = {}

    def prepare(self, material: Material, scan: Scan) -> None:
        """Look at the training set once, before the first step; a resumed run calls it again."""
        self.material = material

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name; the engine moves their learning rates along the recipe's course."""
        return {"main": make_optimizer(recipe, self.trained())}

    def trained(self) -> list[nn.Parameter]:
        """Parameters that gradients change."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Return the passes of an epoch: once over every usable row, shuffled, where nothing else is said."""
        index = shuffled(self.known.usable.cpu().numpy(), seed=self.known.seed, epoch=epoch)
        return [Pass({"train": Stream(torch.from_numpy(index), self.views, drop_last=True)})]

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of one step. ``batches`` has one entry for each stream of the pass."""
        raise NotImplementedError

    def after_step(self, moment: Moment) -> None:
        """Update what follows the weights, such as averages and memories."""

    def adjust(self, optimizers: Mapping[str, torch.optim.Optimizer], moment: Moment) -> None:
        """Change optimisers before a step, beyond the learning rates that the recipe has just set."""

    def forward(self, inputs: Tensor) -> Outputs:
        """Predict: what the finished model says."""
        outputs: Outputs = self.network(inputs)
        return outputs

    def verdict(self, scan: Scan) -> Verdict:
        """Return what the method believes about the training labels; by default what it would predict."""
        beliefs = scan.probabilities()
        return Verdict(given_class_scores(beliefs, self.known.labels), beliefs)

    def measure(self, blocks: Iterable[Outputs], labels: Tensor) -> dict[str, float]:
        """Return how well rows that are not trained on are met; higher = better, the first figure decides.

        Parameters
        ----------
        blocks : iterable of Outputs
            Of `forward`, block after block, in order.
        labels : (m,) int64 tensor
            Rows of -1 are left out.
        """
        guesses = torch.cat([block.logits.argmax(dim=1) for block in blocks])
        is_labelled = labels >= 0
        hits = (guesses == labels) & is_labelled
        return {"accuracy": float(hits.sum() / is_labelled.sum().clamp(min=1))}

    @property
    def known(self) -> Material:
        """What `prepare` was given."""
        if self.material is None:
            raise RuntimeError("prepare(material, scan) comes before everything else")
        return self.material

    def note(self, **values: Tensor) -> None:
        """Report numbers of this step, such as ``kept``; their means over the epoch go into the log."""
        self.notes.update({name: value.detach() for name, value in values.items()})


class TwoNetworks(Method):
    """A method with a second network that starts from other weights; it predicts with both."""

    def __init__(self, build: BuildNetwork, *, n_samples: int, n_classes: int) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.network_2 = build(1)

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return an optimiser for each network: ``first`` and ``second``."""
        return {
            "first": make_optimizer(recipe, self.network.parameters()),
            "second": make_optimizer(recipe, self.network_2.parameters()),
        }

    def forward(self, inputs: Tensor) -> Outputs:
        """Return the mean of both networks' logits and features."""
        return mean_outputs(self.network(inputs), self.network_2(inputs))


def mean_outputs(one: Outputs, other: Outputs) -> Outputs:
    """Return the mean of two outputs; feature maps are left out."""
    return Outputs((one.logits + other.logits) / 2, (one.features + other.features) / 2, None)


def given_class_scores(beliefs: Tensor, labels: Tensor) -> Tensor:
    """Return each row's probability of its given label, (n,); NaN where the label is -1."""
    picked = beliefs.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return picked.masked_fill(labels < 0, float("nan"))


def make_optimizer(recipe: Recipe, parameters: object) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over parameters (or over torch's parameter groups)."""
    options: dict[str, float] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, **options)  # type: ignore[arg-type]
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, **options)  # type: ignore[arg-type]  # torch's own type has no public name


METHODS = Registry[type[Method]]("method", package="tamis.methods")
"""Every training method by name; ``Facts.inputs`` is ("any",) or ("image",)."""
