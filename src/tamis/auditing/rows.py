"""Which rows an audit assesses, in which order, and who their neighbours are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tamis.auditing.material import Material
from tamis.detectors.exact_duplicates import duplicate_groups
from tamis.neighbors import Neighbors, balanced_reference, choose_reference, nearest_neighbors
from tamis.neighbors.components import linked_groups
from tamis.runs import StageStore
from tamis.statistics.canonical import canonical_classes, canonical_rows
from tamis.types import IntArray

SMALLEST_CLASS = 5
"""Classes with fewer usable rows are not assessed: they would be missing from some folds."""

TOO_SMALL = "class too small"
ONE_GROUP = "class is a single group or a single duplicated sample"
"""Reasons of rows whose class cannot be assessed: too little that is independent carries the same label."""

SINGLE = "the only member of its identity"
"""Reason in audits of identities: there is no other member to compare it with."""

NO_SIGNAL = "nothing tells the classes apart"

N_NEIGHBORS = 20


@dataclass(frozen=True)
class Rows:
    """Which rows are assessed, in canonical order.

    Attributes
    ----------
    rows : (m,) int64
        Data-set rows of the assessed samples, in canonical order.
    codes : (m,) int64
        Their labels as canonical codes 0..C-1.
    classes : (C,) int64
        ``classes[c]`` is the given code of canonical class ``c``; small classes are left out.
    groups : (n,) int64
        Rows of one group never vouch for each other (exact duplicates, the user's groups); rows that are
        alone have -1 or a number of their own.
    exact_groups : (n,) int64
        Exact duplicates alone; -1 = unique.
    reasons : (n,) object
        Why a row is not assessed; None where it is.
    """

    rows: IntArray
    codes: IntArray
    classes: IntArray
    groups: IntArray
    exact_groups: IntArray
    reasons: npt.NDArray[np.object_]


def choose_rows(material: Material, *, smallest: int = SMALLEST_CLASS) -> Rows:
    """Decide which rows can be assessed, and put them in an order that depends on content alone.

    Classes with fewer than ``smallest`` usable rows are left out.
    """
    dataset, digests = material.dataset, material.digests
    codes = dataset.label_codes
    reasons = np.full(len(dataset), None, dtype=object)
    reasons[codes < 0] = "unlabelled"
    for row in material.unreadable:
        reasons[row] = "unreadable"
    usable = np.array([reason is None for reason in reasons], dtype=bool)
    exact_groups = np.full(len(dataset), -1, dtype=np.int64)
    if material.shows_duplicates:
        exact_groups = duplicate_groups(digests)
    groups = _independence_groups(dataset.table.column("group").to_pylist(), exact_groups)
    counts = np.bincount(codes[usable], minlength=dataset.n_classes)
    # Only what is learned here needs other rows of the class; given probabilities do not.
    is_learned = material.features is not None
    has_one_group = (_n_groups(codes, groups, usable, dataset.n_classes) < 2) & is_learned
    reasons[usable & has_one_group[codes]] = ONE_GROUP
    reasons[usable & (counts < smallest)[codes]] = TOO_SMALL
    is_assessable = (counts >= smallest) & ~has_one_group
    usable &= is_assessable[codes]
    if is_assessable.sum() < 2:
        reasons[usable] = "fewer than two classes can be assessed"
        usable[:] = False
    kept = np.where(usable, codes, -1)
    order = canonical_classes(digests, kept, dataset.n_classes)
    classes = order[np.bincount(kept[kept >= 0], minlength=dataset.n_classes)[order] > 0]
    rows = canonical_rows(digests, kept, order)
    rows = rows[usable[rows]]
    to_canonical = np.full(dataset.n_classes + 1, -1, dtype=np.int64)
    to_canonical[classes] = np.arange(len(classes))
    return Rows(rows, to_canonical[codes[rows]], classes, groups, exact_groups, reasons)


def without_verdict(rows: Rows, reason: str) -> Rows:
    """Return the same rows with none assessed, those that would have been for the given reason."""
    reasons = rows.reasons.copy()
    reasons[rows.rows] = reason
    nobody = np.zeros(0, dtype=np.int64)
    return replace(rows, rows=nobody, codes=nobody, classes=nobody, reasons=reasons)


def _n_groups(codes: IntArray, groups: IntArray, usable: npt.NDArray[np.bool_], n_classes: int) -> IntArray:
    """Return how many independent groups the usable rows of each class come from, (n_classes,)."""
    keys = np.where(groups >= 0, groups, np.arange(len(groups)) + groups.max(initial=-1) + 1)
    pairs = np.unique(np.stack([codes[usable], keys[usable]]), axis=1)
    return np.bincount(pairs[0], minlength=n_classes)


def _independence_groups(given: list[str | None], exact_groups: IntArray) -> IntArray:
    """Join the user's groups and exact duplicates: whoever shares either, directly or not, is one group."""
    if not any(name is not None for name in given):
        return exact_groups
    first: dict[str, int] = {}
    left, right = [], []
    for row, name in enumerate(given):
        if name is not None:
            left.append(first.setdefault(name, row))
            right.append(row)
    members = np.flatnonzero(exact_groups >= 0)
    _, leaders, inverse = np.unique(exact_groups[members], return_index=True, return_inverse=True)
    return linked_groups(
        len(given),
        np.concatenate([np.array(left, dtype=np.int64), members[leaders[inverse]]]),
        np.concatenate([np.array(right, dtype=np.int64), members]),
    )


def find_neighbors(
    material: Material, rows: Rows, store: StageStore, memory_budget: str | int | None
) -> tuple[Neighbors | None, list[str]]:
    """Return the neighbours of every readable row, or None without features."""
    features = material.features
    if features is None or len(features) < 2:
        return None, []
    readable = np.ones(len(features), dtype=bool)
    readable[list(material.unreadable)] = False
    size = choose_reference(len(features), features.shape[1], n_classes=max(1, len(rows.classes)))
    notes = []
    if size is None:
        reference = None if readable.all() else np.flatnonzero(readable)
    else:
        codes = np.full(len(features), -1, dtype=np.int64)
        codes[rows.rows] = rows.codes
        reference = np.sort(balanced_reference(codes, material.digests, size=size))
        notes.append(
            f"Neighbours were searched among a class-balanced reference of {len(reference):,} of the "
            f"{len(features):,} rows (approximation): near duplicates outside it are not seen."
        )
    indices, similarities = store.load("neighbor_indices"), store.load("neighbor_similarities")
    if indices is not None and similarities is not None:
        return Neighbors(
            np.asarray(indices, dtype=np.int64), np.asarray(similarities, dtype=np.float32)
        ), notes
    n_reference = int(readable.sum()) if reference is None else len(reference)
    found = nearest_neighbors(
        features,
        k=max(1, min(N_NEIGHBORS, n_reference - 1)),
        reference_rows=reference,
        query_groups=rows.groups,
        tie_keys=_tie_keys(material, rows),
        allow_zero=True,
        memory_budget=memory_budget,
    )
    store.save("neighbor_similarities", found.similarities)
    store.save("neighbor_indices", found.indices)
    return found, notes


def _tie_keys(material: Material, rows: Rows) -> npt.NDArray[np.uint64]:
    """Return (n, 2) keys that decide between equally similar rows: content, then the canonical label.

    Rows of equal content but different labels vote differently, so their order must not be that of the data.
    """
    keys = material.digests.copy()
    keys[rows.rows, 1] += (rows.codes + 1).astype(np.uint64)
    return keys
