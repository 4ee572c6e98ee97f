"""A backbone under a linear head: what every method trains and every selector reads."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import nn

from tamis.backbones.initialisation import initialise_head, without_draws
from tamis.errors import InputError

Pool: TypeAlias = Literal["mean", "max", "flatten"]
"""How maps become features: mean or maximum over places, or all places side by side."""


class Outputs(NamedTuple):
    """What a classifier says about a batch.

    Attributes
    ----------
    logits : (B, K) float tensor
    features : (B, D) float tensor
        What the linear head sees.
    maps : (B, D, H, W) float tensor or None
        Features before their mean over places, for networks that end in that mean and a linear head: the
        head applied to every place, averaged, gives the logits. None for all others.
    """

    logits: torch.Tensor
    features: torch.Tensor
    maps: torch.Tensor | None = None


class Normalisation(NamedTuple):
    """What a pretrained network wants of each channel of images with values 0..1: less mean, over std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Classifier(nn.Module):
    """Backbone and linear head behind one interface.

    Parameters
    ----------
    backbone : nn.Module
        Returns (B, n_features) features or, for images, (B, C, H, W) maps.
    n_features : int
        Width of the head: C for pooled maps, C x H x W for ``pool="flatten"``.
    n_classes : int
        At least 2.
    pool : {"mean", "max", "flatten"}
        How maps become features. Only ``"mean"`` hands out maps. Without effect where there are none.
    seed : int
        Decides the first weights of the head; those of the backbone are left alone.

    Attributes
    ----------
    head : nn.Linear
    normalisation : Normalisation or None
        What the backbone wants done to images, where it says so (pretrained ones do).

    Raises
    ------
    InputError
        A number or name is out of its range.

    Examples
    --------
    >>> network = Classifier(nn.Flatten(), n_features=4, n_classes=3, seed=0)
    >>> outputs = network(torch.zeros(5, 2, 2))
    >>> outputs.logits.shape, outputs.features.shape, outputs.maps
    (torch.Size([5, 3]), torch.Size([5, 4]), None)
    """

    def __init__(
        self, backbone: nn.Module, n_features: int, n_classes: int, *, pool: Pool = "mean", seed: int = 0
    ) -> None:
        super().__init__()
        if n_features < 1:
            raise InputError(f"n_features is {n_features}; the backbone must give at least 1 feature")
        if n_classes < 2:
            raise InputError(f"n_classes is {n_classes}; a classifier needs at least 2 classes")
        if pool not in get_args(Pool):
            raise InputError(f"pool {pool!r} is unknown; use {', '.join(map(repr, get_args(Pool)))}")
        self.backbone = backbone
        self.n_features = n_features
        self.n_classes = n_classes
        self.pool = pool
        with without_draws():
            self.head = nn.Linear(n_features, n_classes)
        initialise_head(self.head, seed)

    @property
    def normalisation(self) -> Normalisation | None:
        """What the backbone wants done to images with values 0..1; None where anything goes."""
        found = getattr(self.backbone, "normalisation", None)
        return found if isinstance(found, Normalisation) else None

    def forward(self, inputs: torch.Tensor) -> Outputs:
        """Return logits, features and maps of a batch.

        Raises
        ------
        InputError
            The backbone's result is no matrix and no maps, or not as wide as the head.
        """
        found: torch.Tensor = self.backbone(inputs)
        if found.ndim not in (2, 4):
            raise InputError(
                f"the backbone returned shape {tuple(found.shape)}; it must return (B, {self.n_features}) "
                "features or (B, C, H, W) maps"
            )
        features = self._pooled(found) if found.ndim == 4 else found
        if features.shape[1] != self.n_features:
            raise InputError(
                f"the backbone gave {features.shape[1]} features for inputs of shape {tuple(inputs.shape)}, "
                f"but the head takes {self.n_features}; build the classifier with "
                f"n_features={features.shape[1]}, or pass inputs of the shape it was built for"
            )
        maps = found if found.ndim == 4 and self.pool == "mean" else None
        return Outputs(self.head(features), features, maps)

    def _pooled(self, maps: torch.Tensor) -> torch.Tensor:
        if self.pool == "mean":
            return maps.mean(dim=(2, 3))
        return maps.amax(dim=(2, 3)) if self.pool == "max" else maps.flatten(start_dim=1)
