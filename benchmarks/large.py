"""Time and memory of an audit of a large memory-mapped matrix, by the number of rows.

    python benchmarks/large.py --rows 250000,500000,1000000 --out large.json

Rows are drawn from 100 Gaussian classes that overlap; 10 % of the labels are replaced by another class. One
file of 1,000,000 x 256 float32 takes 1 GB of the temporary folder (``TMPDIR``).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measuring import measure
from results import Column, Report

import tamis
from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import average_precision

N_LATENT = 32  # the classes differ in this many directions; the other columns are linear in them
SPREAD = 0.78  # of the class centres, where samples spread by 1: one row in twelve lies nearer to another
AMBIENT = 0.1  # noise of every column
BLOCK = 20_000
TABLE = (
    Column("rows", "rows", ",d"),
    Column("file_mb", "file MB", ",.0f"),
    Column("wall", "wall s", ",.0f"),
    Column("wall_per_million", "wall s per million rows", ",.0f"),
    Column("cpu", "CPU s", ",.0f"),
    Column("peak_mb", "peak MB", ",.0f"),
    Column("private_mb", "without mapped files, MB", ",.0f"),
    Column("nearest_centre", "best possible accuracy", ".1%"),
    Column("true_rate", "wrong", ".1%"),
    Column("estimated", "estimated", ".1%"),
    Column("ap", "AP", ".3f"),
    Column("ece", "ECE", ".3f"),
)


def write_features(path: Path, n_rows: int, n_columns: int, n_classes: int) -> tuple[np.ndarray, float]:
    """Write the matrix block by block; return (n,) classes and how many a nearest-centre rule gets right."""
    rng = np.random.default_rng(0)
    n_latent = min(N_LATENT, n_columns)
    centres = rng.normal(scale=SPREAD, size=(n_classes, n_latent)).astype(np.float32)
    mixing = rng.normal(scale=n_columns**-0.5, size=(n_latent, n_columns)).astype(np.float32)
    shape = (n_rows, n_columns)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    classes = rng.integers(0, n_classes, size=n_rows)
    n_right = 0
    for start in range(0, n_rows, BLOCK):
        # A generator per block: the first rows are the same in a longer file.
        draw = np.random.default_rng([1, start])
        own = classes[start : start + BLOCK]
        latent = centres[own] + draw.standard_normal((len(own), n_latent), dtype=np.float32)
        noise = AMBIENT * draw.standard_normal((len(own), n_columns), dtype=np.float32)
        features[start : start + BLOCK] = latent @ mixing + noise
        # Squared distance to each centre, without the part that is the same for all.
        nearest = (latent @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1)
        n_right += int((nearest == own).sum())
    features.flush()
    return classes, n_right / n_rows


def run_one(n_rows: int, arguments: argparse.Namespace) -> tuple[dict[str, float | int | None], list[str]]:
    with tempfile.TemporaryDirectory() as name:
        features, labels, run = (Path(name) / each for each in ("features.npy", "labels.npy", "run"))
        classes, nearest = write_features(features, n_rows, arguments.columns, arguments.classes)
        noisy = tamis.noise.symmetric(classes, 0.1, n_classes=arguments.classes, random_state=0)
        np.save(labels, noisy.labels)
        command = [sys.executable, "-m", "tamis", "audit", "--features", str(features)]
        command += ["--labels", str(labels), "--out", str(run), "--json"]
        measured = measure(command)
        printed = json.loads(measured.stdout.splitlines()[-1])
        column = pq.read_table(run / "issues.parquet", columns=["label_score"]).column("label_score")
        scores, file_mb = column.to_numpy().astype(np.float64), features.stat().st_size / 1e6
    is_assessed = ~np.isnan(scores)
    return {
        "rows": n_rows,
        "file_mb": file_mb,
        "wall_per_million": measured.wall / n_rows * 1e6,
        "nearest_centre": nearest,
        "true_rate": noisy.realised_rate,
        "estimated": None if printed["noise_rate"] is None else printed["noise_rate"]["estimate"],
        "ap": average_precision(np.where(is_assessed, scores, np.inf), noisy.is_wrong),
        "ece": expected_calibration_error(scores[is_assessed], ~noisy.is_wrong[is_assessed]),
        **{f"seconds_{stage}": seconds for stage, seconds in printed["seconds"].items()},
    } | measured.cost(), printed["notes"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="250000,500000,1000000", help="one audit for each number")
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args(argv)
    report = Report("large", arguments.out)
    for n_rows in map(int, arguments.rows.split(",")):
        row, notes = run_one(n_rows, arguments)
        report.add(row)
    report.show(TABLE)
    print("\n".join(f"- {note}" for note in notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
