"""The issue table of an audit, assembled from evidence and other issues."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from tamis.auditing.evidence import Evidence
from tamis.auditing.material import Material
from tamis.auditing.other_issues import OtherIssues
from tamis.auditing.rows import Rows
from tamis.issues.schema import ISSUE_TYPES, issue_schema
from tamis.types import FloatArray, IntArray

FLAG_THRESHOLD = 0.5
"""A label is flagged where it is more likely wrong than right."""

_N_ALTERNATIVES = 3


def build_table(material: Material, rows: Rows, evidence: Evidence | None, other: OtherIssues) -> pa.Table:
    """Return the issue table: one row per sample in data-set order, schema of `issue_schema`."""
    n, classes = len(material.dataset), class_array(material)
    if evidence is None:
        return assemble_table(material, rows, {}, (), other)
    columns = label_columns(n, classes, rows, evidence, tie_places(material))
    columns |= {name: scattered(n, rows, values) for name, values in evidence.scores.items()}
    return assemble_table(material, rows, columns, tuple(evidence.scores), other)


def class_array(material: Material) -> pa.Array:
    """Return all class names in code order, as the labels were given."""
    names = material.dataset.class_names
    is_integer = all(isinstance(name, int) for name in names)
    return pa.array(list(names), type=pa.int64() if is_integer else pa.string())


def assemble_table(
    material: Material,
    rows: Rows,
    verdicts: dict[str, pa.Array],
    evidence: tuple[str, ...],
    other: OtherIssues,
) -> pa.Table:
    """Return the issue table from the columns that a verdict fills; none of them = no verdicts.

    Parameters
    ----------
    material : Material
    rows : Rows
    verdicts : mapping of name to column
        Those of `label_columns`, and one for each name of ``evidence``.
    evidence : tuple of str
        Beside the two ends of the label score.
    other : OtherIssues
    """
    classes, n = class_array(material), len(material.dataset)
    columns: dict[str, pa.Array] = {
        "id": material.dataset.table.column("id").combine_chunks(),
        "given_label": named_labels(classes, material.dataset.label_codes),
        "reason": pa.array(_reasons(material, rows), type=pa.string()),
        "is_assessed": pa.array(np.array([reason is None for reason in rows.reasons], dtype=bool)),
        "duplicate_group": pa.array(other.duplicate_group, mask=other.duplicate_group < 0),
    }
    columns |= verdicts or _no_verdicts(n, classes)
    score_names = ("label_score_low", "label_score_high", *evidence) if verdicts else ()
    for issue in ISSUE_TYPES:
        values = other.scores[issue.name]
        columns[f"is_{issue.name}_issue"] = pa.array(other.is_issue[issue.name])
        columns[f"{issue.name}_score"] = (
            pa.nulls(n, pa.float64())
            if values is None
            else pa.array(values, mask=np.isnan(values), type=pa.float64())
        )
    schema = issue_schema(classes.type, score_names)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _reasons(material: Material, rows: Rows) -> list[str | None]:
    reasons = list(rows.reasons)
    for row, why in material.unreadable.items():
        reasons[row] = f"unreadable: {why}"
    return reasons


def named_labels(classes: pa.Array, codes: IntArray) -> pa.Array:
    """Return the names of codes; null for negative ones."""
    return classes.take(pa.array(codes, mask=codes < 0))


def scattered(n: int, rows: Rows, values: FloatArray) -> pa.Array:
    """Return a column of the ``n`` rows of the data set from values of the assessed ones."""
    column = np.full(n, np.nan)
    column[rows.rows] = values
    return pa.array(column, mask=np.isnan(column), type=pa.float64())


def _no_verdicts(n: int, classes: pa.Array) -> dict[str, pa.Array]:
    return {
        "label_score": pa.nulls(n, pa.float64()),
        "suggested_label": pa.nulls(n, classes.type),
        "is_label_issue": pa.array(np.zeros(n, dtype=bool)),
        "rank": pa.nulls(n, pa.int64()),
        "alternative_labels": pa.nulls(n, pa.list_(classes.type)),
        "alternative_probs": pa.nulls(n, pa.list_(pa.float64())),
    }


def label_columns(
    n: int, classes: pa.Array, rows: Rows, evidence: Evidence, places: IntArray
) -> dict[str, pa.Array]:
    """Return the columns of an issue table that follow from the posterior.

    Parameters
    ----------
    n : int
        Rows of the data set.
    classes : pyarrow.Array
        All class names, in code order.
    rows : Rows
    evidence : Evidence
    places : (n,) int64
        Who comes first among rows of equal score.
    """
    own = np.arange(len(rows.codes))
    score = np.clip(evidence.posterior[own, rows.codes].astype(np.float64), 0.0, 1.0)
    probs, best = _best_classes(evidence.posterior, rows.codes)
    suggested = np.full(n, -1, dtype=np.int64)
    suggested[rows.rows] = rows.classes[best[:, 0]]
    is_issue = np.zeros(n, dtype=bool)
    is_issue[rows.rows] = (score < FLAG_THRESHOLD) & (best[:, 0] != rows.codes)
    rank = np.full(n, -1, dtype=np.int64)
    rank[rows.rows[np.lexsort((places[rows.rows], score))]] = np.arange(1, len(own) + 1)
    return {
        "label_score": scattered(n, rows, score),
        "label_score_low": scattered(n, rows, evidence.low),
        "label_score_high": scattered(n, rows, evidence.high),
        "suggested_label": named_labels(classes, suggested),
        "is_label_issue": pa.array(is_issue),
        "rank": pa.array(rank, mask=rank < 0),
    } | _alternatives(n, classes, rows, probs, best)


def tie_places(material: Material) -> IntArray:
    """Return (n,) places by content, then id: they rank ties, so that the order of rows has no part in it."""
    digests, ids = material.digests, material.dataset.table.column("id")
    by_id = np.empty(len(ids), dtype=np.int64)
    by_id[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    places = np.empty(len(ids), dtype=np.int64)
    places[np.lexsort((by_id, digests[:, 1], digests[:, 0]))] = np.arange(len(ids))
    return places


def _best_classes(posterior: FloatArray, codes: IntArray) -> tuple[FloatArray, IntArray]:
    """Return the (m, 3) highest probabilities and their classes.

    At equal probability the given label comes first, then the smaller code.
    """
    count = min(_N_ALTERNATIVES, posterior.shape[1])
    probs = np.empty((len(posterior), count), dtype=np.float64)
    best = np.empty((len(posterior), count), dtype=np.int64)
    step = max(1, 2_000_000 // posterior.shape[1])
    for start in range(0, len(posterior), step):
        block = torch.from_numpy(np.array(posterior[start : start + step]))
        given = torch.from_numpy(codes[start : start + step])[:, None]
        # At equal probability nothing speaks for a change of label: the given one comes first.
        favoured = block.double().scatter_add(1, given, torch.full(given.shape, 1e-12, dtype=torch.float64))
        top = torch.sort(favoured, dim=1, descending=True, stable=True).indices[:, :count]
        probs[start : start + step] = block.gather(1, top).double().numpy()
        best[start : start + step] = top.numpy()
    return probs, best


def _alternatives(
    n: int, classes: pa.Array, rows: Rows, probs: FloatArray, best: IntArray
) -> dict[str, pa.Array]:
    count = best.shape[1]
    place = np.full(n, -1, dtype=np.int64)
    place[rows.rows] = np.arange(len(rows.rows))
    assessed = place >= 0
    lengths = np.where(assessed, count, 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    order = place[assessed]
    names = classes.take(pa.array(rows.classes[best[order]].ravel()))
    mask = pa.array(~assessed)
    return {
        "alternative_labels": pa.ListArray.from_arrays(offsets, names, mask=mask),
        "alternative_probs": pa.ListArray.from_arrays(offsets, pa.array(probs[order].ravel()), mask=mask),
    }
