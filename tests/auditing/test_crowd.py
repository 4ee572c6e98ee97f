"""Audits of tables of crowd answers: told from other tables, judged, written, read back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tamis
from tamis.auditing.crowd_table import find_crowd_table
from tamis.detectors import DawidSkene
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision

NAMES = np.array(["cat", "dog", "emu"])


def answers(n_tasks=150, seed=0):
    """Return a table of answers in mixed order and the true class of each task."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n_tasks)
    skill = np.linspace(0.45, 0.95, 8)
    task = np.repeat(np.arange(n_tasks), 5)
    worker = np.concatenate([rng.choice(8, 5, replace=False) for _ in range(n_tasks)])
    is_right = rng.random(len(task)) < skill[worker]
    label = np.where(is_right, truth[task], (truth[task] + rng.integers(1, 3, len(task))) % 3)
    table = pd.DataFrame(
        {"item": [f"t{t}" for t in task], "annotator": [f"w{w}" for w in worker], "label": NAMES[label]}
    )
    true = pd.Series(NAMES[truth], index=[f"t{t}" for t in range(n_tasks)])
    return table.sample(frac=1, random_state=seed), true


def test_verdicts_are_those_of_dawid_skene():
    table, truth = answers()
    found = tamis.audit(table)
    issues = found.to_pandas().set_index("id")
    assert issues.index.tolist() == table["item"].drop_duplicates().tolist()
    judged = DawidSkene().fit(table.rename(columns={"item": "task", "annotator": "worker"}))
    expected = pd.Series(judged.suggested_labels_, index=judged.tasks_)
    assert (issues["suggested_label"] == expected.loc[issues.index]).all()
    assert (issues["given_label"] == pd.Series(judged.given_labels_, index=judged.tasks_)[issues.index]).all()
    flagged = issues["is_label_issue"].to_numpy()
    assert (flagged == (issues["suggested_label"] != issues["given_label"])).all()
    for name in ("label_score", "label_score_low", "label_score_high", "answer_share", "dawid_skene"):
        assert issues[name].between(0, 1).all()
    assert (issues["label_score_low"] <= issues["label_score"]).all()
    assert (issues["label_score"] <= issues["label_score_high"]).all()
    wrong = issues["given_label"] != truth.loc[issues.index]
    assert found.expected_wrong.low <= wrong.sum() <= found.expected_wrong.high
    people = found.annotators.to_pandas()
    assert people["n_answers"].sum() == 750
    assert people["quality"].corr(pd.Series(np.linspace(0.45, 0.95, 8)), method="spearman") > 0.9
    np.testing.assert_allclose(found.transition.sum(axis=1), 1.0)


def test_order_of_answers_changes_nothing():
    table, _ = answers()
    first = tamis.audit(table).to_pandas().set_index("id")
    second = tamis.audit(table.sample(frac=1, random_state=9)).to_pandas().set_index("id")
    assert second.index.tolist() != first.index.tolist()
    second = second.loc[first.index]
    for name in ("label_score", "label_score_low", "rank"):
        np.testing.assert_allclose(second[name], first[name], atol=1e-9)


@pytest.mark.parametrize("kind", ["csv", "semicolons", "tsv", "jsonl", "parquet", "arrow"])
def test_every_kind_of_table(kind, tmp_path):
    table, _ = answers(40)
    expected = tamis.audit(table).to_pandas()
    path = tmp_path / f"answers.{'csv' if kind == 'semicolons' else kind}"
    if kind in ("csv", "tsv", "semicolons"):
        table.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t", "semicolons": ";"}[kind])
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    elif kind == "parquet":
        table.to_parquet(path, index=False)
    source = pa.Table.from_pandas(table, preserve_index=False) if kind == "arrow" else path
    pd.testing.assert_frame_equal(tamis.audit(source).to_pandas(), expected)


def test_run_folder_and_report(tmp_path):
    table, _ = answers(40)
    table.to_csv(tmp_path / "answers.csv", index=False)
    found = tamis.audit(tmp_path / "answers.csv", out=tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"annotators.parquet", "issues.parquet", "report.html", "run.json"}
    loaded = tamis.Audit.load(tmp_path / "run")
    assert loaded.annotators.equals(found.annotators)
    assert loaded.issues.equals(found.issues)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert '<section id="annotators">' in page
    assert "w0" in page
    again = tamis.audit(tmp_path / "answers.csv", out=tmp_path / "run")
    assert again.issues.equals(found.issues)


def test_given_labels_and_tasks_without_answers():
    table, truth = answers(60)
    given = truth.copy()
    given.iloc[:12] = "cat"
    table["gold"] = given.loc[table["item"]].to_numpy()
    table.loc[table["item"] == "t59", "label"] = None
    found = tamis.audit(table, task="crowd", read_options={"given": "gold"})
    issues = found.to_pandas().set_index("id")
    assert issues.loc["t59", "reason"] == "no answer"
    assert not issues.loc["t59", "is_assessed"]
    rest = issues.drop("t59")
    assert (rest["given_label"] == given.loc[rest.index]).all()
    is_wrong = (given != truth).loc[rest.index].to_numpy()
    assert average_precision(rest["label_score"].to_numpy(), is_wrong) > 0.65
    assert any("no label" in note for note in found.summary.notes)


def test_a_model_beside_the_answers():
    table, truth = answers(120)
    table = table.drop_duplicates(["item", "annotator"]).groupby("item").head(2)
    order = table["item"].drop_duplicates().to_numpy()
    codes = np.searchsorted(NAMES, truth.loc[order])
    probs = 0.7 * np.eye(3)[codes] + 0.1
    plain = tamis.audit(table)
    by_rows = tamis.audit(table, pred_probs=probs)
    frame = pd.DataFrame(probs[::-1], index=order[::-1], columns=NAMES)[["emu", "cat", "dog"]]
    by_names = tamis.audit(table, pred_probs=frame)
    assert by_names.issues.equals(by_rows.issues)
    assert "self_confidence" in by_rows.issues.column_names
    features = np.eye(3)[codes] * 3 + np.random.default_rng(0).normal(size=(120, 3))
    learned = tamis.audit(table, features=features)

    def right(found):
        issues = found.to_pandas().set_index("id")
        return (issues["suggested_label"] == truth.loc[issues.index]).mean()

    assert right(by_rows) > right(plain) + 0.05
    assert right(learned) > right(plain) + 0.05


@pytest.mark.parametrize(
    "table",
    [
        {"task": ["a", "b"], "worker": ["u", "v"], "label": ["x", "y"]},
        {"task": ["a", "a"], "worker": ["u", "v"], "label": ["x", "y"], "text": ["one", "two"]},
        {"id": ["a", "a"], "worker": ["u", "v"], "label": ["x", "y"]},
    ],
)
def test_other_tables_are_left_alone(table):
    assert find_crowd_table(pd.DataFrame(table), "auto", {}) is None


def test_asked_for_or_forbidden():
    frame = pd.DataFrame({"q": ["a", "a"], "who": ["u", "v"], "label": ["x", "x"]})
    found = find_crowd_table(frame, "auto", {"item": "q", "worker": "who"})
    assert len(found.answers) == 2
    renamed = frame.rename(columns={"q": "task", "who": "worker"})
    assert find_crowd_table(renamed, "auto", {}) is not None
    assert find_crowd_table(renamed, "classification", {}) is None


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ("frame", {"task": "crowds"}, "task is 'crowds'; an audit can do"),
        ("frame", {"task": "classification", "read_options": {"item": "item"}}, "leave them out"),
        ("frame", {"read_options": {"item": "nothing"}}, "task='nothing' is not among the columns"),
        ("frame", {"task": "crowd", "read_options": {"text": "x"}}, "do not belong to crowd answers"),
        ("frame", {"task": "crowd", "read_options": {"given": "x"}}, "given='x' is not among"),
        ("frame", {"labels": [1, 2]}, "labels was given beside data"),
        ("frame", {"pred_probs": np.full((7, 3), 1 / 3)}, "pred_probs has 7 rows, the table 20 tasks"),
        ("frame", {"features": np.full((20, 2), np.nan)}, "expected finite numbers"),
        ("folder", {"task": "crowd"}, "needs a table with one answer a row"),
        ("missing.csv", {"task": "crowd"}, "does not exist"),
    ],
)
def test_what_is_refused(data, arguments, message, tmp_path):
    table, _ = answers(20)
    source = {"frame": table, "folder": tmp_path}.get(data, data)
    with pytest.raises(InputError, match=message):
        tamis.audit(source, **arguments)


def test_contradicting_given_labels():
    table, _ = answers(20)
    table["gold"] = table["label"]
    with pytest.raises(InputError, match="holds several labels of task"):
        tamis.audit(table, read_options={"item": "item", "given": "gold"})
    table["gold"] = "fox"
    with pytest.raises(InputError, match="'fox' is named by no answer"):
        tamis.audit(table, read_options={"item": "item", "given": "gold"})
