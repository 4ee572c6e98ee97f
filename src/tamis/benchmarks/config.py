"""What a benchmark is told: a TOML file, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ARRAYS = ("features", "second_features", "pred_probs", "answers", "labels", "truth", "is_wrong")
"""Keys of a data set that name arrays."""


class Strict(BaseModel):
    """Refuses keys it does not know; its values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """One data set; arrays are written ``file.npy``, ``file.npz:array`` or ``file.parquet:column``.

    Attributes
    ----------
    name : str
        Unique; the row's name in the table.
    features, second_features, pred_probs : str, optional
        (n, d) and (n, K) arrays. With features alone, probabilities are made by 5-fold logistic regression.
    answers : str, optional
        Of a crowd: a file without array name, which has the arrays (columns) task, worker and label. Rows are
        then tasks, and row t of every other array belongs to task t.
    labels : str, optional
        (n,) given labels, integer codes. Left out where noise is planted into the truth; of a crowd, -1 or
        left out: the majority of the answers.
    truth : str, optional
        (n,) true codes, -1 = not known. Needed for planted noise (without -1) and for crowd answers.
    is_wrong : str, optional
        (n,) bool, in place of the truth: confirmed errors.
    trusted : int, optional
        Tell detectors that take ``trusted`` of so many right rows, drawn by the seed.
    rows : int, optional
        Take the first so many rows.
    note : str
        Printed under the heading, e.g. that an encoder has seen these classes.
    """

    name: str = Field(min_length=1)
    features: str | None = None
    second_features: str | None = None
    pred_probs: str | None = None
    answers: str | None = None
    labels: str | None = None
    truth: str | None = None
    is_wrong: str | None = None
    trusted: int | None = Field(default=None, ge=1)
    rows: int | None = Field(default=None, ge=2)
    note: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> DataConfig:
        named = f"data {self.name!r}"
        if self.features is None and self.pred_probs is None and self.answers is None:
            raise ValueError(f"{named} has no features, pred_probs or answers; give at least one")
        if self.answers is not None and (
            self.truth is None or self.is_wrong is not None or self.rows is not None
        ):
            raise ValueError(f"{named} has answers: give truth by task, and neither is_wrong nor rows")
        if (self.truth is None) == (self.is_wrong is None):
            raise ValueError(f"{named} needs either truth or is_wrong to say what is right")
        if self.is_wrong is not None and self.labels is None:
            raise ValueError(f"{named} has is_wrong but no labels; give both")
        if self.is_wrong is not None and self.trusted is not None:
            raise ValueError(f"{named}: trusted rows are drawn from the truth; give it in place of is_wrong")
        return self

    @property
    def is_planted(self) -> bool:
        """Whether noise is planted into the truth."""
        return self.labels is None and self.answers is None

    def arrays(self) -> Iterator[str]:
        """Yield every array that is named, those of the answers one by one."""
        for key in ARRAYS:
            where = getattr(self, key)
            if where is not None:
                yield from (
                    [f"{where}:{part}" for part in ("task", "worker", "label")]
                    if key == "answers"
                    else [where]
                )


class NoiseConfig(Strict):
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
        """Short name for tables: the model, its nominal rate, and its options."""
        return " ".join(
            [self.model, f"{self.rate:g}", *(f"{key}={value}" for key, value in self.options.items())]
        )


class BenchConfig(Strict):
    """A detection benchmark.

    Attributes
    ----------
    task : "detection"
    data : tuple of DataConfig
    noise : tuple of NoiseConfig
        Planted into every data set that has a truth and no given labels.
    seeds : tuple of int
        One trial each where noise is planted; data with labels of their own come once, with the first seed.
    detectors : tuple of str
        Names, or "all": the audit and every detector. Each runs on the data sets that have its inputs.
    peers : tuple of str
        ``file.py:function``: other tools, measured in the same run.
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
        refuse_twins(
            {
                "data names": [data.name for data in self.data],
                "noises": [noise.name for noise in self.noise],
                "seeds": [str(seed) for seed in self.seeds],
                "names of peers": [peer.rpartition(":")[2] for peer in self.peers],
            }
        )
        for peer in self.peers:
            if ".py:" not in peer:
                raise ValueError(f"peer {peer!r} names no function; write file.py:function")
        for data in self.data:
            if data.is_planted and not self.noise:
                raise ValueError(f"data {data.name!r} has no labels: give them, or [[noise]] to plant")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds are {list(self.seeds)}; expected whole numbers from 0 on")
        return self

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the configuration."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def refuse_twins(lists: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError` where a list, named by its key, holds something twice."""
    for key, found in lists.items():
        twice = sorted({each for each in found if found.count(each) > 1})
        if twice:
            raise ValueError(f"{key} must differ; {', '.join(twice)} occurs more than once")
