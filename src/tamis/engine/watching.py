"""What the networks of a host said in a step, for plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tamis.backbones.classifier import Classifier, Outputs
from tamis.engine.sharding import networks_in
from tamis.methods.base import Method
from tamis.methods.batches import Batch
from tamis.methods.plugin import Seen, trained_networks

_Call = tuple[Classifier, Tensor, Outputs]


@contextmanager
def watched(method: Method) -> Iterator[list[_Call]]:
    """Collect (network, inputs, outputs) of every call with gradients inside the block.

    Inputs are those of the caller, before they are split over processes, and outputs those of all processes:
    the hooks stand outside those of `tamis.engine.sharding`, which must be in place already.
    """
    calls: list[_Call] = []
    handles = []
    for network in networks_in([method]):
        before, after = _hooks(network, calls)
        handles.append(network.register_forward_pre_hook(before, prepend=True))
        handles.append(network.register_forward_hook(after))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


_Hook = Callable[..., None]


def _hooks(network: Classifier, calls: list[_Call]) -> tuple[_Hook, _Hook]:
    pending: list[Tensor] = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        pending.append(arguments[0])

    def after(module: nn.Module, arguments: tuple[Any, ...], outputs: Outputs) -> None:
        inputs = pending.pop()
        if torch.is_grad_enabled() and outputs.logits.requires_grad:
            calls.append((network, inputs, outputs))

    return before, after


def seen(method: Method, calls: list[_Call], batches: Mapping[str, Batch]) -> list[Seen]:
    """Return what every trained network said about unmixed rows; one it was not shown is asked now."""
    found: list[Seen] = []
    for network in trained_networks(method):
        own = [
            Seen(network, outputs, batch, view)
            for caller, inputs, outputs in calls
            if caller is network
            for batch in batches.values()
            for view, tensor in enumerate(batch.views)
            if inputs is tensor
        ]
        if not own and any(caller is network for caller, _, _ in calls):
            first = next(iter(batches.values()))
            own = [Seen(network, network(first.inputs), first, 0)]
        found += own
    return found
