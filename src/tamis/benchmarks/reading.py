"""A configuration file -> what it asks for: a benchmark of detectors, of training or of metric learning."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from tamis.benchmarks.config import ARRAYS, BenchConfig
from tamis.benchmarks.retrieval.config import RetrievalConfig, RetrievalDataConfig
from tamis.benchmarks.training.config import TrainingConfig, TrainingDataConfig
from tamis.errors import InputError

Config: TypeAlias = BenchConfig | TrainingConfig | RetrievalConfig

_KINDS: dict[str, type[Config]] = {
    "detection": BenchConfig,
    "training": TrainingConfig,
    "retrieval": RetrievalConfig,
}

_ARRAYS = {*ARRAYS, *TrainingDataConfig.arrays_named, *RetrievalDataConfig.arrays_named}


def parse_config(values: Mapping[str, object], *, name: str = "configuration") -> Config:
    """Return the checked configuration; ``task`` says of which kind ("detection" where it is left out).

    Raises
    ------
    InputError
        Names every value that is missing, unknown or out of range.
    """
    task = values.get("task", "detection")
    if not isinstance(task, str) or task not in _KINDS:
        raise InputError(f"{name}: task is {task!r}; expected {' or '.join(map(repr, _KINDS))}")
    try:
        return _KINDS[task].model_validate(values)
    except ValidationError as error:
        found = error.errors()
        # Where an item of a list is refused, pydantic adds that the list, without it, is too short.
        within = {each["loc"][:1] for each in found if len(each["loc"]) > 1}
        told = [each for each in found if each["type"] != "too_short" or each["loc"] not in within]
        lines = [_line(each["loc"], each["msg"]) for each in told]
        raise InputError(f"{name}: " + "; ".join(lines)) from error


def read_config(path: str | Path) -> Config:
    """Return the configuration of a TOML file; ``$NAME`` in paths is replaced by the environment.

    Relative paths count from the file's folder.

    Raises
    ------
    InputError
        If the file cannot be read, is no TOML, names an environment variable that is not set, or
        `parse_config` refuses it.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); pass a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    folder = path.absolute().parent
    data = values.get("data")
    for each in data if isinstance(data, list) else []:
        for key in _ARRAYS if isinstance(each, dict) else ():
            if isinstance(each.get(key), str):
                each[key] = _located(each[key], folder, path)
    peers = values.get("peers")
    if isinstance(peers, list):
        values["peers"] = [_located(peer, folder, path) if isinstance(peer, str) else peer for peer in peers]
    return parse_config(values, name=str(path))


def _line(location: tuple[int | str, ...], message: str) -> str:
    said = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {said}" if location else said


def _located(value: str, folder: Path, config: Path) -> str:
    expanded = os.path.expandvars(value)
    if "$" in expanded:
        raise InputError(
            f"{config}: {value!r} names an environment variable that is not set; set it, or write the path"
        )
    return str(folder / expanded)
