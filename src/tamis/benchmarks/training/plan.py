"""Which trials a benchmark of training methods has, and which of them can be run by now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tamis.benchmarks.config import NoiseConfig
from tamis.benchmarks.run_folder import trial_name
from tamis.benchmarks.training.config import MethodConfig, TrainingConfig, TrainingDataConfig
from tamis.benchmarks.trial import DONE, Row
from tamis.methods import METHODS
from tamis.training.settings import options_of


class Task(NamedTuple):
    """One data set with one noise: a table of its own."""

    data: TrainingDataConfig
    noise: NoiseConfig | None


class Trial(NamedTuple):
    """One training.

    Attributes
    ----------
    task : Task
    method : MethodConfig
    lr : float
    seed : int
    is_oracle : bool
        Whether the method is told the realised noise rate.
    """

    task: Task
    method: MethodConfig
    lr: float
    seed: int
    is_oracle: bool = False


def tasks(config: TrainingConfig) -> Iterator[Task]:
    """Yield every data set with every noise; data with labels of their own come once."""
    for data in config.data:
        for noise in config.noise if data.is_planted else (None,):
            yield Task(data, noise)


def is_applicable(method: MethodConfig, data: TrainingDataConfig) -> bool:
    """Return whether a method can work with the inputs: some need pixels."""
    return METHODS.facts(method.method).inputs != ("image",) or data.kind == "image"


def takes_rate(method: MethodConfig) -> bool:
    """Return whether a method asks for the noise rate and was not told one."""
    return "noise_rate" in options_of(METHODS.get(method.method)) and "noise_rate" not in method.params


def name_of(config: TrainingConfig, trial: Trial) -> str:
    """Return the file name of a trial: it changes with everything the trial depends on."""
    data, noise = trial.task
    kept = {
        "data": data.model_dump(mode="json", exclude={"note", "methods", "epochs", "name"}),
        "noise": None if noise is None else noise.model_dump(mode="json"),
        "method": trial.method.model_dump(mode="json", exclude={"lr", "name"}),
        "epochs": config.n_epochs(data),
        "lr": trial.lr,
        "seed": trial.seed,
        "is_oracle": trial.is_oracle,
        **config.model_dump(mode="json", include={"validation", "recipe", "audit", "device", "precision"}),
    }
    parts = [trial.method.title, data.name, *([] if noise is None else [noise.name]), f"lr{trial.lr:g}"]
    parts.append(f"seed{trial.seed}{'-oracle' if trial.is_oracle else ''}")
    return trial_name(parts, json.dumps(kept, sort_keys=True))


def first_trials(config: TrainingConfig, task: Task, method: MethodConfig) -> list[Trial]:
    """Return the trials that the learning rate is chosen by."""
    return [Trial(task, method, lr, config.seeds[0]) for lr in config.rates(method)]


def last_trials(config: TrainingConfig, task: Task, method: MethodConfig, lr: float) -> list[Trial]:
    """Return the trials whose figures stand in the table, once the learning rate is chosen."""
    found = [Trial(task, method, lr, seed) for seed in config.seeds]
    if config.oracle and takes_rate(method) and not method.true_labels:
        found += [Trial(task, method, lr, seed, is_oracle=True) for seed in config.seeds]
    return found


def chosen_rate(config: TrainingConfig, trials: list[Trial], done: Mapping[str, Row]) -> float | None:
    """Return the learning rate with the best accuracy on the noisy held-out part; of equals the lowest.

    None where a trial is missing, or none came to its end.
    """
    rows = [done.get(name_of(config, trial)) for trial in trials]
    if any(row is None for row in rows):
        return None
    scored = [
        (float(row["validation"]), -trial.lr)  # type: ignore[arg-type]  # a number where the outcome is "done"
        for trial, row in zip(trials, rows, strict=True)
        if row is not None and row["outcome"] == DONE
    ]
    return -max(scored)[1] if scored else None


def due(config: TrainingConfig, task: Task, done: Mapping[str, Row]) -> list[Trial]:
    """Return the trials of a task that can be run by now and are not done."""
    found: dict[str, Trial] = {}
    for method in config.candidates(task.data):
        if not is_applicable(method, task.data):
            continue
        first = first_trials(config, task, method)
        lr = chosen_rate(config, first, done)
        for trial in first if lr is None else last_trials(config, task, method, lr):
            name = name_of(config, trial)
            if name not in done:
                found[name] = trial
    return list(found.values())


def n_trials(config: TrainingConfig) -> int:
    """Return how many trials there are in all."""
    total = 0
    for task in tasks(config):
        for method in config.candidates(task.data):
            if is_applicable(method, task.data):
                first = first_trials(config, task, method)
                # A rate may be named several times, to stand for as many choices as the others have.
                n_rates = len({trial.lr for trial in first})
                total += n_rates + len(last_trials(config, task, method, first[0].lr)) - 1
    return total
