"""From gradients to weights: clipping, the scale of half precision, a step of every optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def apply_gradients(
    optimizers: Iterable[torch.optim.Optimizer], fabric: Fabric, clip_norm: float | None
) -> None:
    """Move the weights of every optimiser that has a gradient, and clear all gradients.

    Methods may train one of several networks at a time.

    Parameters
    ----------
    optimizers : iterable of Optimizer
    fabric : Fabric
        Its precision has scaled the gradients, or not.
    clip_norm : float, optional
        Gradients of one optimiser that are longer together are shortened to it.
    """
    precision = fabric.strategy.precision
    scaler = getattr(precision, "scaler", None)
    moving = [each for each in optimizers if any(weight.grad is not None for weight in _weights(each))]
    for optimizer in moving:
        if clip_norm is not None:
            precision.unscale_gradients(optimizer)
            torch.nn.utils.clip_grad_norm_(_weights(optimizer), clip_norm)
        # Fabric's own step would change the scale after each optimiser; gradients of the next have the old.
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
    if scaler is not None and moving:
        scaler.update()


def _weights(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
