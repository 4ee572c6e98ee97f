"""A second network whose weights are a running average of those of the network in training."""

from __future__ import annotations

import copy

import torch
from torch import nn

from tamis.errors import InputError


def averaged_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network to average into: equal weights and buffers, no gradients.

    Parameters
    ----------
    network : nn.Module
        Left as it is. The copy shares no memory with it, stays on its device and in its mode.

    Examples
    --------
    >>> network = nn.Linear(2, 1)
    >>> average = averaged_copy(network)
    >>> torch.equal(average.weight, network.weight), average.weight.requires_grad
    (True, False)
    """
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """Move averaged weights towards those of the network: ``momentum * average + (1 - momentum) * network``.

    Parameters only. Buffers, such as the running statistics of batch normalisation, stay those of the
    average: run it in training mode, as ELR+ does, and it gathers its own. Call it after each step of the
    optimiser.

    Parameters
    ----------
    average : nn.Module
        Of `averaged_copy`; changed in place.
    network : nn.Module
        Of the same architecture. Wrapped for training or not: parameters are matched by their order.
    momentum : float
        In [0, 1]: 0 copies the network, 1 leaves the average; for one that rises see
        `tamis.statistics.schedules`.

    Raises
    ------
    InputError
        ``momentum`` is out of range, or the networks have other parameters: nothing is changed then.

    References
    ----------
    .. [1] A. Tarvainen, H. Valpola. Mean teachers are better role models. NeurIPS 2017.

    Examples
    --------
    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = averaged_copy(network)
    >>> with torch.no_grad():
    ...     _ = average.weight.fill_(1.0), network.weight.fill_(3.0)
    >>> update_average(average, network, momentum=0.75)
    >>> float(average.weight)
    1.5
    """
    if not 0.0 <= momentum <= 1.0:
        raise InputError(f"momentum is {momentum!r}; expected a number from 0 (copy) to 1 (keep)")
    averaged: list[torch.Tensor] = list(average.parameters())
    current: list[torch.Tensor] = list(network.parameters())
    _check_match(averaged, current)
    if averaged and momentum < 1.0:
        # lerp ends exactly at the network's weights for momentum 0, and one call covers all tensors.
        torch._foreach_lerp_(averaged, current, 1.0 - momentum)


def _check_match(averaged: list[torch.Tensor], current: list[torch.Tensor]) -> None:
    if len(averaged) != len(current):
        raise InputError(
            f"the average has {len(averaged)} parameter tensors and the network {len(current)}; make the "
            "average with averaged_copy(network)"
        )
    for number, (mine, other) in enumerate(zip(averaged, current, strict=True)):
        if mine.shape != other.shape or mine.dtype != other.dtype:
            raise InputError(
                f"parameter {number} of the average is {mine.dtype} of shape {tuple(mine.shape)}, that of "
                f"the network {other.dtype} of shape {tuple(other.shape)}; make the average with "
                "averaged_copy(network)"
            )
