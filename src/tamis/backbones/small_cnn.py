"""A small convolutional network for images of 28 to 64 px, sized for training on a processor."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier, Pool
from tamis.backbones.initialisation import initialise, without_draws
from tamis.errors import InputError
from tamis.registry import Facts

Norm: TypeAlias = Literal["batch", "group", "none"]

_GROUPS = 8
_SMALLEST_SIDE = 8


class SmallCNN(nn.Module):
    """Four 3x3 convolutions with 1, 2, 4 and 4 times ``width`` channels; the first two halve the image.

    Parameters
    ----------
    in_channels : int
    width : int
        Channels of the first layer, a multiple of 8.
    norm : {"batch", "group", "none"}
        Behind every convolution. ``"group"`` (groups of 8) and ``"none"`` make a sample's result independent
        of its batch, as training on several processes wants.
    dropout : float
        Share of whole channels of the last maps that are dropped while training, 0 to below 1.
    seed : int

    Raises
    ------
    InputError
        An argument is out of its range.

    Examples
    --------
    >>> SmallCNN(1)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 128, 7, 7])
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        width: int = 32,
        norm: Norm = "batch",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < _GROUPS or width % _GROUPS:
            raise InputError(f"width is {width}; it must be a positive multiple of {_GROUPS}")
        if norm not in get_args(Norm):
            raise InputError(f"norm {norm!r} is unknown; use {', '.join(map(repr, get_args(Norm)))}")
        if not 0.0 <= dropout < 1.0:
            raise InputError(f"dropout is {dropout}; it must be from 0 to below 1")
        self.n_features = 4 * width
        with without_draws():
            self.layers = nn.Sequential(
                *_stage(in_channels, width, norm, halves=True),
                *_stage(width, 2 * width, norm, halves=True),
                *_stage(2 * width, 4 * width, norm, halves=False),
                *_stage(4 * width, 4 * width, norm, halves=False),
            )
        if dropout > 0.0:
            self.layers.append(nn.Dropout2d(dropout))
        initialise(self, seed)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, 4 width, H / 4, W / 4) maps of (B, in_channels, H, W) images."""
        maps: torch.Tensor = self.layers(inputs)
        return maps


def _stage(n_in: int, n_out: int, norm: Norm, *, halves: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 3, padding=1, bias=norm == "none")]
    if norm != "none":
        layers.append(nn.BatchNorm2d(n_out) if norm == "batch" else nn.GroupNorm(n_out // _GROUPS, n_out))
    if halves:
        # The maximum before the rectifier gives what it gives behind it, for a quarter of the work.
        layers.append(nn.MaxPool2d(2))
    return [*layers, nn.ReLU(inplace=True)]


@BACKBONES.register("small_cnn", Facts("Small convolutional network", inputs=("image",)))
def small_cnn(
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    seed: int = 0,
    width: int = 32,
    norm: Norm = "batch",
    dropout: float = 0.0,
    pool: Pool = "mean",
) -> Classifier:
    """Return a small convolutional network trained from scratch, for images of about 28 to 64 px.

    Parameters
    ----------
    input_shape : (C, H, W)
        H and W at least 8.
    n_classes : int
    seed : int
    width, norm, dropout
        As in `SmallCNN`.
    pool : {"mean", "max", "flatten"}
        As in `Classifier`. ``"flatten"`` gives the head every place: 49 or more times as many weights, and
        no maps.

    Raises
    ------
    InputError
        The images are too small, or an argument is out of its range.

    Examples
    --------
    >>> network = small_cnn((3, 32, 32), 10)
    >>> sum(weight.numel() for weight in network.parameters())
    242474
    >>> network(torch.zeros(2, 3, 32, 32)).maps.shape
    torch.Size([2, 128, 8, 8])
    """
    if min(input_shape[1:]) < _SMALLEST_SIDE:
        raise InputError(
            f"input_shape is {input_shape}; small_cnn needs images of at least {_SMALLEST_SIDE} px a side: "
            "pass them as features"
        )
    backbone = SmallCNN(input_shape[0], width=width, norm=norm, dropout=dropout, seed=seed)
    n_places = (input_shape[1] // 4) * (input_shape[2] // 4) if pool == "flatten" else 1
    return Classifier(backbone, backbone.n_features * n_places, n_classes, pool=pool, seed=seed)
