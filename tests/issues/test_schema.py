"""The schema of the issue table, and that every column has its line in the documentation."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tamis.issues.schema import ISSUE_TYPES, issue_schema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "issue-table.md"
EVIDENCE = ("label_score_low", "label_score_high", "self_confidence", "neighbor_vote")


@pytest.mark.parametrize("label_type", [pa.string(), pa.int64()])
def test_labels_keep_their_type(label_type: pa.DataType) -> None:
    schema = issue_schema(label_type, ("vote",))
    assert schema.field("given_label").type == schema.field("suggested_label").type == label_type
    assert schema.field("alternative_labels").type == pa.list_(label_type)
    assert schema.field("vote").type == pa.float64()


def test_columns() -> None:
    schema = issue_schema(pa.string(), EVIDENCE)
    assert len(set(schema.names)) == len(schema.names) == 11 + len(EVIDENCE) + 2 * len(ISSUE_TYPES)
    for name in schema.names:
        if name.startswith("is_") or name == "id":
            assert not schema.field(name).nullable
        elif "score" in name:
            assert schema.field(name).type == pa.float64()
    assert len({issue.name for issue in ISSUE_TYPES}) == len(ISSUE_TYPES)
    assert all(issue.title and issue.description for issue in ISSUE_TYPES)


@pytest.mark.parametrize("name", issue_schema(pa.string(), EVIDENCE).names)
def test_every_column_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
