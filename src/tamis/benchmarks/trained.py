"""What benchmarks that train have in common: data sets as inputs of networks, candidates, and the frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tamis.benchmarks.config import Strict, refuse_twins

Scalar = bool | int | float | str
Options = dict[str, Scalar | list[float]]


class InputsConfig(Strict):
    """A data set that networks are trained on.

    Arrays are written ``file.npy``, ``file.npz:array``, ``file.parquet:column`` or, of the IDX format,
    ``file-idx3-ubyte.gz``.

    Attributes
    ----------
    name : str
        Unique; the heading of its tables.
    features : str, optional
        (n, d) numbers.
    images : str, optional
        In place of features: (n, height, width) or (n, height, width, 3) bytes, or a column of image files.
    truth : str
        (n,) true codes.
    augmentation : {"auto", "none", "weak", "strong"}
    flip : bool
        Whether a mirror image keeps its class.
    epochs : int, optional
        In place of the benchmark's.
    methods : tuple of str, optional
        Names of the candidates to run here; all where it is left out.
    note : str
        Printed under the heading.
    """

    arrays_named: ClassVar[tuple[str, ...]] = ("features", "images", "truth")

    name: str = Field(min_length=1)
    features: str | None = None
    images: str | None = None
    truth: str
    augmentation: Literal["auto", "none", "weak", "strong"] = "auto"
    flip: bool = True
    epochs: int | None = Field(default=None, ge=1)
    methods: tuple[str, ...] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _has_inputs(self) -> InputsConfig:
        if (self.features is None) == (self.images is None):
            raise ValueError(f"data {self.name!r} needs either features or images")
        return self

    @property
    def kind(self) -> Literal["features", "image"]:
        """What networks are given."""
        return "image" if self.features is None else "features"

    def arrays(self) -> Iterator[str]:
        """Yield every array that is named."""
        for key in self.arrays_named:
            where = getattr(self, key)
            if where is not None:
                yield where


class CandidateConfig(Strict):
    """One candidate: a method with its network.

    Attributes
    ----------
    method : str
        See ``tamis methods``.
    name : str
        Unique; the method's where it is left out.
    backbone : str
        "auto", or a name of `tamis.backbones.BACKBONES`.
    backbone_options, params : mapping
        Of the network; of the method and of its recipe.
    plugins : tuple of str
    plugin_params : mapping
        Of the plug-in, where there is one.
    """

    method: str
    name: str = ""
    backbone: str = "auto"
    backbone_options: Options = Field(default_factory=dict)
    params: Options = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    plugin_params: Options = Field(default_factory=dict)

    @model_validator(mode="after")
    def _knows_its_plugin(self) -> CandidateConfig:
        if self.plugin_params and len(self.plugins) != 1:
            raise ValueError(f"method {self.title!r}: plugin_params belong to exactly one plug-in")
        return self

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or self.method


class FrameConfig(Strict):
    """What a benchmark that trains says of all its trials.

    Attributes
    ----------
    seeds : tuple of int
        Of training, and of planted noise.
    epochs : int
    recipe : mapping
        Batch size, optimiser and so on, for all candidates.
    device, precision : str
        As of `tamis.train`.
    workers : int
        Trials at a time; nothing but time depends on it.
    """

    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    epochs: int = Field(ge=1)
    recipe: Options = Field(default_factory=dict)
    device: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    workers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _has_seeds(self) -> FrameConfig:
        refuse_twins({"seeds": [str(seed) for seed in self.seeds]})
        if min(self.seeds) < 0:
            raise ValueError(f"seeds are {list(self.seeds)}; expected whole numbers from 0 on")
        return self

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the configuration, without what changes no figure."""
        text = json.dumps(self.model_dump(mode="json", exclude={"workers"}), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def refuse_names(
    data: Sequence[InputsConfig], methods: Sequence[CandidateConfig], baseline: str = ""
) -> None:
    """Raise `ValueError` where a name occurs twice, or a candidate is named that there is none of."""
    titles = [each.title for each in methods]
    refuse_twins({"data names": [each.name for each in data], "names of methods": titles})
    named = [("baseline", baseline)] if baseline else []
    named += [(f"data {each.name!r}", name) for each in data for name in each.methods or ()]
    for where, name in named:
        if name not in titles:
            raise ValueError(f"{where} names no candidate {name!r}; there are {', '.join(titles)}")
