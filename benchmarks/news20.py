"""Label errors that people confirmed: how many of them are among the first 200 of a ranking.

    python benchmarks/news20.py --text --out news20.json

20 Newsgroups test posts and CIFAR-10 test images, with the out-of-sample probabilities, suspects and human
verdicts of cleanlab/label-errors. Only suspects of those probabilities were shown to people, so the confirmed
errors favour rankings that agree with them, and an error that nobody was shown counts for nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from results import Cell, Column, Report
from sources import shared_file

import tamis

Scores = npt.NDArray[np.float64]
TABLE = (
    Column("data", "data"),
    Column("route", "route"),
    Column("errors", "confirmed errors", "d"),
    Column("k", "first", "d"),
    Column("recall", "recall", ".3f"),
    Column("low", "from", ".3f"),
    Column("high", "to", ".3f"),
    Column("difference", "difference to self-confidence", "+.3f"),
    Column("difference_low", "from", "+.3f"),
    Column("difference_high", "to", "+.3f"),
    Column("seconds", "seconds", ".1f"),
)
N_RESAMPLES = 10_000


class Checked(NamedTuple):
    """Probabilities and labels of a test set, and the rows that people found wrong."""

    probs: npt.NDArray[np.float64]
    given: npt.NDArray[np.int64]
    is_error: npt.NDArray[np.bool_]


def load_checked(name: str) -> Checked:
    with np.load(shared_file(name), allow_pickle=False) as stored:
        return Checked(stored["pred_probs"], stored["given_label"].astype(np.int64), stored["label_error"])


def share_within(scores: Scores, k: int) -> Scores:
    """Return (n,) in [0, 1]: is the row among the ``k`` lowest scores; in between for a tie at the cut."""
    ordered = np.sort(scores)
    before, upto = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.clip((k - before) / (upto - before), 0.0, 1.0)


def interval(values: Scores) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean; the values are resampled, always in the same way."""
    picks = np.random.default_rng(0).integers(0, len(values), size=(N_RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def label_scores(audit: tamis.Audit) -> Scores:
    scores = audit.issues.column("label_score").to_numpy().astype(np.float64)
    return np.where(np.isnan(scores), np.inf, scores)


def compare(
    report: Report, data: str, checked: Checked, routes: dict[str, Callable[[], Scores]], k: int
) -> None:
    """Add one row a route; the first route is the one that the others are compared with."""
    first: Scores | None = None
    for route, score in routes.items():
        start = time.perf_counter()
        scores = score()
        row: dict[str, Cell] = {"data": data, "route": route, "seconds": time.perf_counter() - start}
        # One value a confirmed error: was it found.
        found = share_within(scores, k)[checked.is_error]
        low, high = interval(found)
        row |= {"errors": len(found), "k": k, "recall": float(found.mean()), "low": low, "high": high}
        if first is None:
            first = found
        else:
            low, high = interval(found - first)
            row |= {
                "difference": float((found - first).mean()),
                "difference_low": low,
                "difference_high": high,
            }
        report.add(row)


def given_routes(checked: Checked) -> dict[str, Callable[[], Scores]]:
    """Return the routes that start from the published probabilities."""
    rows = np.arange(len(checked.given))
    return {
        "self-confidence of the probabilities": lambda: checked.probs[rows, checked.given],
        "audit of the probabilities": lambda: label_scores(
            tamis.audit(pred_probs=checked.probs, labels=checked.given)
        ),
    }


def text_routes(checked: Checked) -> dict[str, Callable[[], Scores]]:
    """Return the routes that read the posts."""
    frame = pq.read_table(shared_file("news20_test_text.parquet"), columns=["text", "label"]).to_pandas()
    if not np.array_equal(frame["label"], checked.given):
        raise SystemExit("the rows of the texts and of the probabilities do not match")
    columns = {"text": "text", "label": "label"}
    name = "all-minilm-l6-v2"
    return {
        "audit of the texts": lambda: label_scores(tamis.audit(frame, read_options=columns)),
        "audit of texts and probabilities (texts encoded before)": lambda: label_scores(
            tamis.audit(frame, read_options=columns, encoder=name, pred_probs=checked.probs)
        ),
    }


def feature_routes(checked: Checked) -> dict[str, Callable[[], Scores]]:
    """Return the routes that start from frozen features of the CIFAR-10 test images."""
    with np.load(shared_file("cifar10_features_efflite0.npz"), allow_pickle=False) as stored:
        features = stored["test"].astype(np.float32)
    return {
        "audit of frozen features": lambda: label_scores(
            tamis.audit(features=features, labels=checked.given)
        ),
        "audit of features and probabilities": lambda: label_scores(
            tamis.audit(features=features, labels=checked.given, pred_probs=checked.probs)
        ),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--k", type=int, default=200, help="how many of the ranking are looked at")
    parser.add_argument("--text", action="store_true", help="also from the raw texts (minutes)")
    parser.add_argument("--only", choices=("news20", "cifar10"))
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args(argv)
    report = Report("news20", arguments.out)
    if arguments.only != "cifar10":
        checked = load_checked("labelerrors_20news_test.npz")
        routes = given_routes(checked) | (text_routes(checked) if arguments.text else {})
        compare(report, "20 Newsgroups test", checked, routes, arguments.k)
    if arguments.only != "news20":
        checked = load_checked("labelerrors_cifar10_test.npz")
        compare(
            report, "CIFAR-10 test", checked, given_routes(checked) | feature_routes(checked), arguments.k
        )
    report.show(TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
