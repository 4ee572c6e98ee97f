"""Which trials a benchmark of metric learning has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from tamis.benchmarks.retrieval.config import (
    UNTRAINED,
    MetricConfig,
    RetrievalConfig,
    RetrievalDataConfig,
    RetrievalNoiseConfig,
)
from tamis.benchmarks.run_folder import trial_name
from tamis.methods import METHODS


class Trial(NamedTuple):
    """One training.

    Attributes
    ----------
    data : RetrievalDataConfig
    noise : RetrievalNoiseConfig
    method : MetricConfig
    seed : int
    """

    data: RetrievalDataConfig
    noise: RetrievalNoiseConfig
    method: MetricConfig
    seed: int


def candidates(config: RetrievalConfig, data: RetrievalDataConfig) -> list[MetricConfig]:
    """Return the candidates that are asked for on a data set and can work with its inputs."""
    return [
        each
        for each in config.methods
        if (data.methods is None or each.title in data.methods) and is_applicable(each, data)
    ]


def is_applicable(method: MetricConfig, data: RetrievalDataConfig) -> bool:
    """Return whether a method can work with the inputs: some need pixels."""
    if method.method == UNTRAINED or data.kind == "image":
        return True
    return METHODS.facts(method.method).inputs != ("image",)


def trials(config: RetrievalConfig) -> Iterator[Trial]:
    """Yield every trial, seed by seed: an interrupted benchmark has all cells of the first seeds."""
    for data in config.data:
        for seed in config.seeds:
            for noise in config.noise:
                for method in candidates(config, data):
                    # What is not trained depends neither on the noise nor on the seed.
                    if method.method != UNTRAINED or (seed == config.seeds[0] and noise is config.noise[0]):
                        yield Trial(data, noise, method, seed)


def name_of(config: RetrievalConfig, trial: Trial) -> str:
    """Return the file name of a trial: it changes with everything the trial depends on."""
    data, noise, method, seed = trial
    kept = {
        "data": data.model_dump(mode="json", exclude={"note", "methods", "epochs", "name"}),
        "noise": noise.model_dump(mode="json", exclude={"label"}),
        "method": method.model_dump(mode="json", exclude={"epochs", "name"}),
        "epochs": config.n_epochs(data, method),
        "seed": seed,
        **config.model_dump(mode="json", include={"recipe", "device", "precision"}),
    }
    if method.method == UNTRAINED:
        kept = {"data": kept["data"], "method": method.method}
    parts = [method.title, data.name, noise.name, f"seed{seed}"]
    return trial_name(parts[:2] if method.method == UNTRAINED else parts, json.dumps(kept, sort_keys=True))
