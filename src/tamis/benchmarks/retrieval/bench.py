"""The benchmark of metric learning: every trial of a configuration, once, with what is done kept on disk."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from tamis.benchmarks.arrays import find_array
from tamis.benchmarks.machine import machine
from tamis.benchmarks.networks import check_candidates
from tamis.benchmarks.outcomes import Result
from tamis.benchmarks.planting import check_noise
from tamis.benchmarks.retrieval.config import CLEAN, UNTRAINED, RetrievalConfig
from tamis.benchmarks.retrieval.curves import draw_curves
from tamis.benchmarks.retrieval.plan import Trial, name_of, trials
from tamis.benchmarks.retrieval.table import retrieval_table
from tamis.benchmarks.retrieval.work import run_trial
from tamis.benchmarks.run_folder import Bench, Claim, input_digests, remove_leftovers
from tamis.benchmarks.trial import Row
from tamis.benchmarks.trial_folder import TrialFolder, open_folder, run_due
from tamis.benchmarks.workers import workers
from tamis.progress import track
from tamis.runs import versions, write_json, write_text


def run_retrieval(config: RetrievalConfig, out: Path) -> Bench:
    """Run every trial that the folder does not hold yet; write the tables and the curves.

    An interrupted benchmark continues, and the configuration may grow meanwhile: finished trials stay. The
    tables are written anew after every trial, the curves when the run ends or is stopped. Delete a file in
    ``trials`` to have its trial run again.

    Parameters
    ----------
    config : RetrievalConfig
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
    plan = [(name_of(config, trial), trial) for trial in trials(config)]
    try:
        with track("benchmark", len(plan), unit="trials") as advance, workers(config.workers) as pool:
            advance(sum(name in folder.done for name, _ in plan))

            def submit(trial: Trial) -> Future[Result]:
                return pool.submit(run_trial, config, trial)

            for _ in run_due(folder, lambda: plan, submit, config.workers):
                advance(1)
                _write(config, folder)
    finally:
        # Of a run that was stopped, too.
        rows = _write(config, folder)
        draw_curves(config, rows, out)
    remove_leftovers(out)
    return Bench(rows, out)


def check_methods(config: RetrievalConfig) -> None:
    """Raise `InputError` where a method, a plug-in, a network or a setting does not exist."""
    trained = [each for each in config.methods if each.method != UNTRAINED]
    check_candidates(config, trained, task="retrieval", kinds={data.kind for data in config.data})


def _check(config: RetrievalConfig) -> None:
    """Look that everything named is there, before the first trial."""
    for noise in config.noise:
        if noise.model != CLEAN:
            check_noise(noise)
    for data in config.data:
        for where in data.arrays():
            find_array(where)
    check_methods(config)


def _write(config: RetrievalConfig, folder: TrialFolder) -> list[Row]:
    """Write the results so far; return the rows of the tables."""
    rows: list[Row] = []
    names = [(name_of(config, trial), trial) for trial in trials(config)]
    for name, trial in names:
        if name in folder.done:
            # Names may have been changed in the configuration since.
            head: Row = {"data": trial.data.name, "candidate": trial.method.title, "trial": name}
            if trial.method.method != UNTRAINED:
                head["noise"] = trial.noise.name
            rows.append({**folder.done[name], **head})
    state = {"n_trials": len(names), "n_done": len(rows)}
    write_json(
        folder.out / "results.json", {"rows": rows, "machine": machine(), "versions": versions(), **state}
    )
    write_text(folder.out / "table.md", retrieval_table(config, rows))
    return rows
