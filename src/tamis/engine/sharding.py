"""Several processes that compute exactly what one would.

Every process holds the whole batch; only the networks split it. A network sees its process's rows and
returns the outputs of all, so that everything around it (selections over the batch, tables per sample, mixed
rows) is the arithmetic of one process. Gradients reach a network through its own rows only; their sum over
the processes is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tamis.backbones.classifier import Classifier, Outputs

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of its own rows goes back."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int], rank: int) -> Tensor:  # noqa: ANN401 - torch's context
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        widest = max(sizes)
        padded = own.new_zeros((widest, *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 - torch's context
        return gradient[ctx.start : ctx.start + ctx.size], None, None


def shard_sizes(n_rows: int, n_processes: int) -> list[int]:
    """Return how many rows each process takes: as even as can be, the first ones one more."""
    whole, rest = divmod(n_rows, n_processes)
    return [whole + (rank < rest) for rank in range(n_processes)]


@contextmanager
def sharded(modules: Sequence[nn.Module], fabric: Fabric) -> Iterator[None]:
    """Split the batches of every network in ``modules`` over the processes, inside the block."""
    if fabric.world_size == 1:
        yield
        return
    handles = []
    for network in networks_in(modules):
        before, after = _hooks(fabric.world_size, fabric.global_rank)
        handles += [network.register_forward_pre_hook(before), network.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def networks_in(modules: Sequence[nn.Module]) -> list[Classifier]:
    """Return every network inside the modules, once each."""
    found = {
        id(part): part for module in modules for part in module.modules() if isinstance(part, Classifier)
    }
    return list(found.values())


_Before = Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]
_After = Callable[[nn.Module, tuple[Any, ...], Outputs], Outputs]


def _hooks(world_size: int, rank: int) -> tuple[_Before, _After]:
    pending: list[list[int]] = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs: Tensor = arguments[0]
        sizes = shard_sizes(len(inputs), world_size)
        pending.append(sizes)
        start = sum(sizes[:rank])
        # A process without rows looks at the first one and hands nothing on: every process takes part.
        own = inputs[start : start + sizes[rank]] if sizes[rank] else inputs[:1]
        return (own, *arguments[1:])

    def after(module: nn.Module, arguments: tuple[Any, ...], outputs: Outputs) -> Outputs:
        sizes = pending.pop()
        logits, features, maps = outputs
        return Outputs(
            _gathered(logits, sizes, rank),
            _gathered(features, sizes, rank),
            None if maps is None else _gathered(maps, sizes, rank),
        )

    return before, after


def _gathered(part: Tensor, sizes: list[int], rank: int) -> Tensor:
    if not sum(sizes):
        return part[:0]
    rows: Tensor = _Gathered.apply(part[: sizes[rank]], sizes, rank)  # type: ignore[no-untyped-call]  # torch's
    return rows


def sum_gradients(modules: Sequence[nn.Module], fabric: Fabric) -> None:
    """Add up the gradients of networks over all processes; other gradients are the same on each."""
    if fabric.world_size == 1:
        return
    weights = [weight for network in networks_in(modules) for weight in network.parameters()]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def share_buffers(modules: Sequence[nn.Module], fabric: Fabric) -> None:
    """Give every process the first one's statistics of batch normalisation."""
    if fabric.world_size == 1:
        return
    for network in networks_in(modules):
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
