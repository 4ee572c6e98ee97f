"""EfficientNet-Lite0 with its ImageNet weights: the built-in image encoder as a network to train."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier, Normalisation
from tamis.backbones.freezing import Freezable
from tamis.backbones.image_size import fit_images
from tamis.backbones.initialisation import without_draws
from tamis.errors import InputError
from tamis.pretrained.efficientnet_lite0 import (
    NORM_EPSILON,
    SCALE_MEAN,
    SCALE_WIDTH,
    STAGES,
    load_weights,
    weights_path,
)
from tamis.registry import Facts

Weights = dict[str, torch.Tensor]

_NORM_MOMENTUM = 0.01


class ConvNorm(nn.Module):
    """Convolution, batch norm and, where the network has it, ReLU6; with published weights."""

    def __init__(
        self, weights: Weights, conv: str, norm: str, *, stride: int = 1, has_relu6: bool = True
    ) -> None:
        super().__init__()
        # (out, in / groups, k, k): a depthwise kernel sees one channel.
        kernel = weights[f"{conv}.weight"]
        groups = kernel.shape[0] if conv.endswith("depthwise_conv") else 1
        n_out, n_in, side = kernel.shape[0], kernel.shape[1] * groups, kernel.shape[2]
        self.is_shrinking = stride == 2
        self.margin = side // 2
        padding = 0 if self.is_shrinking else self.margin
        self.conv = nn.Conv2d(n_in, n_out, side, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(n_out, eps=NORM_EPSILON, momentum=_NORM_MOMENTUM)
        self.activation = nn.ReLU6(inplace=True) if has_relu6 else nn.Identity()
        self.conv.load_state_dict({"weight": kernel})
        self.norm.load_state_dict(
            {name: weights.get(f"{norm}.{name}", value) for name, value in self.norm.state_dict().items()}
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, out, H / stride, W / stride)."""
        if self.is_shrinking:
            # The network was trained with one row and column less of zeros above and to the left.
            inputs = functional.pad(inputs, (self.margin - 1, self.margin, self.margin - 1, self.margin))
        maps: torch.Tensor = self.activation(self.norm(self.conv(inputs)))
        return maps


class InvertedBottleneck(nn.Module):
    """Expansion (where there is one), depthwise convolution, projection; a shortcut where shapes allow it."""

    def __init__(self, weights: Weights, prefix: str, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        if f"{prefix}_expand_conv.weight" in weights:
            self.layers.append(ConvNorm(weights, f"{prefix}_expand_conv", f"{prefix}_bn0"))
        self.layers.append(ConvNorm(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride))
        project = ConvNorm(weights, f"{prefix}_project_conv", f"{prefix}_bn2", has_relu6=False)
        self.layers.append(project)
        first = self.layers[0]
        n_in = first.conv.in_channels if isinstance(first, ConvNorm) else 0
        self.has_shortcut = stride == 1 and n_in == project.conv.out_channels

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, out, H / stride, W / stride)."""
        maps: torch.Tensor = self.layers(inputs)
        return maps + inputs if self.has_shortcut else maps


class EfficientNetLite0(Freezable):
    """The convolutional part of EfficientNet-Lite0 with the published weights, 1280 channels.

    Frozen it gives the features of `tamis.encoders.EfficientNetLite`; fine-tuned it adapts them, slowly on
    a processor.

    Parameters
    ----------
    resolution : int or None
        Side in pixels that images are resized to, a multiple of 32 from 32 to 512; None takes them as they
        are.
    frozen : bool

    Attributes
    ----------
    normalisation : Normalisation
        What it wants done to images with values 0..1.

    Raises
    ------
    InputError
        The resolution is out of its range, or the weights file is not the published one.
    MissingExtraError
        The package with the weights is not installed.

    References
    ----------
    .. [1] M. Tan, Q. V. Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML
       2019. The Lite variant has no squeeze-and-excitation and uses ReLU6.

    Examples
    --------
    >>> EfficientNetLite0(resolution=64, frozen=True)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 1280, 2, 2])
    """

    normalisation = Normalisation((SCALE_MEAN / 255,) * 3, (SCALE_WIDTH / 255,) * 3)

    def __init__(self, *, resolution: int | None = 128, frozen: bool = False) -> None:
        super().__init__()
        if resolution is not None and (resolution % 32 or not 32 <= resolution <= 512):
            raise InputError(
                f"resolution is {resolution}; it must be a multiple of 32 from 32 to 512, or None for the "
                "size of the images"
            )
        self.size = None if resolution is None else (resolution, resolution)
        weights = load_weights(weights_path())
        strides = [first if i == 0 else 1 for blocks, first in STAGES for i in range(blocks)]
        with without_draws():
            self.stem = ConvNorm(weights, "_conv_stem", "_bn0", stride=2)
            self.blocks = nn.Sequential(
                *(InvertedBottleneck(weights, f"_blocks.{i}.", stride) for i, stride in enumerate(strides))
            )
            self.last = ConvNorm(weights, "_conv_head", "_bn1")
        self.n_features = self.last.conv.out_channels
        if frozen:
            self.freeze()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, 1280, H / 32, W / 32) maps of normalised (B, 3, H, W) or (B, 1, H, W) images."""
        maps: torch.Tensor = self.last(self.blocks(self.stem(fit_images(inputs, self.size))))
        return maps


@BACKBONES.register(
    "efficientnet_lite0",
    Facts(
        "EfficientNet-Lite0 with ImageNet weights",
        inputs=("image",),
        year=2019,
        paper="Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019",
    ),
)
def efficientnet_lite0(
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    seed: int = 0,
    resolution: int | None = 128,
    frozen: bool = False,
) -> Classifier:
    """Return EfficientNet-Lite0 under a new head, for photographs; frozen or fine-tuned.

    Parameters
    ----------
    input_shape : (C, H, W)
        C is 1 or 3.
    n_classes : int
    seed : int
        Decides the first weights of the head.
    resolution, frozen
        As in `EfficientNetLite0`.

    Raises
    ------
    InputError
        The images have another number of channels, or an argument is out of its range.

    Examples
    --------
    >>> efficientnet_lite0((3, 32, 32), 10, resolution=64, frozen=True).n_features
    1280
    """
    if input_shape[0] not in (1, 3):
        raise InputError(f"input_shape is {input_shape}; efficientnet_lite0 takes images of 1 or 3 channels")
    backbone = EfficientNetLite0(resolution=resolution, frozen=frozen)
    return Classifier(backbone, backbone.n_features, n_classes, seed=seed)
