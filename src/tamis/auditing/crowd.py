"""The audit of a table of crowd answers: one row of the issue table for each task, and the annotators."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tamis.auditing.crowd_evidence import CrowdEvidence, weigh_answers
from tamis.auditing.crowd_table import CrowdTable, given_codes
from tamis.auditing.evidence import Evidence
from tamis.auditing.material import Material
from tamis.auditing.other_issues import find_other_issues
from tamis.auditing.result import Audit
from tamis.auditing.rows import Rows
from tamis.auditing.run_folder import write_run
from tamis.auditing.summing_up import summarise
from tamis.auditing.table import build_table
from tamis.crowd.answers import Answers
from tamis.crowd.majority import majority_labels, vote_counts
from tamis.data import Dataset, from_arrays
from tamis.types import FloatArray, IntArray

NO_ANSWER = "no answer"


def audit_crowd(
    table: CrowdTable,
    features: object = None,
    pred_probs: object = None,
    *,
    out: Path | None = None,
    seed: int = 0,
    config: Mapping[str, object],
) -> Audit:
    """Judge the label of every task: the majority of its answers, or the column of given labels.

    Parameters
    ----------
    table : CrowdTable
    features : (T, d) float, optional
        Rows in the order in which tasks first occur. Probabilities are learned from them out of sample.
    pred_probs : (T, K) float or data frame, optional
        Out of sample; an array in the same order, a data frame by task ids and class names.
    out : path, optional
        An opened run folder.
    seed : int
        Recorded only.
    config : mapping
        For run.json.

    Returns
    -------
    Audit
        With ``annotators``: worker, n_answers, quality.
    """
    started, start = datetime.now(UTC), time.perf_counter()
    answers, order = table.answers, table.order
    has_answers = np.bincount(answers.task, minlength=answers.n_tasks) > 0
    given = given_codes(table, majority_labels(answers))
    found = weigh_answers(answers, given, order=order, features=features, pred_probs=pred_probs)
    dataset = _dataset(answers, given, has_answers, order, table.source)
    nothing = np.zeros((answers.n_tasks, 2), dtype=np.uint64)
    material = Material(dataset, None, None, nothing, {}, table.notes)
    asked = order[has_answers[order]]
    rows = _rows(given[asked], np.flatnonzero(has_answers[order]), answers)
    evidence = _evidence(found, given, asked, answers)
    issues = build_table(
        material, rows, evidence, find_other_issues(material, rows, None, evidence.posterior)
    )
    seconds = {"answers": round(time.perf_counter() - start, 3)}
    summary = summarise(
        issues,
        rows,
        evidence,
        class_names=dataset.class_names,
        notes=[*table.notes, *evidence.notes],
        timings=seconds,
    )
    people = _annotators(answers, found.worker_quality)
    result = Audit(issues, summary, dataset=dataset, annotators=people, random_state=seed)
    if out is None:
        return result
    result = replace(result, path=out)
    write_run(result, out, started=started, config=config, input_hash=_hash(answers, found), timings=seconds)
    return result


def _dataset(
    answers: Answers, given: IntArray, has_answers: np.ndarray, order: IntArray, source: str
) -> Dataset:
    names = answers.classes.tolist()
    labels = [names[given[task]] if has_answers[task] else None for task in order]
    shares = np.full((answers.n_tasks, answers.n_classes), 1 / answers.n_classes)
    ids = [str(task) for task in answers.tasks[order].tolist()]
    if not all(isinstance(name, str | int) for name in names):
        names = [str(name) for name in names]
        labels = [None if label is None else str(label) for label in labels]
    return from_arrays(None, labels, shares, ids=ids, class_names=names, source=source)


def _rows(given: IntArray, places: IntArray, answers: Answers) -> Rows:
    nobody = np.full(answers.n_tasks, -1, dtype=np.int64)
    reasons = np.full(answers.n_tasks, NO_ANSWER, dtype=object)
    reasons[places] = None
    return Rows(places, given, np.arange(answers.n_classes), nobody, nobody, reasons)


def _evidence(found: CrowdEvidence, given: IntArray, asked: IntArray, answers: Answers) -> Evidence:
    own = given[asked]
    posterior: FloatArray = found.posteriors[asked].astype(np.float32)  # as the table shows it
    scores = {name: values[asked, own] for name, values in found.pieces.items()}
    everything = np.stack([posterior[np.arange(len(own)), own], *scores.values()])
    return Evidence(
        posterior,
        everything.min(axis=0).clip(0.0, 1.0),
        everything.max(axis=0).clip(0.0, 1.0),
        scores,
        _transition(posterior, own, answers.n_classes),
        found.notes,
    )


def _transition(posterior: FloatArray, given: IntArray, n_classes: int) -> FloatArray:
    """Return P(given | true), (K, K), from the posterior mass of each given label."""
    joint = np.stack(
        [posterior[given == code].sum(axis=0, dtype=np.float64) for code in range(n_classes)], axis=1
    )
    transition: FloatArray = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
    return transition


def _annotators(answers: Answers, quality: FloatArray) -> pa.Table:
    counts = np.bincount(answers.worker, minlength=answers.n_workers)
    votes = vote_counts(answers)
    is_shared = votes.sum(axis=1)[answers.task] > 1
    alone = np.bincount(answers.worker, weights=~is_shared, minlength=answers.n_workers)
    frame = pd.DataFrame(
        {
            "worker": [str(worker) for worker in answers.workers.tolist()],
            "n_answers": counts,
            "n_alone": alone.astype(np.int64),
            "quality": quality,
        }
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


def _hash(answers: Answers, found: CrowdEvidence) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for codes in (answers.task, answers.worker, answers.label):
        digest.update(np.ascontiguousarray(codes, dtype=np.int64).tobytes())
    for ids in (answers.tasks, answers.workers, answers.classes):
        digest.update("\0".join(map(str, ids.tolist())).encode())
    digest.update(np.ascontiguousarray(found.posteriors).tobytes())
    return digest.hexdigest()
