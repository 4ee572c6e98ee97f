"""The audit of identities: verdicts, hints, reasons, invariances, run folder, report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import tamis
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray


def _people(
    n_people: int = 24, members: int = 12, rate: float = 0.2, seed: int = 0
) -> tuple[FloatArray, IntArray, BoolArray]:
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(n_people), members)
    x = rng.normal(size=(n_people, 12))[true] + 0.6 * rng.normal(size=(len(true), 12)) + 5
    is_wrong = rng.random(len(true)) < rate
    shift = rng.integers(1, n_people, len(true))
    return x, np.where(is_wrong, (true + shift) % n_people, true), is_wrong


def _audit(x: FloatArray, labels: object, **options: object) -> tamis.auditing.Audit:
    return tamis.audit(features=x, labels=labels, task="retrieval", **options)  # type: ignore[arg-type]


def test_strangers_come_first_and_their_number_is_estimated() -> None:
    x, labels, is_wrong = _people()
    found = _audit(x, labels)
    table = found.to_pandas()
    assert average_precision_score(is_wrong, -table["rank"]) > 0.95
    wrong = found.expected_wrong
    assert wrong is not None and wrong.low <= is_wrong.sum() <= wrong.high
    truth = np.repeat(np.arange(24), 12)
    flagged = table["is_label_issue"].to_numpy()
    assert (table["suggested_label"].to_numpy() == truth)[flagged].mean() > 0.9
    assert (table["suggested_label"] == table["given_label"]).to_numpy()[~flagged].all()
    assert found.transition is None
    for name in ("prototype", "average_similarity", "vmf_similarity", "neighbor_share"):
        assert table[name].between(0, 1).all()
    assert (table["label_score_low"] <= table["label_score"]).all()
    assert (table["label_score"] <= table["label_score_high"]).all()


def test_small_identities_are_not_assessed_and_singletons_named() -> None:
    x, labels, _ = _people()
    names = [f"person {label}" for label in labels]
    names[0], names[1], names[2] = "alone", "pair", "pair"
    table = _audit(x, names).to_pandas()
    assert table["reason"][0] == "the only member of its identity"
    assert table["reason"][1] == table["reason"][2] == "class too small"
    assert table["label_score"][:3].isna().all() and table["label_score"][3:].notna().all()
    assert table["is_small_class_issue"][:3].all()


def test_copies_do_not_vouch_for_each_other() -> None:
    x, labels, is_wrong = _people(rate=0.1)
    stranger = int(np.flatnonzero(is_wrong)[0])
    twice = np.concatenate([x, x[[stranger] * 3]])
    table = _audit(twice, np.concatenate([labels, labels[[stranger] * 3]])).to_pandas()
    assert (table["label_score"][[stranger, -3 % len(twice), len(twice) - 1]] < 0.5).all()


def test_order_names_and_memory_do_not_matter() -> None:
    x, labels, _ = _people()
    plain = _audit(x, labels)
    order = np.random.default_rng(3).permutation(len(x))
    turned = _audit(x[order], [f"x{(7 * label) % 24}" for label in labels[order]], memory_budget="1MiB")
    ours, theirs = plain.to_pandas().iloc[order], turned.to_pandas()
    for name in ("label_score", "prototype", "average_similarity", "vmf_similarity", "neighbor_share"):
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-5)
    assert (theirs["rank"].to_numpy() == ours["rank"].to_numpy()).all()
    assert plain.merges is not None and turned.merges is not None
    np.testing.assert_allclose(turned.merges["likeness"], plain.merges["likeness"], atol=1e-9)


def test_merges_and_splits() -> None:
    x, labels, _ = _people(members=20, rate=0.0)
    labels[(labels == 3) & (np.arange(len(labels)) % 2 == 0)] = 24
    centres = x.reshape(24, 20, -1).mean(axis=1) - x.mean(axis=0)
    other = 7 + int((centres[7:] @ centres[5]).argmin())  # two that have nothing in common
    labels[labels == other] = 5
    found = _audit(x, labels)
    assert found.merges is not None and found.splits is not None
    first = found.merges.to_pylist()[0]
    assert {first["first"], first["second"]} == {3, 24} and first["is_likely"]
    split = next(row for row in found.splits.to_pylist() if row["identity"] == 5)
    assert split["is_likely"] and {split["n_first"], split["n_second"]} == {20}
    halves = {int(row) // 20 for row in split["second"]}
    assert halves in ({5}, {other})


def test_run_folder_and_report(tmp_path: Path) -> None:
    x, labels, _ = _people(members=20, rate=0.1)
    labels[(labels == 3) & (np.arange(len(labels)) % 2 == 0)] = 24
    found = _audit(x, labels, out=tmp_path / "run")
    again = tamis.Audit.load(tmp_path / "run")
    assert again.issues.equals(found.issues)
    assert again.merges is not None and again.merges.equals(found.merges)
    assert again.splits is not None and again.splits.equals(found.splits)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="identities"' in page and "Perhaps one" in page and "Members of" in page
    tamis.audit(features=x[:, :8], labels=labels % 2, out=tmp_path / "run")
    assert not (tmp_path / "run" / "merges.parquet").exists()


def test_nothing_to_tell() -> None:
    rng = np.random.default_rng(0)
    found = _audit(rng.normal(size=(300, 8)), rng.integers(0, 30, 300))
    assert found.summary.n_assessed == 0
    assert found.expected_wrong is None
    assert found.merges is not None and found.merges.num_rows == 0
    few = _audit(rng.normal(size=(4, 8)), ["a", "b", "c", "d"])
    assert few.summary.n_assessed == 0


@pytest.mark.parametrize("option", ["pred_probs", "task"])
def test_what_does_not_go_together(option: str) -> None:
    x, labels, _ = _people(4, 5)
    with pytest.raises(
        InputError, match=re.escape({"pred_probs": "no use for pred_probs", "task": "task is"}[option])
    ):
        if option == "task":
            tamis.audit(features=x, labels=labels, task="faces")
        else:
            _audit(x, labels, pred_probs=np.full((20, 4), 0.25), out_of_sample=True)
    with pytest.raises(InputError, match="there are none"):
        tamis.audit(pred_probs=np.full((20, 4), 0.25), labels=labels, task="retrieval", out_of_sample=True)
