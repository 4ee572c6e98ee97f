"""The sections of a report about identities: pairs that may be one, identities that may be two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.reporting.samples import SampleReader, SampleView
from tamis.reporting.wording import Shown, shown
from tamis.types import IntArray

_MOST_HINTS = 8
_MOST_MEMBERS = 4
"""Examples of each kind, and pictures of each group."""


class Identities(NamedTuple):
    """Tables ``merges`` and ``splits`` of an audit; both None in audits of other tasks."""

    merges: pa.Table | None = None
    splits: pa.Table | None = None


@dataclass(frozen=True)
class Hint:
    """Two groups side by side: two identities, or the halves of one."""

    names: tuple[Shown, ...]
    likeness: str
    first: tuple[SampleView, ...]
    second: tuple[SampleView, ...]


@dataclass(frozen=True)
class IdentityHints:
    """All that the page shows of identities; the numbers count what is likely."""

    n_merges: int
    n_splits: int
    merges: tuple[Hint, ...]
    splits: tuple[Hint, ...]


def identity_hints(reader: SampleReader, issues: pa.Table, tables: Identities) -> IdentityHints | None:
    """Return the likely merges and splits with pictures of both groups; None in audits of other tasks.

    Parameters
    ----------
    reader : SampleReader
    issues : pyarrow.Table
    tables : Identities
    """
    if tables.merges is None or tables.splits is None:
        return None
    merges = tables.merges.filter(pc.field("is_likely"))
    splits = tables.splits.filter(pc.field("is_likely"))
    return IdentityHints(
        merges.num_rows,
        splits.num_rows,
        tuple(_merge(reader, issues, each) for each in merges.slice(0, _MOST_HINTS).to_pylist()),
        tuple(_split(reader, issues, each) for each in splits.slice(0, _MOST_HINTS).to_pylist()),
    )


def member_views(
    reader: SampleReader, issues: pa.Table, labels: Sequence[object]
) -> dict[object, tuple[SampleView, ...]]:
    """Return for each label the members that fit it best, four at most.

    Parameters
    ----------
    reader : SampleReader
    issues : pyarrow.Table
    labels : sequence of labels
    """
    chosen = {label: _best(issues, _members(issues, label)) for label in labels}
    views = reader.read([row for rows in chosen.values() for row in rows], "small")
    return {label: tuple(views[row] for row in rows) for label, rows in chosen.items()}


def _merge(reader: SampleReader, issues: pa.Table, hint: Mapping[str, object]) -> Hint:
    views = member_views(reader, issues, [hint["first"], hint["second"]])
    names = (shown(hint["first"]), shown(hint["second"]))
    return Hint(names, f"{hint['likeness']:.2f}", views[hint["first"]], views[hint["second"]])


def _split(reader: SampleReader, issues: pa.Table, hint: Mapping[str, object]) -> Hint:
    members = _members(issues, hint["identity"])
    ids = issues["id"].combine_chunks().take(pa.array(members))
    is_second = np.asarray(pc.is_in(ids, value_set=pa.array(hint["second"], pa.string())))
    halves = [_best(issues, members[~is_second]), _best(issues, members[is_second])]
    views = reader.read([row for rows in halves for row in rows], "small")
    first, second = (tuple(views[row] for row in rows) for rows in halves)
    return Hint((shown(hint["identity"]),), f"{hint['likeness']:.2f}", first, second)


def _members(issues: pa.Table, label: object) -> IntArray:
    """Return the assessed rows that carry a label."""
    labels = issues["given_label"]
    is_own = pc.equal(labels, pa.scalar(label, labels.type)).fill_null(False)
    found: IntArray = np.flatnonzero(np.asarray(pc.and_(is_own, issues["is_assessed"])))
    return found


def _best(issues: pa.Table, rows: IntArray) -> list[int]:
    """Return the rows with the highest label scores, four at most; ties by their rank."""
    ranks = issues["rank"].take(pa.array(rows)).to_numpy()
    return [int(row) for row in rows[np.argsort(-ranks, kind="stable")[:_MOST_MEMBERS]]]
