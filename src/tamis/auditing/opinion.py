"""A second opinion: an audit's evidence and what a trained method believes, weighed together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tamis.auditing.audit import audit
from tamis.auditing.evidence import Evidence
from tamis.auditing.first_opinion import FirstOpinion, read_first_opinion
from tamis.auditing.pooling import Pool, pool_opinions
from tamis.auditing.result import Audit
from tamis.auditing.summing_up import summarise
from tamis.auditing.table import label_columns
from tamis.data import Dataset
from tamis.errors import InputError
from tamis.issues.schema import issue_schema
from tamis.types import BoolArray, FloatArray

_NEARLY_ALL = 0.98
_NEARLY_CLEAN = 0.01
"""Share of wrong labels below which repeating nearly all of them is as it should be."""


@dataclass(frozen=True)
class Opinion:
    """What a trained method believes about the labels of a data set.

    Attributes
    ----------
    name : str
        Of the method; the issue table gets a column of this name.
    beliefs : (n, K) float32 array
        Class probabilities, rows in data-set order.
    clean_scores : (n,) float64 array
        Any monotone scale, higher = cleaner; NaN where it says nothing.
    is_held_out : (n,) bool array, optional
        Rows whose labels the method was not trained on. None: it was trained on all.
    """

    name: str
    beliefs: FloatArray
    clean_scores: FloatArray
    is_held_out: BoolArray | None = None


def with_opinion(dataset: Dataset, evidence: Audit | None, opinion: Opinion) -> Audit:
    """Return the audit with a method's opinion weighed in; without an audit, the method's opinion alone.

    A method repeats part of the labels it was trained on, so its beliefs are first translated into the
    audit's terms; see ``docs/verdicts.md``. Where it has learned the labels by heart it has no part in the
    verdict. The issue table gets the method's clean scores as a column named after it.

    Parameters
    ----------
    dataset : Dataset
    evidence : Audit or None
        Of the same data set.
    opinion : Opinion

    Returns
    -------
    Audit
        Without a run folder of its own. Rows that the audit did not assess are not assessed here either;
        rows on which the method says nothing keep the audit's verdict.

    Raises
    ------
    InputError
        The audit or the opinion is of other data.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(300) % 3
    >>> x = rng.normal(size=(300, 4)) + 3 * np.eye(4)[y]
    >>> y[0] = 1
    >>> found = audit(features=x, labels=y)
    >>> beliefs = np.exp(2 * x[:, :3])
    >>> beliefs /= beliefs.sum(axis=1, keepdims=True)
    >>> opinion = Opinion("elr", beliefs, beliefs[np.arange(300), y])
    >>> with_opinion(found.dataset, found, opinion).ranked(1).select(["id", "suggested_label"]).to_pylist()
    [{'id': '0', 'suggested_label': 0}]
    """
    _check(dataset, opinion)
    if evidence is None:
        return _alone(dataset, opinion)
    first = read_first_opinion(dataset, evidence)
    if not len(first.rows.rows):
        return _unchanged(dataset, evidence, opinion, _nothing_note(opinion))
    pool = pool_opinions(
        first,
        opinion.beliefs,
        ~np.isnan(opinion.clean_scores),
        np.zeros(len(dataset), dtype=bool) if opinion.is_held_out is None else opinion.is_held_out,
    )
    if pool.weight == 0:
        note = _unheard_note(opinion, pool, wrong=1 - float(first.score.mean()))
        return _unchanged(dataset, evidence, opinion, note)
    return _together(dataset, evidence, opinion, first, pool)


def _check(dataset: Dataset, opinion: Opinion) -> None:
    expected = (len(dataset), dataset.n_classes)
    if opinion.beliefs.shape != expected or opinion.clean_scores.shape != expected[:1]:
        raise InputError(
            f"the opinion of {opinion.name!r} has beliefs {opinion.beliefs.shape} and clean scores "
            f"{opinion.clean_scores.shape}; the data have {expected[0]:,} rows and {expected[1]:,} classes"
        )


def _together(dataset: Dataset, evidence: Audit, opinion: Opinion, first: FirstOpinion, pool: Pool) -> Audit:
    found = Evidence(pool.posterior, pool.low, pool.high, {}, pool.transition(first.rows), ())
    issues = evidence.issues
    columns = label_columns(issues.num_rows, first.class_array, first.rows, found, first.places)
    for name in [each for each in columns if each in issues.column_names]:
        place = issues.column_names.index(name)
        issues = issues.set_column(place, issues.schema.field(name), columns[name])
    issues = with_scores(issues, opinion)
    summary = summarise(
        issues,
        first.rows,
        found,
        class_names=dataset.class_names,
        notes=[*evidence.summary.notes, _weight_note(opinion, pool)],
        timings=evidence.summary.timings,
    )
    # The audit's reasons are those of its summary: its table has them in more words.
    summary = replace(summary, not_assessed=evidence.summary.not_assessed)
    return replace(evidence, issues=issues, summary=summary, dataset=dataset, path=None)


def _unchanged(dataset: Dataset, evidence: Audit, opinion: Opinion, note: str) -> Audit:
    summary = replace(evidence.summary, notes=(*evidence.summary.notes, note))
    issues = with_scores(evidence.issues, opinion)
    return replace(evidence, issues=issues, summary=summary, dataset=dataset, path=None)


def _weight_note(opinion: Opinion, pool: Pool) -> str:
    return (
        f"The verdict weighs the audit ({100 * (1 - pool.weight):.0f} %) and what {opinion.name} believes "
        f"({100 * pool.weight:.0f} %), translated into the audit's terms: it was trained on these labels and "
        f"repeats {100 * pool.repeated:.0f} % of them. It explains {100 * pool.agreement:.0f} % of the "
        "variance of the audit's label scores."
    )


def _unheard_note(opinion: Opinion, pool: Pool, *, wrong: float) -> str:
    alone = f"what {opinion.name} believes has no part in the verdict, which is the audit's alone"
    repeats = f"it repeats {100 * pool.repeated:.1f} % of the given labels"
    if wrong < _NEARLY_CLEAN:
        return (
            f"By the audit {100 * wrong:.1f} % of the labels are wrong, too few to compare opinions on: "
            f"{alone} ({repeats})."
        )
    if pool.is_by_heart:
        return (
            f"Warning: {alone}. It has learned its labels by heart: {repeats}, of which the audit holds "
            f"{100 * (1 - wrong):.1f} % for right."
        )
    explained = 100 * max(0.0, pool.agreement)
    return (
        f"Warning: {alone}. It explains {explained:.0f} % of the variance of the audit's label scores, too "
        f"little to be evidence on the same labels ({repeats}): too little training, or too high a learning "
        "rate, may be why."
    )


def _nothing_note(opinion: Opinion) -> str:
    return (
        f"The audit assessed no label, so there is nothing to compare {opinion.name} with, which was trained "
        "on these labels: no verdict is given."
    )


def _alone(dataset: Dataset, opinion: Opinion) -> Audit:
    """Return the verdict of the beliefs alone: the audit of probabilities, with its limits said."""
    beliefs = np.maximum(opinion.beliefs.astype(np.float64), 1e-6)
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    codes = dataset.label_codes
    silent = np.flatnonzero(np.isnan(opinion.clean_scores) & (codes >= 0))
    why = f"{opinion.name} could not use it"
    problems = dict.fromkeys(silent.tolist(), why) | dict(dataset.problems)
    bare = replace(dataset, features={}, pred_probs=beliefs, problems=problems)
    found = audit(bare, out_of_sample=True, class_names=dataset.class_names)
    judged = (codes >= 0) & ~np.isnan(opinion.clean_scores)
    repeated = float((beliefs.argmax(axis=1) == codes)[judged].mean()) if judged.any() else 0.0
    note = (
        f"The verdict is that of {opinion.name} alone, which was trained on these labels and repeats "
        f"{100 * repeated:.0f} % of them. Wrong labels that it has learned count as right, and nothing here "
        "can tell how many: take the estimates for rough ones, or weigh it with an audit."
    )
    if repeated > _NEARLY_ALL:
        note = (
            f"Warning: unless hardly any label is wrong, {opinion.name} has learned them by heart, and its "
            f"verdict means little. {note}"
        )
    summary = replace(found.summary, notes=(*found.summary.notes, note))
    return replace(found, issues=with_scores(found.issues, opinion), summary=summary, dataset=dataset)


def with_scores(issues: pa.Table, opinion: Opinion) -> pa.Table:
    """Return an issue table with the method's scores, behind the other evidence; those of an earlier run go.

    Parameters
    ----------
    issues : pyarrow.Table
    opinion : Opinion
        Of the same rows.
    """
    fixed = issue_schema(pa.string(), ()).names
    name = opinion.name
    if name in fixed or name in {"label_score_low", "label_score_high"}:
        name = f"{name}_opinion"
    if name in issues.column_names:
        issues = issues.drop_columns([name])
    scores = as_shares(opinion.clean_scores)
    column = pa.array(scores, mask=np.isnan(scores), type=pa.float64())
    behind = fixed.index("duplicate_group") + 1
    while behind < issues.num_columns and issues.column_names[behind] not in fixed:
        behind += 1
    return issues.add_column(behind, pa.field(name, pa.float64()), column)


def as_shares(scores: FloatArray) -> FloatArray:
    """Return scores on a scale from 0 to 1: as they are where they lie there, else by their ranks.

    Parameters
    ----------
    scores : (n,) float
        Higher = cleaner; NaN stays NaN.

    Examples
    --------
    >>> as_shares(np.array([-3.0, 7.0, np.nan, 7.0]))
    array([0. , 0.5, nan, 0.5])
    """
    values = np.asarray(scores, dtype=np.float64)
    known = values[~np.isnan(values)]
    if not len(known) or (known.min() >= 0 and known.max() <= 1):
        return values
    # Equal scores get the same share: that of all rows below them, of at most all but one.
    shares = np.full(len(values), np.nan)
    below = np.searchsorted(np.sort(known), known, side="left")
    shares[~np.isnan(values)] = below / max(1, len(known) - 1)
    return shares
