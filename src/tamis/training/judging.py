"""What a trained method says of every label, and the verdict that is made of it and the audit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tamis.auditing import Audit, audit
from tamis.auditing.opinion import Opinion, with_opinion, with_scores
from tamis.engine import Training, predicted
from tamis.errors import RunError, TamisError
from tamis.reporting.wording import counted
from tamis.training.knowledge import Knowledge
from tamis.training.preparing import Prepared
from tamis.types import FloatArray


def opinion_of(training: Training, prepared: Prepared, name: str) -> Opinion:
    """Return what the method believes about every row of the data set; NaN scores where a row is unusable.

    Rows that were held out get what the trained network predicts for them.

    Raises
    ------
    RunError
        The network's answers are not finite.
    """
    n, n_classes = len(prepared.source.dataset), training.material.n_classes
    device = training.fabric.device
    scores = np.full(n, np.nan)
    verdict = training.verdict()
    if not verdict.beliefs.shape[1]:
        scores[prepared.rows] = verdict.clean_scores.double().cpu().numpy()
        return Opinion(name, np.zeros((n, 0), dtype=np.float32), scores)
    beliefs = np.full((n, n_classes), 1 / n_classes, dtype=np.float32)
    if not bool(torch.isfinite(verdict.beliefs).all()):
        raise RunError(
            "the trained network answers with NaN: training has diverged at its end. Lower the learning "
            f"rate (now {training.recipe.lr:g}), set clip_norm, or look for huge values in the inputs"
        )
    rows, held = prepared.rows, prepared.held
    beliefs[rows] = verdict.beliefs.float().cpu().numpy()
    scores[rows] = verdict.clean_scores.double().cpu().numpy()
    if len(held):
        examples = prepared.chosen(held, device)
        blocks = predicted(training.method, examples, training.feeder, training.fabric.autocast)
        found = torch.cat([block.logits.softmax(dim=1) for block in blocks]).cpu().numpy()
        beliefs[held] = found
        given = prepared.source.labels[held]
        own = found[np.arange(len(given)), np.maximum(given, 0)]
        scores[held] = np.where(given >= 0, own, np.nan)
    is_held_out = np.zeros(n, dtype=np.bool_)
    is_held_out[held] = True
    return Opinion(name, beliefs, scores, is_held_out)


def judged(prepared: Prepared, opinion: Opinion, knowledge: Knowledge | None) -> Audit:
    """Return the verdict; training is not lost where the audit beside it cannot be made.

    Parameters
    ----------
    prepared : Prepared
    opinion : Opinion
    knowledge : Knowledge or None
        Holds or makes the audit; None: the verdict is the method's alone.
    """
    evidence, notes, unreadable = None, [], prepared.source.unreadable
    if knowledge is not None:
        try:
            evidence = knowledge.audit
        except TamisError as error:
            notes.append(f"No audit could be made of the data ({error}): the verdict is the method's alone.")
    # Rows that only turned out while they were decoded are rows of the issue table, too.
    dataset = replace(prepared.source.dataset, problems=dict(unreadable))
    found = with_opinion(dataset, evidence, opinion)
    if unreadable and evidence is None:
        notes.append(f"{counted(len(unreadable), 'row')} could not be read, and not be trained on.")
    summary = replace(found.summary, notes=(*found.summary.notes, *notes))
    return replace(found, summary=summary, dataset=dataset)


def judged_by_embeddings(training: Training, prepared: Prepared, opinion: Opinion) -> Audit:
    """Return the audit of the identities in the embeddings that were trained on them.

    Raises
    ------
    RunError
        The embeddings are not finite.
    """
    embeddings = _embeddings(training, prepared)
    dataset = replace(prepared.source.dataset, problems=dict(prepared.source.unreadable))
    found = audit(replace(dataset, features={"embedding": embeddings}), task="retrieval")
    note = (
        f"The labels were judged in the embeddings of {opinion.name}, which was trained on them: what it has "
        "learned by heart counts as right. An audit of the data before the training knows nothing of that."
    )
    summary = replace(found.summary, notes=(*found.summary.notes, note))
    issues = with_scores(found.issues, opinion)
    return replace(found, issues=issues, summary=summary, dataset=dataset)


def _embeddings(training: Training, prepared: Prepared) -> FloatArray:
    """Return the embedding of every row of the data set, (n, d) float32; zeros where it cannot be read."""
    source, training_set = prepared.source, training.scan
    rows = [block.outputs.features for block in training_set.blocks()]
    if not all(bool(torch.isfinite(part).all()) for part in rows):
        raise RunError(
            "the trained network's embeddings are not finite: training has diverged at its end. Lower the "
            f"learning rate (now {training.recipe.lr:g}), set clip_norm, or look for huge values in the data"
        )
    found = np.zeros((len(source.dataset), rows[0].shape[1]), dtype=np.float32)
    found[prepared.rows] = torch.cat(rows).cpu().numpy()
    if len(prepared.held):
        examples = prepared.chosen(prepared.held, training.fabric.device)
        blocks = predicted(training.method, examples, training.feeder, training.fabric.autocast)
        found[prepared.held] = torch.cat([block.features for block in blocks]).cpu().numpy()
    return found
