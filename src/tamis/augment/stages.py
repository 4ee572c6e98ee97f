"""A stage of an augmentation, and the draws that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tamis.augment.draws import normals, uniforms, unit_interval
from tamis.errors import InputError


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one look at a batch.

    Attributes
    ----------
    seed, step, view : int
        Of the run, of the repetition, of the look: two views of one step share no numbers.
    index : (B,) int64
        Rows of the data set.

    Examples
    --------
    >>> import torch
    >>> Draws(0, 0, 1, torch.arange(3)).uniforms(2, "crop").shape
    torch.Size([3, 2])
    """

    seed: int
    step: int
    view: int
    index: Tensor

    def uniforms(self, count: int, stream: str) -> Tensor:
        """Return (B, count) float32 numbers in [0, 1)."""
        return uniforms(self.seed, self.step, self.index, count, stream=self._name(stream))

    def normals(self, count: int, stream: str) -> Tensor:
        """Return (B, count) float32 standard normal numbers."""
        return normals(self.seed, self.step, self.index, count, stream=self._name(stream))

    def of_step(self, stream: str) -> float:
        """Return one number in [0, 1) for all samples of the step."""
        return unit_interval(self.seed, self.step, stream=self._name(stream))

    def _name(self, stream: str) -> str:
        return f"view {self.view} {stream}"


class Stage(Protocol):
    """One operation with random parameters: draws them, then applies a function of this room."""

    @property
    def stream(self) -> str:
        """Name of its draws; two stages of one augmentation need different ones."""
        ...

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return the inputs changed; the given tensor stays as it is."""
        ...


def check_probability(name: str, value: float) -> None:
    """Refuse a number outside [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value!r}; expected a probability from 0 to 1")


def check_range(name: str, low_high: tuple[float, float], *, least: float, most: float) -> None:
    """Refuse a pair that is not ``least <= low <= high <= most``."""
    low, high = low_high
    if not least <= low <= high <= most:
        raise InputError(
            f"{name} is {low_high!r}; expected (low, high) with {least} <= low <= high <= {most}"
        )
