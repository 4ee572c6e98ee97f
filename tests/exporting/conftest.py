"""A small finished audit, written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.issues.schema import ISSUE_TYPES, issue_schema

MakeRun = Callable[..., Path]

# id, given, suggested, label_score, flagged, assessed, reason
ROWS = [
    ("a", "cat", "cat", 0.95, False, True, None),
    ("b", "cat", "dog", 0.02, True, True, None),
    ("c", "dog", "dog", 0.90, False, True, None),
    ("d", None, None, None, False, False, "unlabelled"),
    ("e", "dog", "cat", 0.30, False, True, None),
    ("f", "dog", None, None, False, False, "unreadable"),
    ("g", "dog", "cat", 0.01, True, True, None),
]
"""Seven rows: two flagged, one more below 0.5, one unlabelled, one not assessed."""


def issue_table(rows: list[tuple[object, ...]] = ROWS, label_type: pa.DataType | None = None) -> pa.Table:
    """Return an issue table with these rows."""
    schema = issue_schema(label_type or pa.string(), ("self_confidence",))
    names = ("id", "given_label", "suggested_label", "label_score", "is_label_issue", "is_assessed", "reason")
    columns: dict[str, list[object]] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    scores = [(score if score is not None else 2, row) for row, score in enumerate(columns["label_score"])]
    order = [row for _, row in sorted(scores)]
    columns["rank"] = [order.index(row) for row in range(len(rows))]
    for issue in ISSUE_TYPES:
        columns[f"is_{issue.name}_issue"] = [False] * len(rows)
    for name in set(schema.names) - set(columns):
        columns[name] = [None] * len(rows)
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder and returns its path."""

    def make(
        rows: list[tuple[object, ...]] = ROWS,
        *,
        source: str = "arrays",
        read_options: dict[str, str] | None = None,
        class_names: list[str | int] | None = None,
        label_type: pa.DataType | None = None,
        **description: object,
    ) -> Path:
        run = tmp_path / "runs" / "audit"
        run.mkdir(parents=True)
        pq.write_table(issue_table(rows, label_type), run / "issues.parquet")
        (run / "report.html").write_text("<p>report</p>")
        value: dict[str, object] = {
            "command": "audit",
            "status": "finished",
            "config": {"source": source, "read_options": read_options or {}},
            "summary": {"class_names": class_names or ["cat", "dog"]},
        }
        (run / "run.json").write_text(json.dumps(value | description))
        return run

    return make
