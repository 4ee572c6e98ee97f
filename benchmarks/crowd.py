"""Labels of several annotators: accuracy on real sets, time on large ones, beside crowd-kit.

    python benchmarks/crowd.py --out crowd.json

crowd-kit is an optional peer: ``pip install --no-deps crowd-kit attrs nltk``. Without it its columns stay
empty. Each timing is a process of its own; imports and the making of the answers are not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from results import Column, Report, markdown
from sources import shared_file

from tamis.crowd.answers import Answers
from tamis.crowd.dawid_skene import confusion_model, dawid_skene
from tamis.crowd.majority import majority_labels
from tamis.crowd.one_coin import one_coin
from tamis.crowd.state import CrowdState
from tamis.metrics.calibration import expected_calibration_error

SETS = ("bluebird", "dog", "web_relevance", "sentiment_polarity", "music_genre", "zencrowd_in", "rte")
ACCURACY = (
    Column("dataset", "data set"),
    Column("answers", "answers", ",d"),
    Column("tasks", "tasks", ",d"),
    Column("workers", "workers", ",d"),
    Column("classes", "classes", "d"),
    Column("majority", "majority", ".2%"),
    Column("one_coin", "one-coin", ".2%"),
    Column("dawid_skene", "Dawid-Skene", ".2%"),
    Column("crowd_kit", "crowd-kit Dawid-Skene", ".2%"),
    Column("difference", "most difference with `compat`", ".0e"),
    Column("ece", "calibration error", ".3f"),
)
TIME = (
    Column("answers", "answers", ",d"),
    Column("seed", "seed", "d"),
    Column("cpu", "CPU s", ".3f"),
    Column("peer_cpu", "crowd-kit CPU s", ".2f"),
    Column("times", "times less", ".0f"),
    Column("iterations", "iterations", "d"),
    Column("accuracy", "accuracy", ".2%"),
    Column("peer_accuracy", "crowd-kit accuracy", ".2%"),
    Column("difference", "most difference with `compat`", ".0e"),
    Column("fold_cpu", "10k folded in, CPU s", ".4f"),
    Column("fold_share", "share of a full run", ".1%"),
    Column("fold_same", "labels as after a full run", ".2%"),
    Column("refined_same", "after refine", ".2%"),
)


def load(name: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return answers (task, worker, label) and true classes by task."""
    if name == "rte":
        answers = pq.read_table(shared_file("crowd_rte_answers.parquet")).to_pandas()
        truth = pq.read_table(shared_file("crowd_rte_items.parquet")).to_pandas().set_index("item")["truth"]
    else:
        chosen = pc.field("dataset") == name
        answers = pq.read_table(shared_file("crowd_answers.parquet"), filters=chosen).to_pandas()
        truth = pq.read_table(shared_file("crowd_truth.parquet"), filters=chosen).to_pandas()
        truth = truth.set_index("item")["truth"]
    answers = answers.rename(columns={"item": "task"})[["task", "worker", "label"]].astype(np.int64)
    return answers, truth[truth >= 0].astype(np.int64)


def synthetic(n_answers: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return answers of workers with confusion matrices of their own: five a task, 4 classes."""
    rng = np.random.default_rng(seed)
    n_tasks, n_workers, n_classes = n_answers // 5, max(200, n_answers // 500), 4
    truth = rng.choice(n_classes, n_tasks, p=[0.4, 0.3, 0.2, 0.1])
    skill = rng.beta(6, 3, n_workers)
    errors = rng.dirichlet(np.full(n_classes, 0.5), (n_workers, n_classes))  # worker, true class, label
    errors = skill[:, None, None] * np.eye(n_classes) + (1 - skill)[:, None, None] * errors
    task, worker = rng.integers(0, n_tasks, n_answers), rng.integers(0, n_workers, n_answers)
    cumulated = errors[worker, truth[task]].cumsum(axis=1)
    label = (rng.random(n_answers)[:, None] > cumulated[:, :-1]).sum(axis=1)
    return pd.DataFrame({"task": task, "worker": worker, "label": label}), pd.Series(truth)


def accuracy(tasks: np.ndarray, labels: np.ndarray, truth: pd.Series) -> float:
    """Return the share of right labels among the tasks with a truth."""
    given = pd.Series(labels, index=tasks).reindex(truth.index)
    return float((given == truth)[given.notna()].mean())


def accuracy_row(name: str) -> dict[str, str | int | float | None]:
    frame, truth = load(name)
    answers = Answers.from_table(frame)
    found = dawid_skene(answers)
    known = np.isin(answers.tasks, truth.index)
    best = found.posteriors.max(axis=1)[known]
    right = found.labels[known] == truth.loc[answers.tasks[known]].to_numpy()
    row: dict[str, str | int | float | None] = {
        "dataset": name,
        "answers": len(answers),
        "tasks": answers.n_tasks,
        "workers": answers.n_workers,
        "classes": answers.n_classes,
        "majority": accuracy(answers.tasks, answers.classes[majority_labels(answers)], truth),
        "one_coin": accuracy(answers.tasks, answers.classes[one_coin(answers).labels], truth),
        "dawid_skene": accuracy(answers.tasks, answers.classes[found.labels], truth),
        "ece": expected_calibration_error(best, right),
    }
    peer = crowd_kit(frame)
    if peer is not None:
        row["crowd_kit"] = accuracy(peer[0].index.to_numpy(), peer[0].idxmax(axis=1).to_numpy(), truth)
        row["difference"] = most_difference(answers, peer[0])
    return row


def crowd_kit(frame: pd.DataFrame) -> tuple[pd.DataFrame, float] | None:
    """Return crowd-kit's posteriors and its CPU seconds; None where it is not installed."""
    if importlib.util.find_spec("crowdkit") is None:
        return None
    from crowdkit.aggregation.classification.dawid_skene import DawidSkene

    start = time.process_time()
    model = DawidSkene(n_iter=100, tol=1e-5).fit(frame)
    return model.probas_, time.process_time() - start


def most_difference(answers: Answers, probs: pd.DataFrame) -> float:
    """Return the largest difference of a posterior between crowd-kit and the same stopping rule here."""
    ours = dawid_skene(answers, compat=True).posteriors
    theirs = probs.reindex(index=answers.tasks, columns=answers.classes).to_numpy()
    return float(np.abs(ours - theirs).max())


def time_row(n_answers: int, seed: int) -> dict[str, int | float | None]:
    """Measure one size: a full run, crowd-kit's, and 10,000 answers folded in."""
    n_new = 10_000
    frame, truth = synthetic(n_answers + n_new, seed)
    old, new = frame.iloc[:n_answers], frame.iloc[n_answers:]
    clock = time.process_time
    start = clock()
    found = dawid_skene(Answers.from_table(old))
    cpu = clock() - start
    state = CrowdState(confusion_model).partial_fit(Answers.from_table(old)).solve()
    start = clock()
    state.partial_fit(Answers.from_table(new))
    fold_cpu = clock() - start
    start = clock()
    everything = Answers.from_table(frame)
    full = dawid_skene(everything)
    full_cpu = clock() - start
    answers = Answers.from_table(old)
    row: dict[str, int | float | None] = {
        "answers": n_answers,
        "seed": seed,
        "cpu": cpu,
        "iterations": found.n_iter,
        "accuracy": accuracy(answers.tasks, found.labels, truth),
        "fold_cpu": fold_cpu,
        "fold_share": fold_cpu / full_cpu,
        "fold_same": _same(state, everything, full.labels),
        "refined_same": _same(state.refine(), everything, full.labels),
    }
    peer = crowd_kit(old)
    if peer is not None:
        probs, row["peer_cpu"] = peer
        row["times"] = peer[1] / cpu
        row["peer_accuracy"] = accuracy(probs.index.to_numpy(), probs.idxmax(axis=1).to_numpy(), truth)
        row["difference"] = most_difference(answers, probs)
    return row


def _same(state: CrowdState, answers: Answers, labels: np.ndarray) -> float:
    ours = pd.Series(state.fit.labels, index=state.answers.tasks).reindex(answers.tasks)
    return float((ours.to_numpy() == labels).mean())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS), help="real data sets, none: an empty text")
    parser.add_argument("--answers", default="100000,1000000", help="sizes to time, none: an empty text")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of each size")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # "answers,seed": one row as JSON
    arguments = parser.parse_args(argv)
    if arguments.one:
        print(json.dumps(time_row(*map(int, arguments.one.split(",")))))
        return 0
    report = Report("crowd", arguments.out)
    for name in filter(None, arguments.sets.split(",")):
        report.add(accuracy_row(name))
    n_sets = len(report.rows)
    for size in filter(None, arguments.answers.split(",")):
        for seed in range(arguments.seeds):
            command = [sys.executable, __file__, "--one", f"{size},{seed}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            report.add(json.loads(done.stdout.splitlines()[-1]))
    print(markdown(ACCURACY, report.rows[:n_sets]))
    print(markdown(TIME, report.rows[n_sets:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
