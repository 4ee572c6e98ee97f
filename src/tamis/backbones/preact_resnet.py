"""PreAct ResNet-18 for images of 32 to 64 px: the network of most published results on CIFAR."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier
from tamis.backbones.initialisation import initialise, without_draws
from tamis.errors import InputError
from tamis.registry import Facts

# Per stage: width in units of the stem's, stride of its first block.
_STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))
_BLOCKS = 2
_SMALLEST_SIDE = 8


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each behind batch norm and rectifier, and a shortcut around them.

    Where the shape changes the shortcut is a 1x1 convolution of the normed and rectified input, else the
    input itself.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        changes = stride != 1 or n_in != n_out
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False) if changes else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, n_out, H / stride, W / stride)."""
        active = functional.relu(self.norm1(inputs))
        shortcut = inputs if self.shortcut is None else self.shortcut(active)
        maps: torch.Tensor = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        return maps + shortcut


class PreActResNet18(nn.Module):
    """PreAct ResNet-18 with a 3x3 stem of stride 1; batch norm and rectifier end it.

    Parameters
    ----------
    in_channels : int
    width : int
        Channels of the stem; 64 is the published network.
    seed : int

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun. Identity Mappings in Deep Residual Networks. ECCV 2016, section
       4.1. The common code for CIFAR leaves out the last norm and rectifier, the paper has them.

    Examples
    --------
    >>> PreActResNet18(width=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64, 4, 4])
    """

    def __init__(self, in_channels: int = 3, *, width: int = 64, seed: int = 0) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"width is {width}; it must be at least 1")
        self.n_features = width * _STAGES[-1][0]
        with without_draws():
            self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            self.blocks = nn.Sequential()
            n_in = width
            for factor, stride in _STAGES:
                for block in range(_BLOCKS):
                    self.blocks.append(PreActBlock(n_in, width * factor, stride if block == 0 else 1))
                    n_in = width * factor
            self.norm = nn.BatchNorm2d(n_in)
        initialise(self, seed)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, 8 width, H / 8, W / 8) maps of (B, in_channels, H, W) images."""
        return functional.relu(self.norm(self.blocks(self.stem(inputs))))


@BACKBONES.register(
    "preact_resnet18",
    Facts(
        "PreAct ResNet-18",
        inputs=("image",),
        year=2016,
        paper="He, Zhang, Ren, Sun. Identity Mappings in Deep Residual Networks. ECCV 2016",
    ),
)
def preact_resnet18(
    input_shape: tuple[int, ...], n_classes: int, *, seed: int = 0, width: int = 64
) -> Classifier:
    """Return PreAct ResNet-18 trained from scratch, for images of about 32 to 64 px on a GPU.

    Parameters
    ----------
    input_shape : (C, H, W)
        H and W at least 8.
    n_classes : int
    seed : int
    width : int
        As in `PreActResNet18`.

    Raises
    ------
    InputError
        The images are too small, or an argument is out of its range.

    Examples
    --------
    >>> sum(weight.numel() for weight in preact_resnet18((3, 32, 32), 10).parameters())
    11172170
    """
    if min(input_shape[1:]) < _SMALLEST_SIDE:
        raise InputError(
            f"input_shape is {input_shape}; preact_resnet18 needs images of at least {_SMALLEST_SIDE} px a "
            "side: pass them as features"
        )
    backbone = PreActResNet18(input_shape[0], width=width, seed=seed)
    return Classifier(backbone, backbone.n_features, n_classes, seed=seed)
