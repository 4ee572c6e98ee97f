"""Crowds of known quality."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


class Crowd(NamedTuple):
    """Answers as a table, the true class of each task and the accuracy of each worker."""

    table: pd.DataFrame
    truth: np.ndarray
    skill: np.ndarray

    def columns(self, rows=slice(None)):
        """Return (task, worker, label) of some rows."""
        return tuple(self.table[name].to_numpy()[rows] for name in ("task", "worker", "label"))


def make_crowd(n_tasks=60, n_workers=9, n_classes=3, per_task=4, seed=0) -> Crowd:
    """Return a crowd in which every task and worker occurs and nobody answers a task twice."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n_tasks)
    skill = np.linspace(0.35, 0.95, n_workers)
    task = np.repeat(np.arange(n_tasks), per_task)
    worker = np.concatenate([rng.choice(n_workers, per_task, replace=False) for _ in range(n_tasks)])
    is_right = rng.random(len(task)) < skill[worker]
    other = (truth[task] + rng.integers(1, n_classes, len(task))) % n_classes
    label = np.where(is_right, truth[task], other)
    return Crowd(pd.DataFrame({"task": task, "worker": worker, "label": label}), truth, skill)
