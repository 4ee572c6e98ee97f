"""Retrieval metrics beside pytorch-metric-learning's AccuracyCalculator: time, memory, values.

    python benchmarks/retrieval_metrics.py --rows 20000 --columns 128           # both, on the same rows
    python benchmarks/retrieval_metrics.py --rows 100000 --methods tamis        # queries = gallery
    python benchmarks/retrieval_metrics.py --rows 60000 --columns 512 --methods tamis

Embeddings are drawn around a centre for each class, queries = gallery. Metrics: P@1, R-precision and MAP@R,
for tamis R@10 too. AccuracyCalculator gets its k="max_bin_count" (by default it lists all rows for every row)
and the exact search of its CustomKNN in batches of 256, or faiss' flat index where that is installed. Each
runs in a process of its own with `--threads` threads; seconds are those of the call, without imports. "peak"
is the most resident memory of the process, embeddings included; "added" is what the call added.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from results import Column, Report

METHODS = ("tamis", "tamis all metrics", "AccuracyCalculator CustomKNN", "AccuracyCalculator faiss")
THEIRS = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
}
ALL = (*THEIRS, "recall_at_k", "map_at_k", "mean_average_precision", "mean_reciprocal_rank", "cmc")
COLUMNS = (
    Column("rows", "rows", ","),
    Column("columns", "columns"),
    Column("members", "members of a class"),
    Column("method", "method"),
    Column("cpu", "CPU s", ".1f"),
    Column("wall", "wall s", ".1f"),
    Column("peak_mb", "peak MB", ",.0f"),
    Column("added_mb", "added MB", ",.0f"),
    Column("precision_at_1", "P@1", ".5f"),
    Column("r_precision", "R-precision", ".5f"),
    Column("map_at_r", "MAP@R", ".5f"),
)


def make_data(n: int, d: int, members: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // members
    rows = rng.standard_normal((int(labels[-1]) + 1, d), dtype=np.float32)[labels]
    rows += 2.0 * rng.standard_normal(rows.shape, dtype=np.float32)
    order = rng.permutation(n)
    return rows[order], labels[order]


def score_tamis(rows: np.ndarray, labels: np.ndarray, metrics: tuple[str, ...]) -> dict[str, float]:
    from tamis.evaluation import retrieval_metrics

    return dict(retrieval_metrics(rows, labels, k=(10,), metrics=metrics).scores)


def score_calculator(rows: np.ndarray, labels: np.ndarray, search: str) -> dict[str, float]:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

    unit = torch.nn.functional.normalize(torch.from_numpy(rows))
    knn = CustomKNN(CosineSimilarity(), batch_size=256) if search == "CustomKNN" else FaissKNN()
    calculator = AccuracyCalculator(
        include=tuple(THEIRS.values()),
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=knn,
        kmeans_func=lambda rows, n: None,
    )
    found = calculator.get_accuracy(unit, torch.from_numpy(labels))
    return {ours: found[theirs] for ours, theirs in THEIRS.items()}


def run(method: str, arguments: argparse.Namespace, out: Path) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    rows, labels = make_data(arguments.rows, arguments.columns, arguments.members, arguments.seed)
    package, _, search = method.partition(" ")
    # Imports and the first product are not measured.
    few = make_data(200, arguments.columns, 10, 1)
    before = 0
    for data in (few, (rows, labels)):
        before = memory("VmRSS")
        wall, cpu = time.perf_counter(), time.process_time()
        if package == "tamis":
            scores = score_tamis(*data, metrics=ALL if search else (*THEIRS, "recall_at_k"))
        else:
            scores = score_calculator(*data, search)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = memory("VmHWM")
    figures = {"wall": wall, "cpu": cpu, "peak_mb": peak / 1e6, "added_mb": (peak - before) / 1e6}
    np.savez(out, **{name: np.array(value) for name, value in (figures | scores).items()})


def memory(name: str) -> int:
    # Not ru_maxrss: it starts with the memory of the process that started this one.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(method: str, arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    out = folder / "figures.npz"
    process = multiprocessing.get_context("spawn").Process(target=run, args=(method, arguments, out))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{method} failed with exit code {process.exitcode}")
    with np.load(out, allow_pickle=False) as found:
        return {name: float(found[name]) for name in found.files}


def is_installed(method: str) -> bool:
    return "faiss" not in method or importlib.util.find_spec("faiss") is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--members", type=int, default=50, help="rows of each class")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    report = Report("retrieval_metrics", arguments.out)
    with tempfile.TemporaryDirectory() as name:
        for method in filter(is_installed, arguments.methods):
            row = {key: getattr(arguments, key) for key in ("rows", "columns", "members")}
            report.add(row | {"method": method} | measure(method, arguments, Path(name)))
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
