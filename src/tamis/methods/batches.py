"""What a training step is given: batches, the moment they are drawn at, and the plan they follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Rows of the training set, augmented, on the device.

    Attributes
    ----------
    views : tuple of (B, ...) tensors
        One for each view the stream asked for, in its order.
    labels : (B,) int64 tensor
        Given labels; -1 where a row has none.
    index : (B,) int64 tensor
        Rows of the training set.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor

    @property
    def inputs(self) -> Tensor:
        """The first view."""
        return self.views[0]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)


@dataclass(frozen=True)
class Moment:
    """When a step happens. Random draws of a step are functions of ``seed`` and ``step`` alone.

    Attributes
    ----------
    seed : int
        Of the run.
    epoch, n_epochs : int
        The epoch, from 0, and how many there will be.
    position, length : int
        The step within the pass, from 0, and the steps of the pass.
    step : int
        Steps since the run began, over all passes.
    phase : str
        Name of the `Pass`.
    """

    seed: int
    epoch: int
    n_epochs: int
    position: int
    length: int
    step: int
    phase: str = "train"

    @property
    def progress(self) -> float:
        """Epochs done, with the fraction of the running pass."""
        return self.epoch + self.position / max(1, self.length)


@dataclass(frozen=True)
class Stream:
    """Rows in the order in which one pass draws them.

    Attributes
    ----------
    index : (m,) int64 tensor
        Rows of the training set, as often as they shall be drawn.
    views : tuple of str
        Augmentation policies; a batch holds one tensor for each.
    batch_size : int, optional
        The recipe's where None.
    drop_last : bool
        Leave out an incomplete last batch, unless it is the only one.
    """

    index: Tensor
    views: tuple[str, ...] = ("weak",)
    batch_size: int | None = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.index.dtype != torch.int64 or self.index.ndim != 1:
            shape = tuple(self.index.shape)
            raise InputError(
                f"a stream's index is {self.index.dtype} of shape {shape}; expected int64 rows (m,)"
            )
        if not self.views:
            raise InputError("a stream needs at least one view, such as ('weak',)")


@dataclass(frozen=True)
class Pass:
    """One way through part of the training set.

    The first stream gives the number of steps; the others start again when they are used up.

    Attributes
    ----------
    streams : mapping of str to Stream
        By the names `Method.training_step` knows.
    name : str
        Tells a method with several passes which one it is in.
    n_steps : int, optional
        Steps of the pass; the first stream then starts again too.
    """

    streams: Mapping[str, Stream]
    name: str = "train"
    n_steps: int | None = None

    def __post_init__(self) -> None:
        if not self.streams:
            raise InputError(f"pass {self.name!r} has no stream")
