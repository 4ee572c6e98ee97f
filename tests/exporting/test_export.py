"""Exports: what each mode writes in each format, what is refused, what is never touched."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import InputError, RunError
from tamis.exporting import export_labels
from tamis.exporting.writers import write_file

MakeRun = Callable[..., Path]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_corrected_by_hand(make_run: MakeRun) -> None:
    result = export_labels(make_run())
    rows = _rows(result.path)
    assert [row["id"] for row in rows] == list("abcdefg")
    assert [row["label"] for row in rows] == ["cat", "dog", "dog", "", "dog", "dog", "cat"]
    assert [row["given_label"] for row in rows] == ["cat", "cat", "dog", "", "dog", "dog", "dog"]
    assert [row["was_changed"] for row in rows] == ["false", "true"] + ["false"] * 4 + ["true"]
    assert rows[1]["label_score"] == "0.02"
    assert (result.n_rows, result.n_changed, result.n_removed) == (7, 2, 0)
    assert (result.n_unlabelled, result.n_not_assessed) == (1, 1)
    assert "ids and labels only" in result.notes[0]


def test_filtered_by_hand(make_run: MakeRun) -> None:
    result = export_labels(make_run(), mode="filtered")
    rows = _rows(result.path)
    assert [row["id"] for row in rows] == list("acdef")
    assert [row["label"] for row in rows] == ["cat", "dog", "", "dog", "dog"]
    assert (result.n_rows, result.n_changed, result.n_removed) == (5, 0, 2)
    assert (result.n_unlabelled, result.n_not_assessed) == (1, 1)


def test_annotated_keeps_every_label_and_adds_the_verdict(make_run: MakeRun) -> None:
    result = export_labels(make_run(), mode="annotated", to="parquet")
    table = pq.read_table(result.path)
    assert table.column("label").to_pylist() == ["cat", "cat", "dog", None, "dog", "dog", "dog"]
    assert table.column("is_label_issue").to_pylist() == [False, True, False, False, False, False, True]
    assert table.column("reason").to_pylist()[3] == "unlabelled"
    assert "is_near_duplicate_issue" in table.column_names


def test_threshold_replaces_the_flags_of_the_audit(make_run: MakeRun) -> None:
    run = make_run()
    assert export_labels(run, threshold=0.5, to=str(run.parent / "low.csv")).n_changed == 3
    assert export_labels(run, threshold=0.02, to=str(run.parent / "lower.csv")).n_changed == 1
    assert export_labels(run, threshold=0.0, to=str(run.parent / "none.csv")).n_changed == 0
    # At 1 every assessed row is flagged; suggestions equal to the given label change nothing.
    everything = export_labels(run, threshold=1.0, to=str(run.parent / "all.csv"), mode="filtered")
    assert everything.n_rows == 2


@pytest.mark.parametrize("to", ["csv", "parquet", "jsonl", "hf"])
def test_formats_hold_the_same(make_run: MakeRun, to: str) -> None:
    result = export_labels(make_run(), to=to)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "jsonl": lambda path: pd.read_json(path, lines=True, precise_float=True),
        "hf": _read_hf,
    }
    frame = readers[to](result.path)
    label = [None if pd.isna(value) else value for value in frame["label"]]
    assert label == ["cat", "dog", "dog", None, "dog", "dog", "cat"]
    assert frame["label_score"].fillna(-1).tolist() == [0.95, 0.02, 0.9, -1, 0.3, -1, 0.01]
    assert frame["was_changed"].tolist() == [False, True, False, False, False, False, True]
    assert not [path for path in result.path.parent.iterdir() if path.name.startswith(".")]


def _read_hf(path: Path) -> pd.DataFrame:
    import datasets

    data = datasets.load_from_disk(str(path))
    names = data.features["label"].names
    assert names == ["cat", "dog"]
    frame = pd.DataFrame({name: list(data[name]) for name in data.column_names})
    frame["label"] = [None if code is None or code != code else names[int(code)] for code in data["label"]]
    return frame


def test_integer_labels_stay_integers(make_run: MakeRun) -> None:
    rows = [("0", 3, 3, 0.9, False, True, None), ("1", 3, -7, 0.1, True, True, None)]
    run = make_run(rows, class_names=[-7, 3], label_type=pa.int64())
    assert pq.read_table(export_labels(run, to="parquet").path).column("label").to_pylist() == [3, -7]
    import datasets

    assert list(datasets.load_from_disk(str(export_labels(run, to="hf").path))["label"]) == [3, -7]


def test_csv_is_exact_and_says_when_it_is_dangerous(make_run: MakeRun) -> None:
    hostile = '=HYPERLINK("http://x","y")'
    rows = [
        (hostile, "@cat", "@cat", 0.9, False, True, None),
        ("-b", 'dog,\n"x"', "@cat", 0.1, True, True, None),
    ]
    run = make_run(rows, class_names=["@cat", "dog"])
    exact = export_labels(run)
    assert [row["id"] for row in _rows(exact.path)] == [hostile, "-b"]
    assert _rows(exact.path)[1]["given_label"] == 'dog,\n"x"'
    # Two ids and @cat three times: twice as a label, once as a given label.
    assert exact.n_dangerous_cells == 5
    assert "spreadsheet" in exact.notes[-1]
    safe = export_labels(run, spreadsheet_safe=True, force=True)
    assert [row["id"] for row in _rows(safe.path)] == ["'" + hostile, "'-b"]
    assert [row["label"] for row in _rows(safe.path)] == ["'@cat", "'@cat"]
    # Numbers are no text cells: nothing is put before them.
    assert _rows(safe.path)[1]["label_score"] == "0.1"


def test_nothing_is_overwritten_without_force(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for to in ("csv", "hf"):
        export_labels(run, to=to)
        with pytest.raises(InputError, match="exists; give another out, or force"):
            export_labels(run, to=to)
        assert export_labels(run, to=to, force=True).n_rows == 7
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    for to in ("csv", "hf"):
        with pytest.raises(InputError, match="not an earlier"):
            export_labels(run, to=to, out=foreign, force=True)
    with pytest.raises(InputError, match="not an earlier hf export"):
        export_labels(run, to="hf", out=foreign / "thesis.txt", force=True)
    assert (foreign / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ["run.json", "issues.parquet", "report.html", "."])
def test_files_of_the_audit_are_never_replaced(make_run: MakeRun, name: str) -> None:
    run = make_run()
    with pytest.raises(InputError, match="belongs to the audit itself"):
        export_labels(run, to="parquet", out=run / name, force=True)
    with pytest.raises(InputError, match="holds the run folder"):
        export_labels(run, to="hf", out=run.parent, force=True)


def test_the_source_is_never_modified(make_run: MakeRun, tmp_path: Path) -> None:
    source = tmp_path / "data.csv"
    source.write_text("id,label\na,cat\n")
    run = make_run(source=str(source))
    (tmp_path / "link.csv").symlink_to(source)
    for out in (source, tmp_path / "runs" / ".." / "data.csv", tmp_path / "link.csv"):
        with pytest.raises(InputError, match="would modify the source"):
            export_labels(run, out=out, force=True)
    assert source.read_text() == "id,label\na,cat\n"


def test_nothing_is_written_into_a_source_folder(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(source=str(tmp_path))
    with pytest.raises(InputError, match="would modify the source"):
        export_labels(run, out=tmp_path / "cat" / "labels.csv")
    # The run folder lies inside the audited folder: its own place is still fine.
    assert export_labels(run).path.parent == run


def test_a_failed_export_leaves_the_old_file(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    before = export_labels(run).path.read_bytes()

    def fail(table: pa.Table, path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr("pyarrow.csv.write_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        export_labels(run, force=True)
    assert (run / "corrected.csv").read_bytes() == before
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "xlsx"}, "to is 'xlsx'; give one of csv, parquet, hf, jsonl"),
        ({"to": "a.xls"}, "a file name ending in"),
        ({"to": "a.csv", "out": "b.csv"}, "give the file name once"),
        ({"mode": "fixed"}, "mode must be one of"),
        ({"threshold": 1.5}, "threshold must be a label score"),
        ({"threshold": float("nan")}, "threshold must be a label score"),
        ({"to": "parquet", "spreadsheet_safe": True}, "spreadsheet_safe is for CSV"),
    ],
)
def test_wrong_arguments_are_refused(make_run: MakeRun, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export_labels(make_run(), **arguments)


def test_damaged_and_unfinished_runs(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        export_labels(tmp_path / "nowhere")
    run = make_run()
    issues, description = run / "issues.parquet", run / "run.json"
    good = json.loads(description.read_text())
    for change, error, message in (
        ({"status": "running"}, RunError, "has not finished"),
        ({"command": "bench"}, InputError, "only the run of an audit"),
    ):
        description.write_text(json.dumps(good | change))
        with pytest.raises(error, match=message):
            export_labels(run)
    for text in ("{", "[]", ""):
        description.write_text(text)
        with pytest.raises(RunError, match="run the command again"):
            export_labels(run)
    description.write_text(json.dumps(good))
    issues.write_bytes(issues.read_bytes()[:-20])
    with pytest.raises(RunError, match="cannot be read"):
        export_labels(run)
    write_file(pa.table({"id": ["a"]}), issues, "parquet")
    with pytest.raises(RunError, match="lacks the columns"):
        export_labels(run)
    issues.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        export_labels(run)


def test_config_of_another_shape_is_not_trusted(make_run: MakeRun) -> None:
    run = make_run(config=[1], summary="x")
    assert export_labels(run).n_rows == 7
    (run / "run.json").write_text(
        json.dumps(
            {"command": "audit", "status": "finished", "config": {"source": "\x00" * 9, "read_options": 3}}
        )
    )
    assert export_labels(run, force=True).n_rows == 7


def test_empty_audit(make_run: MakeRun) -> None:
    run = make_run()
    pq.write_table(pq.read_table(run / "issues.parquet").slice(0, 0), run / "issues.parquet")
    for to in ("csv", "parquet", "jsonl", "hf"):
        assert export_labels(run, to=to).n_rows == 0
