"""A folder of CIFAR-10 JPEG files with planted errors, audited by the command line with no options.

    python benchmarks/image_folder.py --images 10000 --out image_folder.json

Two audits: with an empty feature cache, and again with the features there. Needs ``cifar10_test.parquet``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from measuring import measure
from results import Cell, Column, Report
from sources import shared_file

import tamis
from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import average_precision

FOUND = (
    Column("cache", "cache"),
    Column("images", "images", ",d"),
    Column("planted", "planted", ",d"),
    Column("first", "first", ",d"),
    Column("found", "planted among the first", ",d"),
    Column("recall", "share of planted", ".1%"),
    Column("ap", "AP", ".3f"),
    Column("true_rate", "wrong", ".1%"),
    Column("estimated", "estimated", ".1%"),
    Column("ece", "ECE", ".3f"),
)
COST = (
    Column("cache", "cache"),
    Column("images_per_second", "images/s, encoding", ".0f"),
    Column("wall", "wall s", ".1f"),
    Column("cpu", "CPU s", ".1f"),
    Column("peak_mb", "peak MB", ".0f"),
    Column("private_mb", "without mapped files, MB", ".0f"),
)


def write_folder(folder: Path, n_images: int, rate: float, seed: int) -> set[str]:
    """Write ``class/number.jpg`` and return the ids of the files that lie in a wrong folder."""
    source = shared_file("cifar10_test.parquet")
    table = pq.read_table(source).slice(0, n_images)
    names = json.loads(pq.read_schema(source).metadata[b"class_names"])
    truth = table.column("label").to_numpy().astype(np.int64)
    noisy = tamis.noise.symmetric(truth, rate, n_classes=10, random_state=seed, exact="global")
    for name in names:
        (folder / name).mkdir(parents=True)
    planted = set()
    for row, content in enumerate(table.column("image").to_pylist()):
        path = f"{names[noisy.labels[row]]}/{row:05d}.jpg"
        (folder / path).write_bytes(content)
        if noisy.is_wrong[row]:
            planted.add(path)
    return planted


def figures(run: Path, printed: dict[str, Any], planted: set[str], first: int) -> dict[str, Cell]:
    issues = pq.read_table(run / "issues.parquet", columns=["id", "rank", "label_score", "is_assessed"])
    issues = issues.filter(issues.column("is_assessed"))
    is_wrong = np.array([name in planted for name in issues.column("id").to_pylist()])
    scores = issues.column("label_score").to_numpy()
    n_found = int((is_wrong & (issues.column("rank").to_numpy() <= first)).sum())
    rate = printed["noise_rate"]
    return {
        "images": printed["n_samples"],
        "planted": len(planted),
        "first": first,
        "found": n_found,
        "recall": n_found / len(planted),
        "ap": average_precision(scores, is_wrong),
        "true_rate": len(planted) / printed["n_samples"],
        "estimated": None if rate is None else rate["estimate"],
        "ece": expected_calibration_error(scores, ~is_wrong),
        "encode_seconds": printed["seconds"]["encode"],
        "images_per_second": printed["n_samples"] / printed["seconds"]["encode"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=0.08, help="share of planted errors")
    parser.add_argument("--first", type=int, default=1_000, help="how many of the ranking are looked at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args(argv)
    report = Report("image_folder", arguments.out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        planted = write_folder(folder, arguments.images, arguments.rate, arguments.seed)
        for cache in ("empty", "filled"):
            run = Path(name) / f"run-{cache}"
            command = [sys.executable, "-m", "tamis", "audit", str(folder), "--out", str(run), "--json"]
            measured = measure(command, environment={"TAMIS_CACHE": str(Path(name) / "cache")})
            printed = json.loads(measured.stdout.splitlines()[-1])
            row = {"cache": cache} | figures(run, printed, planted, arguments.first) | measured.cost()
            if cache == "filled":
                del row["images_per_second"]  # nothing was encoded
            report.add(row)
            notes = printed["notes"]
    report.show(FOUND)
    report.show(COST)
    print("\n".join(f"- {note}" for note in notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
