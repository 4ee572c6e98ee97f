"""What a trained method says of every label, and the verdict that is made of it and the audit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tamis.auditing import Audit
from tamis.auditing.opinion import Opinion, with_opinion
from tamis.engine import Training, predicted
from tamis.errors import RunError, TamisError
from tamis.reporting.wording import counted
from tamis.training.knowledge import Knowledge
from tamis.training.preparing import Prepared


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
    beliefs = np.full((n, n_classes), 1 / n_classes, dtype=np.float32)
    scores = np.full(n, np.nan)
    verdict = training.verdict()
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
