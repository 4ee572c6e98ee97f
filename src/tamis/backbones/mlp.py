"""A multilayer perceptron on features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier
from tamis.backbones.initialisation import initialise, without_draws
from tamis.errors import InputError
from tamis.registry import Facts


class MLP(nn.Module):
    """Hidden layers of a multilayer perceptron: linear, batch norm if asked for, rectifier, dropout.

    Parameters
    ----------
    n_inputs : int
    hidden : tuple of int
        Widths of the hidden layers, at least one.
    dropout : float
        Share of hidden units that are dropped while training, 0 to below 1.
    norm : {"none", "batch"}
    seed : int

    Raises
    ------
    InputError
        An argument is out of its range.

    Examples
    --------
    >>> MLP(20, hidden=(8, 4))(torch.zeros(3, 20)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        hidden: tuple[int, ...] = (512,),
        dropout: float = 0.0,
        norm: Literal["none", "batch"] = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden is {hidden}; give the width of each hidden layer, such as (512,)")
        if not 0.0 <= dropout < 1.0:
            raise InputError(f"dropout is {dropout}; it must be from 0 to below 1")
        if norm not in ("none", "batch"):
            raise InputError(f"norm {norm!r} is unknown; use 'none' or 'batch'")
        self.n_features = hidden[-1]
        with without_draws():
            self.layers = nn.Sequential()
            for width_in, width in zip((n_inputs, *hidden), hidden, strict=False):
                self.layers.append(nn.Linear(width_in, width))
                if norm == "batch":
                    self.layers.append(nn.BatchNorm1d(width))
                self.layers.append(nn.ReLU())
                if dropout > 0.0:
                    self.layers.append(nn.Dropout(dropout))
        initialise(self, seed)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, hidden[-1]) features of (B, n_inputs) inputs."""
        features: torch.Tensor = self.layers(inputs)
        return features


@BACKBONES.register("mlp", Facts("Multilayer perceptron", inputs=("features",)))
def mlp(
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    seed: int = 0,
    hidden: tuple[int, ...] = (512,),
    dropout: float = 0.0,
    norm: Literal["none", "batch"] = "none",
) -> Classifier:
    """Return a multilayer perceptron; without dropout it fits wrong labels within a few epochs.

    Parameters
    ----------
    input_shape : (D,)
    n_classes : int
    seed : int
    hidden, dropout, norm
        As in `MLP`.

    Examples
    --------
    >>> mlp((20,), 3, hidden=(8,))(torch.zeros(5, 20)).logits.shape
    torch.Size([5, 3])
    """
    backbone = MLP(input_shape[0], hidden=hidden, dropout=dropout, norm=norm, seed=seed)
    return Classifier(backbone, backbone.n_features, n_classes, seed=seed)
