"""What a benchmark of training methods is told, checked before anything runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tamis.benchmarks.config import NoiseConfig, refuse_twins
from tamis.benchmarks.trained import CandidateConfig, FrameConfig, InputsConfig, refuse_names


class TrainingDataConfig(InputsConfig):
    """One data set, with a test part whose labels are right.

    Attributes
    ----------
    test_features, test_images : str, optional
        As ``features`` or ``images``.
    labels : str, optional
        (n,) given labels, codes from 0. Left out where noise is planted into the truth.
    test_labels : str
        (n,) true codes.
    rows, test_rows : int, optional
        Take the first so many.
    """

    arrays_named: ClassVar[tuple[str, ...]] = (
        *InputsConfig.arrays_named,
        "labels",
        "test_features",
        "test_images",
        "test_labels",
    )

    labels: str | None = None
    test_features: str | None = None
    test_images: str | None = None
    test_labels: str
    rows: int | None = Field(default=None, ge=2)
    test_rows: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_a_test_part(self) -> TrainingDataConfig:
        if (self.features is None) != (self.test_features is None) or (self.images is None) != (
            self.test_images is None
        ):
            raise ValueError(
                f"data {self.name!r}: the test part needs what the training part has, features or images"
            )
        return self

    @property
    def is_planted(self) -> bool:
        """Whether noise is planted into the truth."""
        return self.labels is None


class MethodConfig(CandidateConfig):
    """One candidate, with learning rates to choose from.

    Attributes
    ----------
    initial_selection : str, optional
        "audit", or a detector of features.
    lr : tuple of float, optional
        Learning rates to choose from in place of the benchmark's: as many.
    true_labels : bool
        Train on the truth: what noise costs.
    """

    initial_selection: str | None = None
    lr: tuple[float, ...] | None = None
    true_labels: bool = False

    @model_validator(mode="after")
    def _is_fair(self) -> MethodConfig:
        if "lr" in self.params:
            raise ValueError(
                f"method {self.title!r}: lr is chosen from the benchmark's lr; take it out of params"
            )
        return self


class TrainingConfig(FrameConfig):
    """A benchmark of training methods.

    Attributes
    ----------
    task : "training"
    data : tuple of TrainingDataConfig
    noise : tuple of NoiseConfig
        Planted into every data set that has no given labels.
    methods : tuple of MethodConfig
    lr : tuple of float
        Learning rates that every candidate may choose from, by the accuracy on the noisy validation part
        after the last epoch, with the first seed.
    validation : float
        Share of the training rows that is held out, their labels as noisy as the others.
    oracle : bool
        Whether methods that take a noise rate run once more with the realised one.
    audit : bool
        Whether verdicts are also weighed with an audit.
    """

    task: Literal["training"]
    data: tuple[TrainingDataConfig, ...] = Field(min_length=1)
    noise: tuple[NoiseConfig, ...] = ()
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    lr: tuple[float, ...] = Field(min_length=1)
    validation: float = Field(default=0.1, gt=0, le=0.5)
    oracle: bool = True
    audit: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingConfig:
        refuse_names(self.data, self.methods)
        refuse_twins(
            {
                "noises": [noise.name for noise in self.noise],
                "learning rates": [str(rate) for rate in self.lr],
            }
        )
        for data in self.data:
            if data.is_planted and not self.noise:
                raise ValueError(f"data {data.name!r} has no labels: give them, or [[noise]] to plant")
        for each in self.methods:
            if each.lr is not None and len(each.lr) != len(self.lr):
                raise ValueError(
                    f"method {each.title!r} has {len(each.lr)} learning rates to choose from, the others "
                    f"{len(self.lr)}; the comparison is fair with as many"
                )
        if {"lr", "epochs"} & set(self.recipe):
            raise ValueError("recipe holds lr or epochs; they stand at the top of the file")
        if min(min(each.lr or self.lr) for each in self.methods) <= 0:
            raise ValueError("a learning rate is not above 0")
        return self

    def candidates(self, data: TrainingDataConfig) -> tuple[MethodConfig, ...]:
        """Return the candidates of a data set."""
        return tuple(each for each in self.methods if data.methods is None or each.title in data.methods)

    def rates(self, method: MethodConfig) -> tuple[float, ...]:
        """Return the learning rates that a candidate may choose from."""
        return method.lr or self.lr

    def n_epochs(self, data: TrainingDataConfig) -> int:
        """Return the epochs of every training on a data set."""
        return data.epochs or self.epochs
