"""What a benchmark of metric learning is told, checked before anything runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tamis.benchmarks.config import NoiseConfig, refuse_twins
from tamis.benchmarks.trained import CandidateConfig, FrameConfig, InputsConfig, refuse_names

UNTRAINED = "none"
"""In place of a method: the inputs themselves, as embeddings."""

CLEAN = "none"
"""In place of a noise model: labels as they are."""


class RetrievalDataConfig(InputsConfig):
    """One data set, split by classes: those that are tested are none that were trained on.

    Attributes
    ----------
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
    """

    arrays_named: ClassVar[tuple[str, ...]] = (*InputsConfig.arrays_named, "groups", "noise_features")

    groups: str | None = None
    train_groups: tuple[int, ...] = ()
    test_groups: tuple[int, ...] = ()
    train_classes: float = Field(default=0.5, gt=0, lt=1)
    test_classes: float = Field(default=0.5, gt=0, lt=1)
    noise_features: str | None = None
    rows: int | None = Field(default=None, ge=4)
    rows_per_class: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _is_split(self) -> RetrievalDataConfig:
        named = f"data {self.name!r}"
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


class MetricConfig(CandidateConfig):
    """One candidate; its method may be "none": the inputs themselves, compared by their cosine.

    Attributes
    ----------
    filter : "oracle", optional
        Train on the rows with right labels only: what a filter could reach.
    epochs : int, optional
        In place of the data set's or the benchmark's.
    """

    filter: Literal["oracle"] | None = None
    epochs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> MetricConfig:
        if "epochs" in self.params:
            raise ValueError(f"method {self.title!r}: epochs is a key of its own; take it out of params")
        told = self.params or self.plugins or self.filter or self.epochs or self.backbone != "auto"
        if self.method == UNTRAINED and (told or self.backbone_options):
            raise ValueError(f"method {self.title!r} is none: it trains nothing and takes no settings")
        return self

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or ("inputs as they are" if self.method == UNTRAINED else self.method)


class RetrievalConfig(FrameConfig):
    """A benchmark of metric learning on labels that are partly wrong: nothing is chosen by the results.

    Attributes
    ----------
    task : "retrieval"
    data : tuple of RetrievalDataConfig
    noise : tuple of RetrievalNoiseConfig
        Planted into the training part of every data set.
    methods : tuple of MetricConfig
    baseline : str
        Name of the candidate that others are compared with; the first trained one where it is left out.
    """

    task: Literal["retrieval"]
    data: tuple[RetrievalDataConfig, ...] = Field(min_length=1)
    noise: tuple[RetrievalNoiseConfig, ...] = Field(min_length=1)
    methods: tuple[MetricConfig, ...] = Field(min_length=1)
    baseline: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> RetrievalConfig:
        refuse_names(self.data, self.methods, self.baseline)
        refuse_twins({"noises": [noise.name for noise in self.noise]})
        if "epochs" in self.recipe:
            raise ValueError("recipe holds epochs; it stands at the top of the file")
        return self

    def n_epochs(self, data: RetrievalDataConfig, method: MetricConfig) -> int:
        """Return the epochs of a candidate on a data set."""
        return method.epochs or data.epochs or self.epochs
