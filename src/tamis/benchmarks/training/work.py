"""A trial from its description to its row: what a worker process does."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from tamis.auditing import Audit, audit
from tamis.benchmarks.judging import Cell
from tamis.benchmarks.outcomes import Result, outcome_of
from tamis.benchmarks.training.config import TrainingConfig
from tamis.benchmarks.training.fitting import Fit, label_scores
from tamis.benchmarks.training.material import TrainingMaterial, gather_training
from tamis.benchmarks.training.plan import Task, Trial, takes_rate
from tamis.errors import TamisError
from tamis.metrics.ranking import average_precision
from tamis.runs import read_json, write_json


def run_trial(config: TrainingConfig, trial: Trial, audits: Path) -> Result:
    """Return the row of a trial, with its curves; what goes wrong is said in the row."""
    row: Result = {
        "data": trial.task.data.name,
        "noise": None if trial.task.noise is None else trial.task.noise.name,
        "candidate": trial.method.title,
        "method": trial.method.method,
        "seed": trial.seed,
        "lr": trial.lr,
        "is_oracle": trial.is_oracle,
    }

    def run(row: Result) -> None:
        material = material_of(config, trial.task, trial.seed)
        planted = material.planted
        row |= {
            "rows": len(material.train.given),
            "held_rows": len(material.held.given),
            "test_rows": len(material.test.given),
            "nominal_rate": None if planted is None else planted.nominal_rate,
            "realised_rate": material.realised_rate,
            "digest": None if planted is None else planted.digest,
        }
        found, facts = audit_of(config, trial, audits)
        figures, curves = Fit(config, trial, material, found).run()
        row |= {**figures, **facts, "curves": curves}

    return outcome_of(row, run)


_KEPT: dict[str, TrainingMaterial] = {}


def material_of(config: TrainingConfig, task: Task, seed: int) -> TrainingMaterial:
    """Return the material of a trial; the last one stays in memory, as the next trial mostly asks for it."""
    key = _key(config, task, seed)
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = gather_training(task.data, task.noise, seed, config.validation)
    return _KEPT[key]


def needs_audit(config: TrainingConfig, trial: Trial) -> bool:
    """Return whether a trial wants to know what an audit says."""
    method = trial.method
    if method.true_labels:
        return False
    return config.audit or (takes_rate(method) and not trial.is_oracle) or method.initial_selection == "audit"


def make_audit(config: TrainingConfig, task: Task, seed: int, audits: Path) -> None:
    """Audit the training part of a task, unless that is done; where it cannot be audited, note why."""
    folder = audits / _key(config, task, seed)
    facts = _facts(folder)
    if facts.exists():
        return
    start = time.perf_counter()
    told: dict[str, Cell] = dict.fromkeys(("ap", "noise_rate", "error"))
    try:
        material = material_of(config, task, seed)
        made = audit(material.dataset(), device=config.device, out=folder)
    except TamisError as error:
        told["error"] = str(error)
    else:
        is_wrong = material.train.is_wrong
        told["ap"] = average_precision(label_scores(made), is_wrong) if is_wrong.any() else None
        rate = made.summary.noise_rate
        told["noise_rate"] = None if rate is None else float(rate.estimate)
    write_json(facts, told | {"seconds": time.perf_counter() - start})


def audit_of(config: TrainingConfig, trial: Trial, audits: Path) -> tuple[Audit | None, dict[str, Cell]]:
    """Return the audit that `make_audit` made and its figures; None where the trial asks for none."""
    if not needs_audit(config, trial):
        return None, {}
    folder = audits / _key(config, trial.task, trial.seed)
    told = read_json(_facts(folder))
    figures: dict[str, Cell] = {
        f"audit_{key}": value
        for key, value in told.items()
        if value is None or isinstance(value, str | int | float)
    }
    return None if told["error"] else Audit.load(folder), figures


def _facts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _key(config: TrainingConfig, task: Task, seed: int) -> str:
    noise = None if task.noise is None else task.noise.model_dump(mode="json")
    data = task.data.model_dump(mode="json", exclude={"note", "methods", "epochs", "augmentation", "flip"})
    # Labels of people are the same with every seed.
    text = json.dumps([data, noise, seed if noise else None, config.validation], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
