"""The issue table: one Arrow schema for audits and for the verdicts of trained methods."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa


class IssueType(NamedTuple):
    """One kind of issue beside the wrong label: its columns are ``is_<name>_issue`` and ``<name>_score``."""

    name: str
    title: str
    description: str


ISSUE_TYPES: tuple[IssueType, ...] = (
    IssueType("unreadable", "Unreadable", "the sample could not be decoded; `reason` says why"),
    IssueType("exact_duplicate", "Exact duplicate", "another row has exactly the same content"),
    IssueType("near_duplicate", "Near duplicate", "another row is almost the same (features)"),
    IssueType("conflicting_duplicate", "Conflicting duplicate", "a duplicate carries another label"),
    IssueType("split_leak", "Split leak", "a duplicate lies in another split"),
    IssueType("outlier", "Outlier", "far from every other sample"),
    IssueType("ambiguous", "Ambiguous", "two classes are about equally plausible"),
    IssueType("small_class", "Class too small", "the class has too few samples to be assessed"),
)
"""In the order in which the table and the report show them."""

WITH_ISSUES = frozenset({"audit", "train"})
"""Commands whose run folder holds an issue table."""


def issue_schema(label_type: pa.DataType, evidence: tuple[str, ...]) -> pa.Schema:
    """Return the schema of an issue table.

    Parameters
    ----------
    label_type : pyarrow.DataType
        Type of labels as they were given: string, or int64.
    evidence : tuple of str
        Names of the evidence columns, each a float64 score, lower = worse.

    Returns
    -------
    pyarrow.Schema
        See ``docs/issue-table.md`` for the meaning of every column.
    """
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("given_label", label_type),
        pa.field("suggested_label", label_type),
        pa.field("label_score", pa.float64()),
        pa.field("is_label_issue", pa.bool_(), nullable=False),
        pa.field("is_assessed", pa.bool_(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("rank", pa.int64()),
        pa.field("alternative_labels", pa.list_(label_type)),
        pa.field("alternative_probs", pa.list_(pa.float64())),
        pa.field("duplicate_group", pa.int64()),
    ]
    fields += [pa.field(name, pa.float64()) for name in evidence]
    for issue in ISSUE_TYPES:
        fields.append(pa.field(f"is_{issue.name}_issue", pa.bool_(), nullable=False))
        fields.append(pa.field(f"{issue.name}_score", pa.float64()))
    return pa.schema(fields)
