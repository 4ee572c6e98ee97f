"""Plug-ins: an extra loss beside any method, which stays exactly what it is where the weight is 0."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tamis.backbones.classifier import Classifier, Outputs
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Material, Scan
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


class Plugin(nn.Module):
    """Something that adds a loss to a host method.

    The engine shows it what the host's networks said about unmixed rows in this step. Where a host shows a
    network mixed rows only, the engine asks that network about the first view of the first stream.
    """

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


def zero(like: Tensor) -> Tensor:
    """Return a scalar 0 on the device of ``like``, in float32."""
    return torch.zeros((), device=like.device)
