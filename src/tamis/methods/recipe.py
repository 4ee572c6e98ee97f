"""How long and how fast to train: the part of a method that is no part of its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from tamis.errors import InputError

OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw"]
ScheduleName: TypeAlias = Literal["constant", "cosine", "steps", "linear"]

_OPTIMIZERS = ("sgd", "adam", "adamw")
_SCHEDULES = ("constant", "cosine", "steps", "linear")
_HIGHEST_LR = 1000.0
"""Far above what trains anything: larger ones are slips, such as a sign left out of an exponent."""


@dataclass(frozen=True)
class Recipe:
    """Epochs, batches, optimiser, schedule.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Over all processes together.
    optimizer : {"sgd", "adam", "adamw"}
    lr : float
        Learning rate at its highest; above 0 and at most 1000.
    momentum : float
        Of SGD.
    weight_decay : float
        On every parameter.
    schedule : {"constant", "cosine", "steps", "linear"}
        Course of the learning rate: half a cosine to 0, times ``gamma`` at each milestone, or straight to 0
        from the first milestone on.
    milestones : tuple of float
        As fractions of all epochs, in (0, 1).
    gamma : float
        Factor of a milestone.
    warmup : float
        Epochs in which the rate rises from 0, step by step.
    patience : int, optional
        Stop after so many epochs without a better accuracy on the held-out part.
    clip_norm : float, optional
        Gradients longer than this are shortened to it.

    Examples
    --------
    >>> Recipe(epochs=10, schedule="steps", milestones=(0.5,)).lr_factor(5.0)
    0.1
    """

    epochs: int = 50
    batch_size: int = 128
    optimizer: OptimizerName = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: ScheduleName = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warmup: float = 0.0
    patience: int | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        checks = {
            "epochs": (isinstance(self.epochs, int) and self.epochs >= 0, "a whole number, at least 0"),
            "batch_size": (isinstance(self.batch_size, int) and self.batch_size >= 1, "at least 1"),
            "optimizer": (self.optimizer in _OPTIMIZERS, f"one of {', '.join(_OPTIMIZERS)}"),
            "lr": (0 < self.lr <= _HIGHEST_LR, f"above 0 and at most {_HIGHEST_LR:g}"),
            "momentum": (0 <= self.momentum < 1, "0 or more and below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "schedule": (self.schedule in _SCHEDULES, f"one of {', '.join(_SCHEDULES)}"),
            "milestones": (all(0 < m < 1 for m in self.milestones), "fractions of all epochs, in (0, 1)"),
            "gamma": (0 < self.gamma <= 1, "above 0 and at most 1"),
            "warmup": (0 <= self.warmup < math.inf, "0 epochs or more"),
            "patience": (self.patience is None or self.patience >= 1, "at least 1 epoch, or None"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "above 0, or None"),
        }
        wrong = [
            f"{name} is {getattr(self, name)!r}; expected {legal}"
            for name, (holds, legal) in checks.items()
            if not holds
        ]
        if wrong:
            raise InputError("; ".join(wrong))

    def lr_factor(self, progress: float) -> float:
        """Return what the learning rate is multiplied with after ``progress`` epochs, from 0 to 1."""
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        done = min(1.0, progress / self.epochs) if self.epochs else 0.0
        return rise * self._course(done)

    def _course(self, done: float) -> float:
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        if self.schedule == "steps":
            return float(self.gamma ** sum(done >= milestone for milestone in self.milestones))
        if self.schedule == "linear":
            start = min(self.milestones, default=0.0)
            return 1.0 if done <= start else max(0.0, (1 - done) / (1 - start))
        return 1.0

    def changed(self, **values: object) -> Recipe:
        """Return a copy with other values; `InputError` names a field that does not exist."""
        known = recipe_fields()
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(f"no setting called {', '.join(unknown)}; known: {', '.join(known)}")
        return replace(self, **values)  # type: ignore[arg-type]  # names are checked above, values below


def recipe_fields() -> tuple[str, ...]:
    """Return the names of all settings of a `Recipe`."""
    return tuple(field.name for field in fields(Recipe))
