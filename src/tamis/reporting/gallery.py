"""The gallery of the worst labels: what was given, what is suggested, and what speaks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tamis.issues.schema import issue_schema
from tamis.reporting.identities import member_views
from tamis.reporting.samples import SampleReader, SampleView, column_values, flagged_rows
from tamis.reporting.wording import Shown, percent, shown
from tamis.types import IntArray

_MOST_NEIGHBORS = 5
_SHOWN_WHEN_FEW_FLAGGED = 12


@dataclass(frozen=True)
class Alternative:
    """A label that could stand instead; ``share`` runs from 0 to 100."""

    label: Shown
    share: float
    text: str


@dataclass(frozen=True)
class NeighborView:
    """A near sample; ``role``, by the label it carries, is "suggested", "given" or "other"."""

    sample: SampleView
    role: str


@dataclass(frozen=True)
class Card:
    """One suspicious label.

    Attributes
    ----------
    place : int
        1 = the most suspicious.
    sample : SampleView
    suggested : Shown
    score : str
        The label score in words.
    is_flagged : bool
    alternatives : tuple of Alternative
    neighbors : tuple of NeighborView
        At most five; those with the suggested label first, near before far.
    agreement : Shown
        How many of all neighbours carry the suggested label and how many the given one.
    evidence : tuple of (name, value)
    group : tuple of SampleView
        Of an audit of identities: members of the given identity, those that fit best.
    """

    place: int
    sample: SampleView
    suggested: Shown
    score: str
    is_flagged: bool
    alternatives: tuple[Alternative, ...]
    neighbors: tuple[NeighborView, ...]
    agreement: str
    evidence: tuple[tuple[str, str], ...]
    group: tuple[SampleView, ...] = ()


def worst_rows(issues: pa.Table, n: int) -> list[int]:
    """Return the rows of the gallery by rank: the flagged ones, or a dozen where few are flagged."""
    rank = column_values(issues, "rank")
    ranked = np.flatnonzero(~np.isnan(rank))
    ranked = ranked[np.argsort(rank[ranked], kind="stable")]
    n_flagged = len(flagged_rows(issues, "label"))
    return [int(row) for row in ranked[: min(n, max(n_flagged, _SHOWN_WHEN_FEW_FLAGGED))]]


def build_cards(
    reader: SampleReader,
    issues: pa.Table,
    neighbors: IntArray | None,
    n: int,
    *,
    calibrated: bool,
    has_groups: bool = False,
) -> tuple[Card, ...]:
    """Return the cards of the ``n`` worst labels.

    Parameters
    ----------
    reader : SampleReader
    issues : pyarrow.Table
    neighbors : (n_samples, k) integer array or None
        Row indices of the nearest samples, nearest first, -1 = none.
    n : int
        Cards at most.
    calibrated : bool
        Whether label scores may be read as probabilities.
    has_groups : bool
        Whether the other members of the given class belong on the card.
    """
    rows = worst_rows(issues, n)
    near = {row: _valid(neighbors, row) for row in rows}
    every = sorted({each for some in near.values() for each in some})
    labels = dict(
        zip(every, issues["given_label"].take(pa.array(every, pa.int64())).to_pylist(), strict=True)
    )
    worst = issues.take(pa.array(rows, pa.int64())).to_pylist()
    chosen = {
        row: _most_telling(near[row], labels, verdict["suggested_label"])
        for row, verdict in zip(rows, worst, strict=True)
    }
    large = reader.read(rows, "large")
    small = reader.read([each for some in chosen.values() for each in some], "small")
    names = evidence_names(issues.schema)
    given = list(dict.fromkeys(verdict["given_label"] for verdict in worst)) if has_groups else []
    groups = member_views(reader, issues, given)
    return tuple(
        Card(
            place=place,
            sample=large[row],
            suggested=shown(verdict["suggested_label"]),
            score=_score_words(verdict["label_score"], calibrated=calibrated),
            is_flagged=verdict["is_label_issue"],
            alternatives=alternatives_of(verdict),
            neighbors=tuple(NeighborView(small[each], _role(labels[each], verdict)) for each in chosen[row]),
            agreement=_agreement([labels[each] for each in near[row]], verdict),
            evidence=_evidence(verdict, names),
            group=groups.get(verdict["given_label"], ()),
        )
        for place, (row, verdict) in enumerate(zip(rows, worst, strict=True), start=1)
    )


def evidence_names(schema: pa.Schema) -> list[str]:
    """Return the columns of an issue table that hold single pieces of evidence."""
    fixed = set(issue_schema(pa.string(), ()).names)
    return [each.name for each in schema if each.name not in fixed and pa.types.is_floating(each.type)]


def _valid(neighbors: IntArray | None, row: int) -> list[int]:
    return [] if neighbors is None else [int(each) for each in neighbors[row] if each >= 0]


def _most_telling(near: Sequence[int], labels: Mapping[int, object], suggested: object) -> list[int]:
    # A stable sort: near stays before far among equals.
    return sorted(near, key=lambda row: labels[row] != suggested)[:_MOST_NEIGHBORS]


def _role(label: object, verdict: Mapping[str, object]) -> str:
    if label == verdict["suggested_label"]:
        return "suggested"
    return "given" if label == verdict["given_label"] else "other"


def _agreement(labels: Sequence[object], verdict: Mapping[str, object]) -> str:
    if not labels:
        return ""
    roles = Counter(_role(label, verdict) for label in labels)
    nearest = f"Of the {len(labels)} nearest samples" if len(labels) > 1 else "Of the nearest sample"
    return f"{nearest}, {roles['suggested']} carry the suggested label, {roles['given']} the given one"


def _score_words(score: float | None, *, calibrated: bool) -> str:
    if score is None:
        return "no score"
    if calibrated:
        return f"{percent(score)} likely right"
    return f"label score {score:.3f}" if score >= 0.001 else "label score under 0.001"


def alternatives_of(verdict: Mapping[str, object]) -> tuple[Alternative, ...]:
    """Return the alternatives of one row of an issue table, as many as have a probability."""
    labels, probs = verdict["alternative_labels"], verdict["alternative_probs"]
    if not isinstance(labels, list) or not isinstance(probs, list):
        return ()
    pairs = [(label, prob) for label, prob in zip(labels, probs, strict=False) if prob is not None]
    return tuple(Alternative(shown(label), 100.0 * min(1.0, max(0.0, p)), percent(p)) for label, p in pairs)


def _evidence(verdict: Mapping[str, object], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    values = [(name, verdict[name]) for name in names]
    return tuple(
        (name.replace("_", " "), f"{value:.3f}") for name, value in values if isinstance(value, float)
    )
