"""Plug-ins: an extra loss beside any method, which stays exactly what it is where the weight is 0."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tamis.backbones.classifier import Classifier, Outputs
from tamis.methods.base import Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.registry import Registry


class Seen(NamedTuple):
    """One network's outputs for one batch that the host did not mix.

    Attributes
    ----------
    network : Classifier
    outputs : Outputs
        With gradients.
    batch : Batch
    view : int
        Which of the batch's views the network saw.
    """

    network: Classifier
    outputs: Outputs
    batch: Batch
    view: int


class FirstStage(NamedTuple):
    """A training that a plug-in needs before the host's: run, logged and resumed like any other.

    Attributes
    ----------
    name : str
        Of its folder in the run folder.
    method : Method
        Shares no weights with the host.
    recipe : Recipe
    """

    name: str
    method: Method
    recipe: Recipe


class Plugin(nn.Module):
    """Something that adds a loss to a host method.

    The engine shows it what the host's networks said about unmixed rows in this step. Where a host shows a
    network mixed rows only, the engine asks that network about the first view of the first stream.

    The engine calls, in this order: `meet`; `learn` after the first stage, if `meet` asked for one;
    `prepare`; then `is_active` and `loss` in every step. A resumed run calls all of them again, then restores
    parameters and buffers. Hyper-parameters are attributes of the same names: a run is continued only under
    the same ones.
    """

    def meet(self, host: Method, material: Material) -> FirstStage | None:
        """Look at the host and make modules that fit it; return what has to be trained before, if anything.

        The host has its first weights, and must not be changed.
        """
        return None

    def learn(self, stage: FirstStage, scan: Scan) -> None:
        """Take what is needed from the finished first stage; ``scan`` runs its method by default."""

    def is_active(self, moment: Moment) -> bool:
        """Return whether `loss` can differ from 0 now; if not, nothing at all is computed."""
        return True

    def prepare(self, material: Material, scan: Scan) -> None:
        """Look at the training set once, before the first step."""

    def loss(self, seen: list[Seen], moment: Moment) -> Tensor:
        """Return the loss to add, a scalar: the sum over networks."""
        raise NotImplementedError

    def trained(self) -> list[nn.Parameter]:
        """Parameters of its own that gradients change."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


PLUGINS = Registry[type[Plugin]]("plug-in", package="tamis.methods", group="tamis.plugins")
"""Every plug-in by name."""


def trained_networks(host: Method) -> list[Classifier]:
    """Return the networks of a method that gradients reach, in order; averaged copies are none of them."""
    networks = [part for part in host.modules() if isinstance(part, Classifier)]
    return [found for found in networks if any(weight.requires_grad for weight in found.parameters())]
