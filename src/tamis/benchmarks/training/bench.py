"""The benchmark of training methods: every trial of a configuration, once, with what is done kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

from tamis.benchmarks.arrays import find_array
from tamis.benchmarks.machine import machine
from tamis.benchmarks.networks import check_candidates
from tamis.benchmarks.outcomes import Result
from tamis.benchmarks.planting import check_noise
from tamis.benchmarks.run_folder import (
    Bench,
    Claim,
    input_digests,
    remove_leftovers,
)
from tamis.benchmarks.training.config import MethodConfig, TrainingConfig
from tamis.benchmarks.training.curves import draw_curves
from tamis.benchmarks.training.plan import (
    Task,
    Trial,
    chosen_rate,
    due,
    first_trials,
    is_applicable,
    last_trials,
    n_trials,
    name_of,
    tasks,
)
from tamis.benchmarks.training.table import training_table
from tamis.benchmarks.training.work import make_audit, needs_audit, run_trial
from tamis.benchmarks.trial import Row
from tamis.benchmarks.trial_folder import TrialFolder, open_folder, run_due
from tamis.benchmarks.workers import workers
from tamis.progress import track
from tamis.runs import versions, write_json, write_text

NOT_APPLICABLE = "not applicable"
_AUDITS = "audits"


def run_training(config: TrainingConfig, out: Path) -> Bench:
    """Run every trial that the folder does not hold yet; write the table and the curves.

    Of every candidate the learning rates come first, with one seed; the best on the noisy held-out part gets
    the other seeds. An interrupted benchmark continues, and the configuration may grow meanwhile: finished
    trials stay. The table is written anew after every trial, the curves when the run ends or is stopped.
    Delete a file in ``trials`` to have its trial run again.

    Parameters
    ----------
    config : TrainingConfig
    out : Path
        Run folder; made when missing.

    Raises
    ------
    InputError
        If a data set, a noise model, a method or one of its settings cannot be used, or ``out`` holds
        something else.
    RunError
        If the folder holds another benchmark or arrays that have changed since, or a worker process died.
    """
    _check(config)
    inputs = input_digests(find_array(where).path for data in config.data for where in data.arrays())
    claim = Claim(config.model_dump(mode="json"), config.digest(), inputs, may_grow=True)
    folder = open_folder(out, claim)
    try:
        with track("benchmark", n_trials(config), unit="trials") as advance, workers(config.workers) as pool:
            _audit_all(config, out / _AUDITS, pool)

            def submit(trial: Trial) -> Future[Result]:
                return pool.submit(run_trial, config, trial, out / _AUDITS)

            for _ in run_due(folder, lambda: _due(config, folder), submit, config.workers):
                advance(1)
                _write(config, folder)
    finally:
        # Of a run that was stopped, too.
        rows = _write(config, folder)
        draw_curves(config, rows, out)
    remove_leftovers(out)
    return Bench(rows, out)


def _due(config: TrainingConfig, folder: TrialFolder) -> Iterator[tuple[str, Trial]]:
    for task in tasks(config):
        for trial in due(config, task, folder.done):
            yield name_of(config, trial), trial


def _audit_all(config: TrainingConfig, audits: Path, pool: Executor) -> None:
    wanted: dict[tuple[str, int], tuple[Task, int]] = {}
    for task in tasks(config):
        for method in config.candidates(task.data):
            for seed in config.seeds if task.noise is not None else config.seeds[:1]:
                if is_applicable(method, task.data) and needs_audit(config, Trial(task, method, 1.0, seed)):
                    wanted[repr(task), seed] = (task, seed)
    pending = [pool.submit(make_audit, config, task, seed, audits) for task, seed in wanted.values()]
    for future in pending:
        future.result()


def _write(config: TrainingConfig, folder: TrialFolder) -> list[Row]:
    """Write the results so far; return the rows of the table."""
    rows, tried = [], []
    for task in tasks(config):
        for method in config.candidates(task.data):
            found, first = _rows(config, folder, task, method)
            rows += found
            tried += first
    state = {
        "n_trials": n_trials(config),
        "n_done": len({row["trial"] for row in rows + tried if "trial" in row}),
    }
    content = {"rows": rows, "rates_tried": tried, "machine": machine(), "versions": versions(), **state}
    write_json(folder.out / "results.json", content)
    write_text(folder.out / "table.md", training_table(config, rows))
    return rows


def _rows(
    config: TrainingConfig, folder: TrialFolder, task: Task, method: MethodConfig
) -> tuple[list[Row], list[Row]]:
    """Return a candidate's rows for the table, and those that its learning rate was chosen by."""
    if not is_applicable(method, task.data):
        head = {"data": task.data.name, "noise": None if task.noise is None else task.noise.name}
        why = {"outcome": NOT_APPLICABLE, "error": "not applicable: needs pixels"}
        return [{**head, "candidate": method.title, "method": method.method, **why}], []
    trials = first_trials(config, task, method)
    first = _done(config, folder, trials)
    lr = chosen_rate(config, trials, folder.done)
    if lr is not None:
        return _done(config, folder, last_trials(config, task, method, lr)), first
    # Nothing to choose from: the first trial says why.
    return (first[:1] if len(first) == len(trials) else []), first


def _done(config: TrainingConfig, folder: TrialFolder, trials: list[Trial]) -> list[Row]:
    found = []
    for trial in trials:
        name = name_of(config, trial)
        if name in folder.done:
            # Names may have been changed in the configuration since.
            head = {"data": trial.task.data.name, "candidate": trial.method.title, "trial": name}
            found.append({**folder.done[name], **head})
    return found


def _check(config: TrainingConfig) -> None:
    """Look that everything named is there, before the first trial."""
    for noise in config.noise:
        check_noise(noise)
    for data in config.data:
        for where in data.arrays():
            find_array(where)
    check_methods(config)


def check_methods(config: TrainingConfig) -> None:
    """Raise `InputError` where a method, a plug-in, a network or a setting does not exist."""
    check_candidates(config, config.methods, task="classification", kinds={data.kind for data in config.data})
