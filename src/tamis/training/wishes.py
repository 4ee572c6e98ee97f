"""What a training was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType

import numpy as np

from tamis.auditing import Audit
from tamis.engine.fabric import Precision
from tamis.engine.records import Record
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget
from tamis.methods import METHODS, Plugin
from tamis.training.knowledge import Selection
from tamis.training.settings import Params, Value
from tamis.training.views import Augmentation


@dataclass(frozen=True)
class Wishes:
    """The arguments of `tamis.train` beside the data; see there. ``task`` is settled: the method's."""

    method: str
    params: Params | None
    backbone: str
    backbone_options: Mapping[str, Value] | None
    epochs: int | None
    task: str
    initial_selection: Selection
    plugins: tuple[str | Plugin, ...]
    validation: float
    device: str
    random_state: int
    out: Path | None
    audit: Audit | bool
    test: object
    encoder: object
    prompts: object
    image_size: int | None
    augmentation: Augmentation
    flip: bool
    precision: Precision
    processes: int
    memory_budget: str | int | None
    tensorboard: bool
    read_options: Mapping[str, object]
    report_epoch: Callable[[Record], None] | None = None

    def __post_init__(self) -> None:
        _check_types(self)
        for name, kind in (("random_state", int), ("processes", int), ("validation", float)):
            object.__setattr__(self, name, kind(getattr(self, name)))  # numpy's numbers are not for JSON
        of_method = METHODS.facts(self.method).task
        if self.task not in {"auto", "classification", "retrieval"}:
            raise InputError(f"task is {self.task!r}; expected 'auto', 'classification' or 'retrieval'")
        if self.task not in {"auto", of_method}:
            fitting = [entry.name for entry in METHODS if entry.facts.task == self.task]
            raise InputError(
                f"method {self.method!r} is for {of_method}, and task is {self.task!r}; methods for that are "
                f"{', '.join(fitting)}"
            )
        object.__setattr__(self, "task", of_method)
        if self.plugins and self.task == "retrieval":
            raise InputError("plugins are given, and they belong to methods that classify; leave them out")
        if self.prompts is not None and self.initial_selection != "clipcleaner":
            raise InputError(
                "prompts are given, but only initial_selection='clipcleaner' reads them; pass that, or leave "
                "them out"
            )
        if not 0 <= self.validation <= 0.5:
            raise InputError(f"validation is {self.validation}; expected a share of the rows, 0 to 0.5")
        parse_memory_budget(self.memory_budget)  # refuses what is no size
        if not 0 <= self.random_state < 2**31:
            raise InputError(f"random_state is {self.random_state!r}; expected 0 to {2**31 - 1}")


def _check_types(wishes: Wishes) -> None:
    """Refuse values of a wrong type, which would fail later in other words or be taken for true."""
    expected: dict[str, tuple[str, tuple[type, ...]]] = {
        "method": ("a word", (str,)),
        "backbone": ("a word", (str,)),
        "task": ("a word", (str,)),
        "device": ("a word", (str,)),
        "params": ("a mapping of names to values, or None", (Mapping, NoneType)),
        "backbone_options": ("a mapping of names to values, or None", (Mapping, NoneType)),
        "validation": ("a share of the rows, 0 to 0.5", (int, float, np.integer, np.floating)),
        "random_state": ("a whole number", (int, np.integer)),
        "processes": ("a whole number", (int, np.integer)),
        "audit": ("an audit, True or False", (Audit, bool)),
        "flip": ("True or False", (bool,)),
        "tensorboard": ("True or False", (bool,)),
    }
    for name, (spelled, kinds) in expected.items():
        value = getattr(wishes, name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InputError(f"{name} is {value!r}; expected {spelled}")
