"""The training set, unaugmented, under a network: block by block, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from tamis.backbones.classifier import Outputs
from tamis.engine.feeding import Feeder
from tamis.methods.material import Forward, ScanBlock

Autocast = Callable[[], AbstractContextManager[object]]


class FeederScan:
    """A `tamis.methods.material.Scan` over the rows of a feeder.

    Parameters
    ----------
    feeder : Feeder
    module : nn.Module
        Set to evaluation mode while blocks are made; its own forward is asked where none is named.
    autocast : callable
        Returns the context a network is run in.
    block_size : int, default=512
    """

    def __init__(self, feeder: Feeder, module: nn.Module, autocast: Autocast, block_size: int = 512) -> None:
        self.n_samples = feeder.examples.n_samples
        self._feeder = feeder
        self._module = module
        self._autocast = autocast
        self._block_size = block_size

    def blocks(self, forward: Forward | None = None) -> Iterator[ScanBlock]:
        """Yield block after block under ``forward``; the method itself where it is None."""
        run = self._module if forward is None else forward
        device = self._feeder.labels.device
        pieces = blocks_of(self.n_samples, self._block_size, device)
        for number, index in enumerate(pieces):
            if number + 1 < len(pieces):
                self._feeder.examples.prefetch(pieces[number + 1])
            # Inside the loop: whoever takes the blocks may train between two of them.
            with evaluating(self._module), torch.no_grad(), self._autocast():
                outputs = _in_float32(run(self._feeder.plain(index)))
            labels = self._feeder.labels[index]
            yield ScanBlock(index, labels, outputs)

    def losses(self, forward: Forward | None = None) -> Tensor:
        """Return the cross-entropy of every row, (n,) float32."""
        return torch.cat([block.losses for block in self.blocks(forward)])

    def probabilities(self, forward: Forward | None = None) -> Tensor:
        """Return class probabilities of every row, (n, K) float32."""
        return torch.cat([block.outputs.logits.softmax(dim=1) for block in self.blocks(forward)])


def blocks_of(n_rows: int, size: int, device: torch.device) -> list[Tensor]:
    """Return all rows in order, cut into blocks of ``size``."""
    return [torch.arange(start, min(start + size, n_rows), device=device) for start in range(0, n_rows, size)]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode inside the block, and every part of it back afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _in_float32(outputs: Outputs) -> Outputs:
    return Outputs(*(None if part is None else part.float() for part in outputs))  # type: ignore[arg-type]
