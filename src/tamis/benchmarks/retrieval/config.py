"""What a benchmark of metric learning is told, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from tamis.benchmarks.config import NoiseConfig, Strict, refuse_twins

RETRIEVAL_ARRAYS = ("features", "images", "truth", "groups", "noise_features")
"""Keys of a data set that name arrays."""

UNTRAINED = "none"
"""In place of a method: the inputs themselves, as embeddings."""

CLEAN = "none"
"""In place of a noise model: labels as they are."""

Scalar = bool | int | float | str
Options = dict[str, Scalar | list[float]]


class RetrievalDataConfig(Strict):
    """One data set, split by classes: those that are tested are none that were trained on.

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
    groups : str, optional
        (n,) codes of what classes belong to, such as alphabets of characters.
    train_groups, test_groups : tuple of int
        With ``groups``: those to train on, and those to test on.
    train_classes, test_classes : float
        Without: shares of the classes, drawn independently of any seed.
    noise_features : str, optional
        (n, d) numbers for noise models that need features. Left out: the features, or the first 64 principal
        components of the training pixels.
    rows, rows_per_class : int, optional
        Take the first so many; the first so many of each class.
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
    truth: str
    groups: str | None = None
    train_groups: tuple[int, ...] = ()
    test_groups: tuple[int, ...] = ()
    train_classes: float = Field(default=0.5, gt=0, lt=1)
    test_classes: float = Field(default=0.5, gt=0, lt=1)
    noise_features: str | None = None
    rows: int | None = Field(default=None, ge=4)
    rows_per_class: int | None = Field(default=None, ge=2)
    augmentation: Literal["auto", "none", "weak", "strong"] = "auto"
    flip: bool = True
    epochs: int | None = Field(default=None, ge=1)
    methods: tuple[str, ...] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> RetrievalDataConfig:
        named = f"data {self.name!r}"
        if (self.features is None) == (self.images is None):
            raise ValueError(f"{named} needs either features or images")
        has_lists = bool(self.train_groups), bool(self.test_groups)
        if has_lists != ((self.groups is not None),) * 2:
            raise ValueError(f"{named}: groups, train_groups and test_groups come together, or not at all")
        both = sorted(set(self.train_groups) & set(self.test_groups))
        if both:
            raise ValueError(f"{named}: group {both[0]} is trained on and tested; a group has one side")
        if self.groups is None and self.train_classes + self.test_classes > 1 + 1e-9:
            raise ValueError(
                f"{named}: train_classes {self.train_classes:g} and test_classes {self.test_classes:g} are "
                "shares of all classes, and are more than 1 together"
            )
        return self

    @property
    def kind(self) -> Literal["features", "image"]:
        """What networks are given."""
        return "image" if self.features is None else "features"

    def arrays(self) -> Iterator[str]:
        """Yield every array that is named."""
        for key in RETRIEVAL_ARRAYS:
            where = getattr(self, key)
            if where is not None:
                yield where


class RetrievalNoiseConfig(NoiseConfig):
    """Label errors to plant into the training part; a column of the tables.

    Attributes
    ----------
    model : str
        Name of a noise model that keeps samples, or "none".
    rate : float
    options : mapping
        Other arguments of the model.
    filter_rate : float, optional
        The noise rate that filters are told; the realised one where it is left out.
    label : str
        In tables; made of the others where it is left out.
    """

    rate: float = Field(default=0.0, ge=0, le=1)
    filter_rate: float | None = Field(default=None, ge=0, lt=1)
    label: str = ""

    @model_validator(mode="after")
    def _has_a_rate(self) -> RetrievalNoiseConfig:
        if (self.model == CLEAN) == bool(self.rate) or (self.model == CLEAN and self.options):
            raise ValueError(
                f"noise {self.model!r} has rate {self.rate:g}; 'none' has neither rate nor options, and a "
                "noise model a rate above 0"
            )
        return self

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.label or ("clean" if self.model == CLEAN else super().name)


class CandidateConfig(Strict):
    """One candidate: a method with its network.

    Attributes
    ----------
    method : str
        Of ``tamis methods``, for retrieval; or "none": the inputs themselves, compared by their cosine.
    name : str
        Unique; the method's where it is left out.
    backbone : str
        "auto", or a name of `tamis.backbones.BACKBONES`.
    backbone_options, params : mapping
        Of the network; of the method and of its recipe.
    plugins : tuple of str
    plugin_params : mapping
        Of the plug-in, where there is one.
    filter : "oracle", optional
        Train on the rows with right labels only: what a filter could reach.
    epochs : int, optional
        In place of the data set's or the benchmark's.
    """

    method: str
    name: str = ""
    backbone: str = "auto"
    backbone_options: Options = Field(default_factory=dict)
    params: Options = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    plugin_params: Options = Field(default_factory=dict)
    filter: Literal["oracle"] | None = None
    epochs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> CandidateConfig:
        if "epochs" in self.params:
            raise ValueError(f"method {self.title!r}: epochs is a key of its own; take it out of params")
        if self.plugin_params and len(self.plugins) != 1:
            raise ValueError(f"method {self.title!r}: plugin_params belong to exactly one plug-in")
        told = self.params or self.plugins or self.filter or self.epochs or self.backbone != "auto"
        if self.method == UNTRAINED and (told or self.backbone_options):
            raise ValueError(f"method {self.title!r} is none: it trains nothing and takes no settings")
        return self

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or ("inputs as they are" if self.method == UNTRAINED else self.method)


class RetrievalConfig(Strict):
    """A benchmark of metric learning on labels that are partly wrong.

    Attributes
    ----------
    task : "retrieval"
    data : tuple of RetrievalDataConfig
    noise : tuple of RetrievalNoiseConfig
        Planted into the training part of every data set.
    methods : tuple of CandidateConfig
    seeds : tuple of int
        Of training, and of planted noise.
    epochs : int
    recipe : mapping
        Optimiser, learning rate, batch size and so on, for all candidates: nothing is chosen by the results.
    baseline : str
        Name of the candidate that others are compared with; the first trained one where it is left out.
    device, precision : str
        As of `tamis.train`.
    workers : int
        Trials at a time; nothing but time depends on it.
    """

    task: Literal["retrieval"]
    data: tuple[RetrievalDataConfig, ...] = Field(min_length=1)
    noise: tuple[RetrievalNoiseConfig, ...] = Field(min_length=1)
    methods: tuple[CandidateConfig, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    epochs: int = Field(ge=1)
    recipe: Options = Field(default_factory=dict)
    baseline: str = ""
    device: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    workers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> RetrievalConfig:
        titles = [each.title for each in self.methods]
        refuse_twins(
            {
                "data names": [data.name for data in self.data],
                "noises": [noise.name for noise in self.noise],
                "names of methods": titles,
                "seeds": [str(seed) for seed in self.seeds],
            }
        )
        named = [("baseline", self.baseline)] if self.baseline else []
        named += [(f"data {data.name!r}", name) for data in self.data for name in data.methods or ()]
        for where, name in named:
            if name not in titles:
                raise ValueError(f"{where} names no candidate {name!r}; there are {', '.join(titles)}")
        if "epochs" in self.recipe:
            raise ValueError("recipe holds epochs; it stands at the top of the file")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds are {list(self.seeds)}; expected whole numbers from 0 on")
        return self

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the configuration, without what changes no figure."""
        text = json.dumps(self.model_dump(mode="json", exclude={"workers"}), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def n_epochs(self, data: RetrievalDataConfig, method: CandidateConfig) -> int:
        """Return the epochs of a candidate on a data set."""
        return method.epochs or data.epochs or self.epochs
