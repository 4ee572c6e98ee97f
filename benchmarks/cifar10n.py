"""Human label errors of CIFAR-10N on frozen features: a default audit beside cleanlab's usual route.

    python benchmarks/cifar10n.py --sets aggre,random1,worse --out cifar10n.json

Each tool runs in a process of its own, one after the other. Needs ``cifar10_features_efflite0.npz`` and
``cifar10_train.parquet`` (see `sources.shared_file`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import verdicts
from measuring import measure
from results import Column, Report
from sources import Labels, planted, shared_file

HUMAN = {
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
}
PLANTED = ("symmetric20", "symmetric40", "clean")
ACCURACY = (
    Column("labels", "labels"),
    Column("true_rate", "wrong", ".1%"),
    Column("tool", "tool"),
    Column("ap", "AP", ".3f"),
    Column("flagged", "flagged", ".1%"),
    Column("precision", "precision", ".3f"),
    Column("recall", "recall", ".3f"),
    Column("f1", "F1", ".3f"),
)
HONESTY = (
    Column("labels", "labels"),
    Column("true_rate", "wrong", ".1%"),
    Column("tool", "tool"),
    Column("estimated", "estimated", ".1%"),
    Column("low", "from", ".1%"),
    Column("high", "to", ".1%"),
    Column("confident_joint", "confident joint", ".1%"),
    Column("ece", "ECE", ".3f"),
)
COST = (
    Column("labels", "labels"),
    Column("tool", "tool"),
    Column("wall", "wall s", ".1f"),
    Column("cpu", "CPU s", ".1f"),
    Column("peak_mb", "peak MB", ".0f"),
)


def load_labels(name: str, n_rows: int) -> Labels:
    table = pq.read_table(
        shared_file("cifar10_train.parquet"), columns=["label", *([HUMAN[name]] if name in HUMAN else [])]
    )
    truth = table.column("label").to_numpy()[:n_rows].astype(np.int64)
    if name in HUMAN:
        given = table.column(HUMAN[name]).to_numpy()[:n_rows].astype(np.int64)
        return Labels(given, given != truth)
    return planted(truth, name, n_classes=10)


def run_tool(
    tool: str, features: Path, labels: npt.NDArray[np.int64]
) -> tuple[verdicts.Verdict, dict[str, float]]:
    with tempfile.TemporaryDirectory() as name:
        given, out = Path(name) / "labels.npy", Path(name) / "verdict.npz"
        np.save(given, labels)
        command = [sys.executable, verdicts.__file__, tool, str(features), str(given), str(out)]
        measured = measure(command)
        return verdicts.Verdict.load(out), measured.cost()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = (*HUMAN, *PLANTED)
    parser.add_argument("--sets", default="aggre,random1,worse", help=f"of {','.join(known)}; or all")
    parser.add_argument("--tools", default="tamis,cleanlab")
    parser.add_argument("--rows", type=int, default=50_000, help="fewer for a trial")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args(argv)
    chosen = list(known) if arguments.sets == "all" else arguments.sets.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        parser.error(f"unknown sets {unknown}; choose from {', '.join(known)}")
    report = Report("cifar10n", arguments.out)
    with tempfile.TemporaryDirectory() as name:
        features = Path(name) / "features.npy"
        with np.load(shared_file("cifar10_features_efflite0.npz"), allow_pickle=False) as stored:
            np.save(features, stored["train"][: arguments.rows].astype(np.float32))
        for label_set in chosen:
            labels = load_labels(label_set, arguments.rows)
            for tool in arguments.tools.split(","):
                verdict, cost = run_tool(tool, features, labels.given)
                report.add(
                    {"labels": label_set, "tool": tool} | verdicts.judge(verdict, labels.is_wrong) | cost
                )
    for columns in (ACCURACY, HONESTY, COST):
        report.show(columns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
