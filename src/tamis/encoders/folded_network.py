"""EfficientNet-Lite0 as a list of convolutions: batch norms folded in, channels last, one precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from tamis.encoders.precision import Precision
from tamis.pretrained.efficientnet_lite0 import NORM_EPSILON, STAGES

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Convolution:
    """A convolution with its batch norm folded in, then ReLU6 where the network has it."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    groups: int
    has_relu6: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return (b, out, height / stride, width / stride)."""
        padding = self.weight.shape[-1] // 2
        if self.stride == 2:
            # The network was trained with one row and column less of zeros above and to the left.
            x = functional.pad(x, (padding - 1, padding, padding - 1, padding))
            padding = 0
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return functional.hardtanh_(x, 0.0, 6.0) if self.has_relu6 else x


@dataclass(frozen=True)
class Block:
    """Convolutions in a row, with a shortcut around them where shapes allow it."""

    convolutions: tuple[Convolution, ...]
    has_shortcut: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last convolution gives, plus ``x`` where there is a shortcut."""
        y = x
        for convolution in self.convolutions:
            y = convolution(y)
        return y.add_(x) if self.has_shortcut else y


class FoldedNetwork:
    """The convolutional part of EfficientNet-Lite0, ready to run.

    Parameters
    ----------
    weights : mapping of name to tensor
        As in the published state dictionary: ``_conv_stem.weight``, ``_blocks.0._bn1.running_mean``, ...
    precision : {"float32", "bfloat16"}
        Format of the weights and of everything between the convolutions; pooled features are float32.
    device : str
    """

    def __init__(self, weights: Weights, precision: Precision, device: str) -> None:
        self._weights = weights
        self._dtype = DTYPES[precision]
        self._device = device
        stem = self._fold("_conv_stem", "_bn0", stride=2)
        strides = [first if i == 0 else 1 for blocks, first in STAGES for i in range(blocks)]
        blocks = [self._block(f"_blocks.{index}.", stride) for index, stride in enumerate(strides)]
        head = self._fold("_conv_head", "_bn1")
        self._blocks = (Block((stem,), has_shortcut=False), *blocks, Block((head,), has_shortcut=False))
        self.dim = int(head.weight.shape[0])

    def pooled_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return (b, dim) float32 means over places of (b, 3, size, size) images; size a multiple of 32."""
        x = images.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)
        for block in self._blocks:
            x = block(x)
        return x.float().mean(dim=(2, 3))

    def _block(self, prefix: str, stride: int) -> Block:
        first: tuple[Convolution, ...] = ()
        if f"{prefix}_expand_conv.weight" in self._weights:
            first = (self._fold(f"{prefix}_expand_conv", f"{prefix}_bn0"),)
        depthwise = self._fold(f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride)
        project = self._fold(f"{prefix}_project_conv", f"{prefix}_bn2", has_relu6=False)
        n_in = (first[0] if first else depthwise).weight.shape[1 if first else 0]
        has_shortcut = stride == 1 and n_in == project.weight.shape[0]
        return Block((*first, depthwise, project), has_shortcut)

    def _fold(self, conv: str, norm: str, *, stride: int = 1, has_relu6: bool = True) -> Convolution:
        weight = self._weights[f"{conv}.weight"].double()
        variance = self._weights[f"{norm}.running_var"].double()
        scale = self._weights[f"{norm}.weight"].double() / (variance + NORM_EPSILON).sqrt()
        shift = self._weights[f"{norm}.bias"] - self._weights[f"{norm}.running_mean"] * scale
        # (out, in / groups, k, k): a depthwise kernel sees one channel.
        groups = weight.shape[0] if conv.endswith("depthwise_conv") else 1
        folded = (weight * scale[:, None, None, None]).to(self._device, self._dtype)
        return Convolution(
            weight=folded.contiguous(memory_format=torch.channels_last),
            bias=shift.to(self._device, self._dtype),
            stride=stride,
            groups=groups,
            has_relu6=has_relu6,
        )
