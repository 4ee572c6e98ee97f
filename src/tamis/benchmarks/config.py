"""What a benchmark is told: a TOML file, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tamis.errors import InputError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Strict):
    """One data set; arrays are written ``file.npy``, ``file.npz:array`` or ``file.parquet:column``.

    Attributes
    ----------
    name : str
        Unique; the row's name in the table.
    features, second_features, pred_probs : str, optional
        (n, d) and (n, K) arrays.
    answers : str, optional
        Array file prefix: ``file.npz`` with arrays task, worker and label.
    labels : str, optional
        (n,) given labels, integer codes. Left out where noise is planted into the truth.
    truth : str, optional
        (n,) true codes. Needed for planted noise, and for crowd answers (by task number, -1 = not known).
    is_wrong : str, optional
        (n,) bool, in place of the truth: confirmed errors.
    rows : int, optional
        Take the first so many rows.
    note : str
        Printed under the table, e.g. that an encoder has seen these classes.
    """

    name: str = Field(min_length=1)
    features: str | None = None
    second_features: str | None = None
    pred_probs: str | None = None
    answers: str | None = None
    labels: str | None = None
    truth: str | None = None
    is_wrong: str | None = None
    rows: int | None = Field(default=None, ge=2)
    note: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> DataConfig:
        if self.features is None and self.pred_probs is None and self.answers is None:
            raise ValueError(f"data {self.name!r} has no features, pred_probs or answers; give at least one")
        if self.truth is None and self.is_wrong is None:
            raise ValueError(f"data {self.name!r} has neither truth nor is_wrong; one says what is right")
        return self


class NoiseConfig(_Strict):
    """Label errors to plant; one trial per seed.

    Attributes
    ----------
    model : str
        Name of a noise model, see ``tamis noise --list``.
    rate : float
    options : mapping
        Other arguments of the model.
    """

    model: str
    rate: float = Field(ge=0, le=1)
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Short name for tables: the model and its nominal rate."""
        return f"{self.model} {self.rate:g}"


class BenchConfig(_Strict):
    """A detection benchmark.

    Attributes
    ----------
    task : "detection"
    data : tuple of DataConfig
    noise : tuple of NoiseConfig
        Planted into every data set that has a truth and no given labels.
    seeds : tuple of int
    detectors : tuple of str
        Names, or "all": every detector whose inputs the data set has, and the audit.
    peers : tuple of str
        ``file.py:function``, beside the configuration: other tools, measured in the same run.
    memory : bool
        Whether each trial gets a process of its own (needed for peak memory).
    """

    task: Literal["detection"] = "detection"
    data: tuple[DataConfig, ...] = Field(min_length=1)
    noise: tuple[NoiseConfig, ...] = ()
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    detectors: tuple[str, ...] = ("all",)
    peers: tuple[str, ...] = ()
    memory: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> BenchConfig:
        names = [data.name for data in self.data]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"data names must differ; {twice} occur more than once")
        for data in self.data:
            planted = data.answers is None and data.labels is None
            if planted and not (self.noise and data.truth):
                raise ValueError(f"data {data.name!r} has no labels: give truth, and [[noise]] to plant")
        return self

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the configuration."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def parse_config(values: Mapping[str, object], *, name: str = "configuration") -> BenchConfig:
    """Return the checked configuration.

    Raises
    ------
    InputError
        Names every value that is missing, unknown or out of range.
    """
    try:
        return BenchConfig.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()]
        raise InputError(f"{name}: " + "; ".join(lines)) from error


def read_config(path: str | Path) -> BenchConfig:
    """Return the configuration of a TOML file; ``$NAME`` in paths is replaced by the environment.

    Relative paths count from the file's folder.

    Raises
    ------
    InputError
        If the file cannot be read, is no TOML, or `parse_config` refuses it.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); pass a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    for data in values.get("data", []):
        if isinstance(data, dict):
            for key in (
                "features",
                "second_features",
                "pred_probs",
                "answers",
                "labels",
                "truth",
                "is_wrong",
            ):
                if isinstance(data.get(key), str):
                    data[key] = _located(data[key], path.parent)
    if isinstance(values.get("peers"), list):
        values["peers"] = [_located(str(peer), path.parent) for peer in values["peers"]]
    return parse_config(values, name=str(path))


def _located(value: str, folder: Path) -> str:
    expanded = os.path.expandvars(value)
    if "$" in expanded:
        raise InputError(
            f"{value!r} names an environment variable that is not set; set it, or write the path"
        )
    return str(folder / expanded)
