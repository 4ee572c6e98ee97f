"""What crowd answers say about the label of each task, alone or beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from tamis.crowd.answers import Answers
from tamis.crowd.consensus import majority_consensus
from tamis.crowd.crowdlab import crowdlab
from tamis.crowd.dawid_skene import dawid_skene
from tamis.crowd.ids import code_among
from tamis.crowd.majority import vote_shares
from tamis.crowd.one_coin import one_coin
from tamis.crowd.tempering import held_out_temperature, tempered_posteriors
from tamis.data import feature_digests
from tamis.data.arrays import as_array
from tamis.errors import InputError
from tamis.statistics.folds import assign_folds
from tamis.statistics.logistic import CrossValidatedLogistic, standardise
from tamis.statistics.probabilities import check_probabilities
from tamis.types import BoolArray, FloatArray, IntArray

_N_FOLDS = 5


@dataclass(frozen=True)
class CrowdEvidence:
    """What was found about all tasks, by code.

    Attributes
    ----------
    posteriors : (T, K) float64
        P(true class).
    pieces : mapping of name to (T, K) float array
        Every piece of evidence; the column of the given label is shown.
    worker_quality : (A,) float64
    notes : tuple of str
    """

    posteriors: FloatArray
    pieces: Mapping[str, FloatArray]
    worker_quality: FloatArray
    notes: tuple[str, ...]


def weigh_answers(
    answers: Answers, given: IntArray, *, order: IntArray, features: object, pred_probs: object
) -> CrowdEvidence:
    """Return Dawid-Skene's posteriors, tempered; CROWDLAB's where there is a model or features."""
    found = dawid_skene(answers)
    pieces = {
        "answer_share": vote_shares(answers),
        "dawid_skene": found.posteriors,
        "one_coin": one_coin(answers).posteriors,
    }
    has_answers = np.bincount(answers.task, minlength=answers.n_tasks) > 0
    if features is None and pred_probs is None:
        temperature = held_out_temperature(answers, found)
        notes: tuple[str, ...] = (
            "Labels are judged by the answers of the annotators alone (Dawid-Skene). Annotators who err on "
            "the same hard tasks make it too sure; that is allowed for as far as answers left out tell "
            f"(temperature {temperature:g}), errors that all share are not seen.",
        )
        if not found.converged:
            notes += ("The model of the annotators had not converged after 100 iterations.",)
        posteriors = tempered_posteriors(found.posteriors, temperature)
        return CrowdEvidence(posteriors, pieces, found.worker_quality, notes)
    asked = _subset(answers, has_answers)
    if pred_probs is not None:
        probs = _matched(pred_probs, answers, order)[has_answers]
    else:
        probs = _learned(_in_order(features, answers, order)[has_answers], majority_consensus(asked), asked)
    judged = crowdlab(asked, probs, calibrate=True)
    posteriors = np.full((answers.n_tasks, answers.n_classes), 1 / answers.n_classes)
    posteriors[has_answers] = judged.posteriors
    model = np.full_like(posteriors, 1 / answers.n_classes)
    model[has_answers] = probs
    notes = ("Labels are judged by the annotators and a model together (CROWDLAB).", *judged.notes)
    return CrowdEvidence(posteriors, {**pieces, "self_confidence": model}, judged.worker_quality, notes)


def _subset(answers: Answers, has_answers: BoolArray) -> Answers:
    if has_answers.all():
        return answers
    return Answers.from_arrays(
        answers.tasks[answers.task],
        answers.workers[answers.worker],
        answers.classes[answers.label],
        classes=answers.classes,
    )


def _matched(pred_probs: object, answers: Answers, order: IntArray) -> FloatArray:
    if not isinstance(pred_probs, pd.DataFrame):
        probs = check_probabilities(as_array(pred_probs), n_classes=answers.n_classes)
        return _by_code(probs, answers, order, "pred_probs")
    rows = code_among(answers.tasks, pred_probs.index.to_numpy(), "pred_probs")
    columns = code_among(answers.classes, pred_probs.columns.to_numpy(), "pred_probs")
    for name, codes, ids in (("task", rows, answers.tasks), ("class", columns, answers.classes)):
        if (codes < 0).any():
            stray = ids.tolist()[int(np.argmax(codes < 0))]
            raise InputError(f"pred_probs has nothing for {name} {stray!r}; index it by task ids")
    return check_probabilities(pred_probs.to_numpy()[rows][:, columns])


def _in_order(features: object, answers: Answers, order: IntArray) -> FloatArray:
    matrix = as_array(features)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise InputError(
            f"features has shape {matrix.shape} and type {matrix.dtype}; expected finite numbers (tasks, d)"
        )
    return _by_code(matrix.astype(np.float32), answers, order, "features")


def _by_code(matrix: FloatArray, answers: Answers, order: IntArray, name: str) -> FloatArray:
    """Return rows that are in the order in which tasks first occur in the order of their codes."""
    if len(matrix) != answers.n_tasks:
        raise InputError(
            f"{name} has {len(matrix)} rows, the table {answers.n_tasks} tasks; give one row a task, in the "
            "order in which the tasks first occur"
        )
    placed = np.empty_like(matrix)
    placed[order] = matrix
    return placed


def _learned(features: FloatArray, labels: IntArray, answers: Answers) -> FloatArray:
    """Return out-of-sample probabilities of the consensus, learned on rows in an order of their content."""
    digests = feature_digests(features)
    place = np.lexsort((labels, digests[:, 1], digests[:, 0]))
    _, copies = np.unique(digests[place], axis=0, return_inverse=True)
    folds = assign_folds(labels[place], copies.astype(np.int64), _N_FOLDS)
    model = CrossValidatedLogistic(standardise(features[place]), folds)
    logits = model.logits(np.eye(answers.n_classes, dtype=np.float32)[labels[place]], "answers")
    probs = np.empty((len(labels), answers.n_classes))
    probs[place] = torch.softmax(logits.double(), dim=1).numpy()
    probs /= probs.sum(axis=1, keepdims=True)
    return probs
