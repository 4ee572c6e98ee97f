"""From the plan of a pass to augmented batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from tamis.engine.examples import Examples
from tamis.errors import InputError
from tamis.methods.batches import Batch, Moment, Pass, Stream


class View(Protocol):
    """An augmentation: raw inputs to what a network takes."""

    def __call__(self, inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int) -> Tensor:
        """Return augmented inputs; a pure function of its arguments."""
        ...


class Feeder:
    """Makes the batches of a pass.

    Parameters
    ----------
    examples : Examples
    labels : (n,) int64 tensor
        On the device; -1 where a row has none.
    views : mapping of str to callable
        Augmentations by the names streams ask for. ``"none"`` is what scans and predictions use.
    batch_size : int
        Of streams that name none.
    """

    def __init__(
        self, examples: Examples, labels: Tensor, views: Mapping[str, View], batch_size: int
    ) -> None:
        self.examples = examples
        self.labels = labels
        self.views = views
        self.batch_size = batch_size

    def with_batches_of(self, batch_size: int) -> Feeder:
        """Return a feeder of the same rows with batches of another size."""
        return Feeder(self.examples, self.labels, self.views, batch_size)

    def length(self, plan: Pass) -> int:
        """Return the number of steps of a pass."""
        first = next(iter(plan.streams.values()))
        return plan.n_steps if plan.n_steps is not None else self._n_batches(first)

    def rows(self, plan: Pass, position: int) -> dict[str, Tensor]:
        """Return the rows of every stream at one step; streams without rows have no entry."""
        found = {}
        for name, stream in plan.streams.items():
            n_batches = self._n_batches(stream)
            if n_batches:
                size = stream.batch_size or self.batch_size
                begin = position % n_batches * size
                found[name] = stream.index[begin : begin + size]
        return found

    def batch(self, plan: Pass, rows: Mapping[str, Tensor], moment: Moment) -> dict[str, Batch]:
        """Return augmented batches of the given rows."""
        made = {}
        for number, (name, index) in enumerate(rows.items()):
            raw = self.examples.fetch(index)
            views = tuple(
                self.view(policy)(raw, index, seed=moment.seed, step=moment.step, view=16 * number + position)
                for position, policy in enumerate(plan.streams[name].views)
            )
            made[name] = Batch(views, self.labels[index], index)
        return made

    def view(self, name: str) -> View:
        """Return the augmentation called ``name``; `InputError` lists the known ones."""
        if name not in self.views:
            known = ", ".join(sorted(self.views))
            raise InputError(f"there is no augmentation {name!r} for these inputs; known: {known}")
        return self.views[name]

    def plain(self, index: Tensor) -> Tensor:
        """Return inputs without augmentation."""
        return self.view("none")(self.examples.fetch(index), index, seed=0, step=0, view=0)

    def _n_batches(self, stream: Stream) -> int:
        size = stream.batch_size or self.batch_size
        whole, rest = divmod(len(stream.index), size)
        return whole if stream.drop_last and whole else whole + (rest > 0)


def on_device(plan: Pass, device: torch.device) -> Pass:
    """Return the pass with its rows on ``device``."""
    moved = {
        name: Stream(stream.index.to(device), stream.views, stream.batch_size, stream.drop_last)
        for name, stream in plan.streams.items()
    }
    return Pass(moved, plan.name, plan.n_steps)
