"""First weights of a network as a pure function of a seed and the names of its parameters."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def without_draws() -> Iterator[None]:
    """Put torch's own generator back afterwards: layers draw weights from it when they are made.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with without_draws():
    ...     layer = nn.Linear(3, 2)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    with torch.random.fork_rng(devices=[]):
        yield


@torch.no_grad()
def initialise(network: nn.Module, seed: int) -> None:
    """Draw the convolutions and linear layers of a network again, and reset its norms.

    Weights: normal with variance 2 / fan_in, which keeps the scale of the signal through rectifiers; biases
    0. Norms: scale 1, shift 0, running mean 0, running variance 1. Every tensor has a generator of its own,
    so that the weights of a layer depend on the seed and its name alone, not on what else the network holds.

    Parameters
    ----------
    network : nn.Module
        Changed in place; its layers must not be on the meta device.
    seed : int
        Two networks that should differ get different seeds.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun. Delving Deep into Rectifiers: Surpassing Human-Level Performance
       on ImageNet Classification. ICCV 2015, section 2.2.

    Examples
    --------
    >>> with without_draws():
    ...     first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> initialise(first, seed=4)
    >>> initialise(second, seed=4)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            drawn = torch.empty(layer.weight.shape, dtype=torch.float32)
            spread = math.sqrt(2.0 / layer.weight[0].numel())
            _set(layer, drawn.normal_(0.0, spread, generator=_generator(seed, name)))
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            layer.reset_parameters()


@torch.no_grad()
def initialise_head(head: nn.Linear, seed: int) -> None:
    """Draw the weights of a linear head, uniform within 1 / sqrt(fan_in), and set its biases to 0.

    No rectifier stands behind a head, and a small one makes the first predictions nearly uniform.

    Parameters
    ----------
    head : nn.Linear
        Changed in place.
    seed : int

    Examples
    --------
    >>> with without_draws():
    ...     head = nn.Linear(4, 2)
    >>> initialise_head(head, seed=0)
    >>> bool((head.weight.abs() <= 0.5).all())
    True
    """
    bound = 1.0 / math.sqrt(head.in_features)
    drawn = torch.empty(head.weight.shape, dtype=torch.float32)
    _set(head, drawn.uniform_(-bound, bound, generator=_generator(seed, "head")))


def _set(layer: nn.Conv2d | nn.Linear, drawn: torch.Tensor) -> None:
    # Drawn on the processor whatever the device of the layer, so that a seed means the same everywhere.
    layer.weight.copy_(drawn)
    if layer.bias is not None:
        layer.bias.zero_()


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
