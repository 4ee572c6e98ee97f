"""The numbers on the pages of SimiFeat and HOC, measured again on real human label noise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tamis.detectors import SimiFeatRank
from tamis.metrics.ranking import average_precision
from tamis.statistics.simifeat import vote_flags

DOCS = Path(__file__).resolve().parents[2] / "docs"

pytestmark = [pytest.mark.slow, pytest.mark.shared]


def published(page, row):
    """Return the numbers of one row of a page's table."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", text, flags=re.MULTILINE)
    assert found, f"{page} has no row {row!r}"
    return [float(cell.replace("%", "")) for cell in found[1].split("|")]


def shares(flags, is_wrong):
    """Return precision, recall and F1 of flags."""
    n_right = (flags & is_wrong).sum()
    return [
        n_right / flags.sum(),
        n_right / is_wrong.sum(),
        2 * n_right / (flags.sum() + is_wrong.sum()),
    ]


@pytest.mark.parametrize(
    ("name", "column"), [("aggre", "aggre_label"), ("random1", "random_label1"), ("worse", "worse_label")]
)
def test_pages(shared, name, column):
    features = np.load(shared / "data" / "cifar10_features_efflite0.npz", allow_pickle=False)["train"]
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", column])
    labels = table[column].to_numpy().astype(np.int64)
    is_wrong = labels != table["label"].to_numpy()
    detector = SimiFeatRank().fit(features.astype(np.float32), labels)
    votes = vote_flags(detector.soft_labels_, labels)
    score, flagged, *vote = published("methods/simifeat_vote.md", f"CIFAR-10N {name}")
    assert average_precision(detector.clean_scores_, is_wrong) == pytest.approx(score, abs=1.5e-3)
    assert 100 * votes.mean() == pytest.approx(flagged, abs=0.15)
    np.testing.assert_allclose(shares(votes, is_wrong), vote, atol=1.5e-3)
    wrong, estimated, flagged, *rank, _ = published("methods/simifeat_rank.md", f"CIFAR-10N {name}")
    assert 100 * is_wrong.mean() == pytest.approx(wrong, abs=0.06)
    assert 100 * detector.estimate_.noise_rate == pytest.approx(estimated, abs=0.3)
    assert 100 * detector.is_issue_.mean() == pytest.approx(flagged, abs=0.3)
    np.testing.assert_allclose(shares(detector.is_issue_, is_wrong), rank, atol=5e-3)
