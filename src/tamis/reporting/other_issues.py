"""Sections of the report about issues beside wrong labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tamis.issues.schema import ISSUE_TYPES
from tamis.issues.summary import AuditSummary
from tamis.reporting.gallery import Alternative, alternatives_of
from tamis.reporting.samples import SampleReader, SampleView, column_values, flagged_rows, lowest_rows
from tamis.reporting.wording import Shown, count, counted, shown
from tamis.types import FloatArray, IntArray

_PLAIN_DUPLICATES = ("exact_duplicate", "near_duplicate")
_GRAVE_DUPLICATES = ("conflicting_duplicate", "split_leak")
_MOST_GROUPS = 6
_MOST_IN_GROUP = 4
_MOST_SINGLE = 8
_MOST_LISTED = 20
"""How many examples of each kind are shown."""


@dataclass(frozen=True)
class Example:
    """One sample of an issue; ``alternatives`` only for ambiguous samples."""

    sample: SampleView
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class IssueSection:
    """One type of issue: how often, and examples in the form that fits it.

    Attributes
    ----------
    name, title, description, count : str
    groups : tuple of tuples of Example
        Samples that belong together, such as duplicates.
    listed : tuple of (Shown, str)
        Name and remark, for rows that cannot be shown (unreadable files, small classes).
    left_out : str
        What of the issue is not shown; empty where all of it is.
    """

    name: str
    title: str
    description: str
    count: str
    groups: tuple[tuple[Example, ...], ...] = ()
    listed: tuple[tuple[Shown, str], ...] = ()
    left_out: str = ""


def issue_sections(reader: SampleReader, issues: pa.Table, summary: AuditSummary) -> tuple[IssueSection, ...]:
    """Return one section per issue type, in the order of the issue table, empty ones included."""
    return tuple(_section(reader, issues, summary, index) for index in range(len(ISSUE_TYPES)))


def _section(reader: SampleReader, issues: pa.Table, summary: AuditSummary, index: int) -> IssueSection:
    issue = ISSUE_TYPES[index]
    n_rows = summary.issue_counts.get(issue.name, 0)
    groups: tuple[tuple[Example, ...], ...] = ()
    listed: tuple[tuple[Shown, str], ...] = ()
    left_out = ""
    if issue.name in _PLAIN_DUPLICATES + _GRAVE_DUPLICATES:
        groups, left_out = _group_examples(reader, issues, issue.name)
    elif issue.name == "unreadable":
        listed, left_out = _unreadable(issues)
    elif issue.name == "small_class":
        listed, left_out = _small_classes(issues)
    else:
        groups, left_out = _single_examples(reader, issues, issue.name)
    description = issue.description.replace("`", "")
    return IssueSection(issue.name, issue.title, description, count(n_rows), groups, listed, left_out)


def _group_examples(
    reader: SampleReader, issues: pa.Table, name: str
) -> tuple[tuple[tuple[Example, ...], ...], str]:
    group = column_values(issues, "duplicate_group")
    found = _group_numbers(issues, group, name)
    if name in _PLAIN_DUPLICATES:
        # Groups with a graver issue are shown once, there.
        graver = {each for issue in _GRAVE_DUPLICATES for each in _group_numbers(issues, group, issue)}
        found = [each for each in found if each not in graver]
    members = {each: _varied(issues, np.flatnonzero(group == each), name) for each in found[:_MOST_GROUPS]}
    views = reader.read([row for some in members.values() for row in some], "small")
    groups = tuple(tuple(Example(views[row]) for row in some) for some in members.values())
    hidden = len(found) - len(members)
    return groups, f"{counted(hidden, 'more group')} in the issue table" if hidden else ""


def _group_numbers(issues: pa.Table, group: FloatArray, name: str) -> list[float]:
    numbers = group[flagged_rows(issues, name)]
    return list(dict.fromkeys(numbers[~np.isnan(numbers)].tolist()))


def _varied(issues: pa.Table, rows: IntArray, name: str) -> list[int]:
    """Return a few rows of a group; of conflicting duplicates first one row per label."""
    kept = [int(row) for row in rows]
    if name == "conflicting_duplicate":
        labels = issues["given_label"].take(pa.array(kept, pa.int64())).to_pylist()
        first = {label: row for row, label in zip(reversed(kept), reversed(labels), strict=True)}
        kept.sort(key=lambda row: row not in first.values())
    return kept[:_MOST_IN_GROUP]


def _single_examples(
    reader: SampleReader, issues: pa.Table, name: str
) -> tuple[tuple[tuple[Example, ...], ...], str]:
    rows = lowest_rows(issues, name, _MOST_SINGLE)
    views = reader.read(rows, "small")
    verdicts = issues.take(pa.array(rows, pa.int64())).to_pylist()
    groups = tuple(
        (Example(views[row], alternatives_of(verdict)[:2] if name == "ambiguous" else ()),)
        for row, verdict in zip(rows, verdicts, strict=True)
    )
    hidden = len(flagged_rows(issues, name)) - len(rows)
    return groups, f"{counted(hidden, 'more row')} in the issue table" if hidden else ""


def _unreadable(issues: pa.Table) -> tuple[tuple[tuple[Shown, str], ...], str]:
    rows = flagged_rows(issues, "unreadable")
    some = issues.take(pa.array(rows[:_MOST_LISTED], pa.int64()))
    pairs = zip(some["id"].to_pylist(), some["reason"].to_pylist(), strict=True)
    hidden = len(rows) - some.num_rows
    listed = tuple(
        (shown(name, 96), shown(reason or "no reason recorded", 300).text) for name, reason in pairs
    )
    return listed, f"{counted(hidden, 'more file')} in the issue table" if hidden else ""


def _small_classes(issues: pa.Table) -> tuple[tuple[tuple[Shown, str], ...], str]:
    rows = flagged_rows(issues, "small_class")
    sizes = Counter(issues["given_label"].take(pa.array(rows, pa.int64())).to_pylist())
    hidden = len(sizes) - _MOST_LISTED
    listed = tuple((shown(name), counted(n, "row")) for name, n in sizes.most_common(_MOST_LISTED))
    return listed, f"{counted(hidden, 'more class', 'more classes')} in the issue table" if hidden > 0 else ""
