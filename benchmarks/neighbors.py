"""Neighbour search beside scikit-learn's brute force and a plain product with topk: seconds, CPU and memory.

    python benchmarks/neighbors.py --rows 50000 --columns 256 --k 20
    python benchmarks/neighbors.py --features features.npz --array train

Each method runs in a process of its own, so that peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Found = tuple[np.ndarray, np.ndarray]
METHODS = ("tamis auto", "tamis bfloat16", "tamis float32", "tamis reference", "torch topk", "scikit-learn")
REFERENCE_ROWS = 30_000


def search_tamis(precision: str, rows: np.ndarray, k: int) -> Found:
    from tamis.neighbors import nearest_neighbors

    reference = None
    if precision == "reference":
        picks = np.random.default_rng(0).choice(len(rows), min(REFERENCE_ROWS, len(rows)), replace=False)
        precision, reference = "auto", np.sort(picks)
    found = nearest_neighbors(rows, k=k, precision=precision, reference_rows=reference)
    return found.indices, found.similarities


def search_torch(rows: np.ndarray, k: int) -> Found:
    import torch

    unit = torch.nn.functional.normalize(torch.from_numpy(np.array(rows, dtype=np.float32)), dim=1)
    best = []
    for start in range(0, len(unit), 1024):
        product = unit[start : start + 1024] @ unit.T
        here = torch.arange(len(product))
        product[here, here + start] = -torch.inf
        best.append(product.topk(k, dim=1))
    return torch.cat([b.indices for b in best]).numpy(), torch.cat([b.values for b in best]).numpy()


def search_sklearn(rows: np.ndarray, k: int) -> Found:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
    distances, indices = search.fit(np.array(rows, dtype=np.float32)).kneighbors()
    return indices, 1.0 - distances


def run(method: str, path: Path, k: int, out: Path) -> None:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    searches: dict[str, Callable[[], Found]] = {
        "torch": lambda: search_torch(rows, k),
        "scikit-learn": lambda: search_sklearn(rows, k),
        "tamis": lambda: search_tamis(method.split()[-1], rows, k),
    }
    import sklearn.neighbors
    import torch

    import tamis.neighbors

    modules = (sklearn.neighbors, torch, tamis.neighbors)  # loaded before the clock starts
    before = peak_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    indices, similarities = searches[method.split()[0]]()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    figures = np.array([wall, cpu, before, peak_bytes(), len(modules)])
    np.savez(out, figures=figures, indices=indices, similarities=similarities)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_rows(arguments: argparse.Namespace, path: Path) -> None:
    if arguments.features is not None:
        with np.load(arguments.features, allow_pickle=False) as stored:
            np.save(path, stored[arguments.array][: arguments.rows])
        return
    rng = np.random.default_rng(0)
    shape = (arguments.rows, arguments.columns)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    centres = rng.normal(size=(100, arguments.columns))
    for start in range(0, arguments.rows, 10_000):
        part = rows[start : start + 10_000]
        part[:] = centres[rng.integers(0, 100, size=len(part))] + rng.normal(size=part.shape)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--features", type=Path, help="npz file with real features instead of random ones")
    parser.add_argument("--array", default="train", help="name of the array in --features")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(arguments, folder / "rows.npy")
        print(
            f"{'method':<16} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'added MB':>9} {'same as first':>14}"
        )
        first = None
        for method in arguments.methods:
            out = folder / "found.npz"
            process = multiprocessing.get_context("spawn").Process(
                target=run, args=(method, folder / "rows.npy", arguments.k, out)
            )
            process.start()
            process.join()
            if process.exitcode != 0:
                return 1
            with np.load(out, allow_pickle=False) as found:
                wall, cpu, before, peak, _ = found["figures"]
                indices = found["indices"]
            first = indices if first is None else first
            # Shares of neighbours in common, in any order: rounding swaps equally near ones.
            same = np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(first, indices, strict=True)])
            memory = f"{peak / 1e6:8.0f} {(peak - before) / 1e6:9.0f}"
            print(f"{method:<16} {wall:8.1f} {cpu:8.1f} {memory} {same:14.4%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
