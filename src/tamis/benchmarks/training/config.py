"""What a benchmark of training methods is told, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from tamis.benchmarks.config import NoiseConfig, Strict, refuse_twins

TRAINING_ARRAYS = ("features", "images", "labels", "truth", "test_features", "test_images", "test_labels")
"""Keys of a data set that name arrays."""

Scalar = bool | int | float | str
Options = dict[str, Scalar | list[float]]


class TrainingDataConfig(Strict):
    """One data set, with a test part whose labels are right.

    Arrays are written ``file.npy``, ``file.npz:array``, ``file.parquet:column`` or, of the IDX format,
    ``file-idx3-ubyte.gz``.

    Attributes
    ----------
    name : str
        Unique; the heading of its table.
    features, test_features : str, optional
        (n, d) numbers.
    images, test_images : str, optional
        In place of features: (n, height, width) or (n, height, width, 3) bytes, or a column of image files.
    labels : str, optional
        (n,) given labels, codes from 0. Left out where noise is planted into the truth.
    truth, test_labels : str
        (n,) true codes.
    rows, test_rows : int, optional
        Take the first so many.
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

    name: str = Field(min_length=1)
    features: str | None = None
    images: str | None = None
    labels: str | None = None
    truth: str
    test_features: str | None = None
    test_images: str | None = None
    test_labels: str
    rows: int | None = Field(default=None, ge=2)
    test_rows: int | None = Field(default=None, ge=1)
    augmentation: Literal["auto", "none", "weak", "strong"] = "auto"
    flip: bool = True
    epochs: int | None = Field(default=None, ge=1)
    methods: tuple[str, ...] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> TrainingDataConfig:
        named = f"data {self.name!r}"
        if (self.features is None) == (self.images is None):
            raise ValueError(f"{named} needs either features or images")
        if (self.features is None) != (self.test_features is None) or (self.images is None) != (
            self.test_images is None
        ):
            raise ValueError(f"{named}: the test part needs what the training part has, features or images")
        return self

    @property
    def kind(self) -> Literal["features", "image"]:
        """What networks are given."""
        return "image" if self.features is None else "features"

    @property
    def is_planted(self) -> bool:
        """Whether noise is planted into the truth."""
        return self.labels is None

    def arrays(self) -> Iterator[str]:
        """Yield every array that is named."""
        for key in TRAINING_ARRAYS:
            where = getattr(self, key)
            if where is not None:
                yield where


class MethodConfig(Strict):
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
        Of the network; of the method and of its recipe (not ``lr``).
    plugins : tuple of str
    plugin_params : mapping
        Of the plug-in, where there is one.
    initial_selection : str, optional
        "audit", or a detector of features.
    lr : tuple of float, optional
        Learning rates to choose from in place of the benchmark's: as many.
    true_labels : bool
        Train on the truth: what noise costs.
    """

    method: str
    name: str = ""
    backbone: str = "auto"
    backbone_options: Options = Field(default_factory=dict)
    params: Options = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    plugin_params: Options = Field(default_factory=dict)
    initial_selection: str | None = None
    lr: tuple[float, ...] | None = None
    true_labels: bool = False

    @model_validator(mode="after")
    def _is_fair(self) -> MethodConfig:
        if "lr" in self.params:
            raise ValueError(
                f"method {self.title!r}: lr is chosen from the benchmark's lr; take it out of params"
            )
        if self.plugin_params and len(self.plugins) != 1:
            raise ValueError(f"method {self.title!r}: plugin_params belong to exactly one plug-in")
        return self

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or self.method


class TrainingConfig(Strict):
    """A benchmark of training methods.

    Attributes
    ----------
    task : "training"
    data : tuple of TrainingDataConfig
    noise : tuple of NoiseConfig
        Planted into every data set that has no given labels.
    methods : tuple of MethodConfig
    seeds : tuple of int
        Of training, and of planted noise.
    epochs : int
    lr : tuple of float
        Learning rates that every candidate may choose from, by the accuracy on the noisy validation part
        after the last epoch, with the first seed.
    validation : float
        Share of the training rows that is held out, their labels as noisy as the others.
    recipe : mapping
        Batch size, optimiser and so on, for all candidates.
    oracle : bool
        Whether methods that take a noise rate run once more with the realised one.
    audit : bool
        Whether verdicts are also weighed with an audit.
    device, precision : str
        As of `tamis.train`.
    workers : int
        Trials at a time; nothing but time depends on it.
    """

    task: Literal["training"]
    data: tuple[TrainingDataConfig, ...] = Field(min_length=1)
    noise: tuple[NoiseConfig, ...] = ()
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    epochs: int = Field(ge=1)
    lr: tuple[float, ...] = Field(min_length=1)
    validation: float = Field(default=0.1, gt=0, le=0.5)
    recipe: Options = Field(default_factory=dict)
    oracle: bool = True
    audit: bool = True
    device: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    workers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingConfig:
        titles = [each.title for each in self.methods]
        refuse_twins(
            {
                "data names": [data.name for data in self.data],
                "noises": [noise.name for noise in self.noise],
                "names of methods": titles,
                "seeds": [str(seed) for seed in self.seeds],
                "learning rates": [str(rate) for rate in self.lr],
            }
        )
        for data in self.data:
            if data.is_planted and not self.noise:
                raise ValueError(f"data {data.name!r} has no labels: give them, or [[noise]] to plant")
            for name in data.methods or ():
                if name not in titles:
                    raise ValueError(
                        f"data {data.name!r} names no candidate {name!r}; there are {', '.join(titles)}"
                    )
        for each in self.methods:
            if each.lr is not None and len(each.lr) != len(self.lr):
                raise ValueError(
                    f"method {each.title!r} has {len(each.lr)} learning rates to choose from, the others "
                    f"{len(self.lr)}; the comparison is fair with as many"
                )
        if {"lr", "epochs"} & set(self.recipe):
            raise ValueError("recipe holds lr or epochs; they stand at the top of the file")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds are {list(self.seeds)}; expected whole numbers from 0 on")
        if min(min(each.lr or self.lr) for each in self.methods) <= 0:
            raise ValueError("a learning rate is not above 0")
        return self

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the configuration, without what changes no figure."""
        text = json.dumps(self.model_dump(mode="json", exclude={"workers"}), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def candidates(self, data: TrainingDataConfig) -> tuple[MethodConfig, ...]:
        """Return the candidates of a data set."""
        return tuple(each for each in self.methods if data.methods is None or each.title in data.methods)

    def rates(self, method: MethodConfig) -> tuple[float, ...]:
        """Return the learning rates that a candidate may choose from."""
        return method.lr or self.lr

    def n_epochs(self, data: TrainingDataConfig) -> int:
        """Return the epochs of every training on a data set."""
        return data.epochs or self.epochs
