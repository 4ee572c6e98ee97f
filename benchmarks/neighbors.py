"""Exact neighbour search beside faiss' flat index, scikit-learn and a plain product with topk, in one run.

    python benchmarks/neighbors.py                                  # 50,000 x 512, k = 10, near-duplicates
    python benchmarks/neighbors.py --rows 200000 --queries 20000    # 20,000 rows search among 200,000
    python benchmarks/neighbors.py --features features.npz --array train --k 20

faiss (`pip install faiss-cpu`) and scikit-learn are left out where they are not installed. Each method runs
in a process of its own with `--threads` threads; processor seconds are those of the search, without imports.
Recall is the share of the true neighbours found, over 1,000 queries searched in float64, planted copies among
them; equally near rows can be swapped.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from results import Column, Report

Found = tuple[np.ndarray, np.ndarray]
METHODS = (
    "tamis auto",
    "tamis int8",
    "tamis bfloat16",
    "tamis float32",
    "faiss flat",
    "scikit-learn",
    "torch topk",
)
DEFAULT_METHODS = ("tamis auto", "faiss flat", "scikit-learn")
DUPLICATES = 0.02
TRUTH_ROWS = 1_000
COLUMNS = (
    Column("rows", "rows", ","),
    Column("queries", "queries", ","),
    Column("method", "search"),
    Column("cpu", "CPU s", ".1f"),
    Column("ratio", "of the first", ".2f"),
    Column("wall", "wall s", ".1f"),
    Column("added_mb", "added MB", ",.0f"),
    Column("recall", "recall", ".4f"),
)


def search_tamis(precision: str, rows: np.ndarray, n_queries: int, k: int) -> Found:
    from tamis.neighbors import nearest_neighbors

    if n_queries == len(rows):
        found = nearest_neighbors(rows, k=k, precision=precision)
    else:
        # A group of its own for each row: a query is not its own neighbour.
        groups = np.arange(len(rows))
        found = nearest_neighbors(
            rows[:n_queries],
            rows,
            k=k,
            precision=precision,
            query_groups=groups[:n_queries],
            reference_groups=groups,
        )
    return found.indices, found.similarities


def search_faiss(rows: np.ndarray, n_queries: int, k: int) -> Found:
    import faiss

    unit = np.array(rows, dtype=np.float32)
    faiss.normalize_L2(unit)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    similarities, indices = index.search(unit[:n_queries], k + 1)
    return without_self(indices, similarities)


def search_sklearn(rows: np.ndarray, n_queries: int, k: int) -> Found:
    from sklearn.neighbors import NearestNeighbors

    values = np.array(rows, dtype=np.float32)
    search = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute").fit(values)
    distances, indices = search.kneighbors(values[:n_queries])
    return without_self(indices, 1.0 - distances)


def search_torch(rows: np.ndarray, n_queries: int, k: int) -> Found:
    import torch

    unit = torch.nn.functional.normalize(torch.from_numpy(np.array(rows, dtype=np.float32)), dim=1)
    best = [(unit[s : s + 1024] @ unit.T).topk(k + 1, dim=1) for s in range(0, n_queries, 1024)]
    indices, similarities = torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])
    return without_self(indices.numpy()[:n_queries], similarities.numpy()[:n_queries])


def without_self(indices: np.ndarray, similarities: np.ndarray) -> Found:
    """Drop each row's own entry, or the last one where it is not there (a copy took its place)."""
    is_self = indices == np.arange(len(indices))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return indices[~is_self].reshape(shape), similarities[~is_self].reshape(shape)


def run(method: str, path: Path, n_queries: int, k: int, threads: int, out: Path) -> None:
    import torch

    for name in ("tamis.neighbors", "sklearn.neighbors", "faiss"):
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            importlib.import_module(name)  # loaded before the clock starts
    torch.set_num_threads(threads)
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    searches: dict[str, Callable[[], Found]] = {
        "tamis": lambda: search_tamis(method.split()[-1], rows, n_queries, k),
        "faiss": lambda: search_faiss(rows, n_queries, k),
        "scikit-learn": lambda: search_sklearn(rows, n_queries, k),
        "torch": lambda: search_torch(rows, n_queries, k),
    }
    before = peak_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    indices, _ = searches[method.split()[0]]()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.savez(out, figures=np.array([wall, cpu, (peak_bytes() - before) / 1e6]), indices=indices)


def peak_bytes() -> int:
    # Not ru_maxrss: it starts with the memory of the process that started this one.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def write_rows(arguments: argparse.Namespace, path: Path) -> None:
    if arguments.features is not None:
        with np.load(arguments.features, allow_pickle=False) as stored:
            np.save(path, stored[arguments.array][: arguments.rows])
        return
    rng = np.random.default_rng(arguments.seed)
    shape = (arguments.rows, arguments.columns)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(rows), 10_000):
        rows[start : start + 10_000] = rng.standard_normal(
            rows[start : start + 10_000].shape, dtype=np.float32
        )
    # Near-duplicates: nearer to their original than bfloat16 or float32 products can tell apart.
    copies = rng.choice(len(rows) // 2, int(DUPLICATES * len(rows)), replace=False)
    noise = rng.standard_normal((len(copies), arguments.columns), dtype=np.float32)
    rows[len(rows) // 2 + copies] = rows[copies] + 1e-4 * noise


def true_neighbors(path: Path, n_queries: int, k: int) -> Found:
    """Return every so many-th query, and its k nearest rows by float64 products."""
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    picks = np.unique(np.linspace(0, n_queries - 1, TRUTH_ROWS).astype(np.int64))
    unit = unit_double(rows[picks])
    products = np.empty((len(picks), len(rows)))
    for start in range(0, len(rows), 20_000):
        part = unit_double(rows[start : start + 20_000])
        products[:, start : start + len(part)] = unit @ part.T
    products[np.arange(len(picks)), picks] = -np.inf
    return picks, np.argpartition(products, -k, axis=1)[:, -k:]


def unit_double(rows: np.ndarray) -> np.ndarray:
    values = rows.astype(np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def measure(method: str, arguments: argparse.Namespace, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    out, path = folder / "found.npz", folder / "rows.npy"
    process = multiprocessing.get_context("spawn").Process(
        target=run, args=(method, path, arguments.queries, arguments.k, arguments.threads, out)
    )
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{method} failed with exit code {process.exitcode}")
    with np.load(out, allow_pickle=False) as found:
        return found["figures"], found["indices"]


def is_installed(method: str) -> bool:
    package = {"faiss flat": "faiss", "scikit-learn": "sklearn"}.get(method, "torch")
    return importlib.util.find_spec(package) is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--queries", type=int, help="search only for the first rows; default all")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", type=Path, help="npz file with real features instead of random ones")
    parser.add_argument("--array", default="train", help="name of the array in --features")
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), choices=METHODS)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    arguments.queries = arguments.queries or arguments.rows
    report = Report("neighbors", arguments.out)
    with tempfile.TemporaryDirectory() as name:
        write_rows(arguments, Path(name) / "rows.npy")
        picks, truth = true_neighbors(Path(name) / "rows.npy", arguments.queries, arguments.k)
        first_cpu = 0.0
        for method in filter(is_installed, arguments.methods):
            figures, indices = measure(method, arguments, Path(name))
            wall, cpu, added_mb = map(float, figures)
            first_cpu = first_cpu or cpu
            hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, indices[picks], strict=True)]
            row = {"rows": arguments.rows, "queries": arguments.queries, "method": method, "cpu": cpu}
            recall = sum(hits) / truth.size
            report.add(row | {"wall": wall, "added_mb": added_mb, "ratio": cpu / first_cpu, "recall": recall})
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
