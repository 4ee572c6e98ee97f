"""Fewer dimensions: how well neighbours and an audit by neighbours survive PCA and TLDR, and what each costs.

    OMP_NUM_THREADS=1 python benchmarks/reduction.py --out runs/bench/reduction.json

Features of CIFAR-10 images and of 20 Newsgroups posts (without their headers), a fixed sample of each. The
reduction is learned on the training rows without labels. Agreement: the share of the 10 nearest training rows
of a test row, by cosine, that carry its true label. Audit: average precision of the neighbour vote for 20 %
planted symmetric errors among the training rows. The rate of ``TLDR.for_small_data`` was chosen after a look
at both data sets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from results import Column, Report
from sklearn.metrics import average_precision_score
from sources import planted, shared_file

import tamis
from tamis.detectors import NeighborVote
from tamis.encoders import encode
from tamis.neighbors import nearest_neighbors
from tamis.reduction import PCA, TLDR, Reducer

COLUMNS = (
    Column("data", "data"),
    Column("dimensions", "dimensions"),
    Column("reduction", "reduction"),
    Column("seed", "seed"),
    Column("agreement", "neighbour agreement", ".4f"),
    Column("audit", "AP of the neighbour vote", ".4f"),
    Column("seconds", "seconds", ".1f"),
)
N_NEIGHBORS = 10


class Data(NamedTuple):
    """Features and true labels of training and test rows."""

    train: npt.NDArray[np.float32]
    train_labels: npt.NDArray[np.int64]
    test: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


def sample(n: int, size: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(n)[:size])


def cifar10(cache: Path) -> Data:
    with np.load(shared_file("cifar10_features_efflite0.npz"), allow_pickle=False) as stored:
        train, test = sample(50_000, 10_000), sample(10_000, 3_000)
        return Data(
            stored["train"][train].astype(np.float32),
            stored["train_label"][train].astype(np.int64),
            stored["test"][test].astype(np.float32),
            stored["test_label"][test].astype(np.int64),
        )


def news20(cache: Path) -> Data:
    """Encode 4,500 training and 1,500 test posts, once: some minutes."""
    kept = cache / "news20_features.npz"
    if not kept.exists():
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for part, size in (("train", 4_500), ("test", 1_500)):
            table = pq.read_table(shared_file(f"news20_{part}_text.parquet"))
            table = table.take(sample(table.num_rows, size))
            texts = [text.split("\n\n", 1)[-1].strip() or "empty" for text in table["text"].to_pylist()]
            frame = pd.DataFrame({"text": texts, "label": table["label"].to_pylist()})
            encoded = encode(tamis.read(frame, text="text", label="label"))
            arrays[part] = np.asarray(encoded.features, dtype=np.float32)
            arrays[f"{part}_label"] = frame["label"].to_numpy(dtype=np.int64)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **arrays)
    with np.load(kept, allow_pickle=False) as stored:
        return Data(stored["train"], stored["train_label"], stored["test"], stored["test_label"])


SOURCES: dict[str, Callable[[Path], Data]] = {"CIFAR-10": cifar10, "20 Newsgroups": news20}


def agreement(data: Data) -> float:
    """Return how many of the nearest training rows of the test rows carry their label."""
    found = nearest_neighbors(data.test, data.train, k=N_NEIGHBORS, allow_zero=True).indices
    return float((data.train_labels[found] == data.test_labels[:, None]).mean())


def audit(data: Data) -> float:
    """Return the average precision of the neighbour vote for planted errors."""
    n_classes = int(data.train_labels.max()) + 1
    labels = planted(data.train_labels, "symmetric20", n_classes=n_classes)
    scores = NeighborVote().fit(data.train, labels.given).clean_scores_
    return float(average_precision_score(labels.is_wrong, -scores))


def reductions(dimensions: int, n_rows: int, seeds: Sequence[int]) -> list[tuple[str, int | None, Reducer]]:
    found: list[tuple[str, int | None, Reducer]] = [
        ("PCA", None, PCA(n_components=dimensions)),
        ("PCA, whitened", None, PCA(n_components=dimensions, whiten=True)),
    ]
    found += [
        ("TLDR, small data", seed, TLDR.for_small_data(dimensions, n_rows=n_rows, random_state=seed))
        for seed in seeds
    ]
    if dimensions == 32:
        # The published projector has width 2048: half an hour on one core.
        found.append(
            ("TLDR, published rate and batch", 0, TLDR(n_components=dimensions, projector="mlp-2-256"))
        )
    return found


def run(report: Report, name: str, data: Data, dimensions: Sequence[int], seeds: Sequence[int]) -> None:
    width = data.train.shape[1]
    row = {"data": name, "dimensions": width, "reduction": "none", "seed": None, "seconds": None}
    report.add({**row, "agreement": agreement(data), "audit": audit(data)})
    for width in dimensions:
        for title, seed, reducer in reductions(width, len(data.train), seeds):
            start = time.perf_counter()
            reducer.fit(data.train)
            seconds = time.perf_counter() - start
            small = data._replace(train=reducer.transform(data.train), test=reducer.transform(data.test))
            row = {"data": name, "dimensions": width, "reduction": title, "seed": seed, "seconds": seconds}
            report.add({**row, "agreement": agreement(small), "audit": audit(small)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=sorted(SOURCES), default=sorted(SOURCES, reverse=True))
    parser.add_argument("--dimensions", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="where text features are kept")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = Report("reduction", options.out)
    for name in options.data:
        run(report, name, SOURCES[name](options.cache), options.dimensions, options.seeds)
    report.show(COLUMNS)


if __name__ == "__main__":
    main()
