"""Other tools in the detection benchmark, each with its own defaults; called by `tamis bench`.

A function takes the inputs that its parameters name and returns ``clean_scores`` (higher = cleaner), and
``is_issue`` and ``suggested`` where the tool has them. Libraries are imported when this file is loaded, so
that the figures are of the arithmetic alone.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pandas as pd

with suppress(ImportError):
    import cleanlab.filter
    import cleanlab.multiannotator
    import cleanlab.rank
with suppress(ImportError):
    import crowdkit.aggregation.classification.dawid_skene

Arrays = dict[str, npt.NDArray[np.generic]]


def cleanlab_self_confidence(labels: npt.NDArray[np.int64], pred_probs: npt.NDArray[np.float64]) -> Arrays:
    """Quality scores and issues by cleanlab's defaults on the same out-of-sample probabilities."""
    return _cleanlab(labels, pred_probs, "self_confidence")


def cleanlab_normalized_margin(labels: npt.NDArray[np.int64], pred_probs: npt.NDArray[np.float64]) -> Arrays:
    return _cleanlab(labels, pred_probs, "normalized_margin")


def cleanlab_crowdlab(
    answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], pred_probs: npt.NDArray[np.float64]
) -> Arrays:
    """Quality of the given label, as of an answer that equals it; needs a column for each annotator."""
    table = pd.DataFrame(answers, columns=["task", "worker", "label"])
    wide = table.drop_duplicates(["task", "worker"]).pivot(index="task", columns="worker", values="label")
    said = wide.to_numpy(dtype=np.float64)
    found = cleanlab.multiannotator.get_label_quality_multiannotator(said, pred_probs, verbose=False)
    consensus = found["label_quality"]["consensus_label"].to_numpy().astype(np.int64)
    quality = found["detailed_label_quality"].to_numpy(dtype=np.float64)
    # The majority is always somebody's answer.
    scores = np.where(said == labels[:, None], quality, -np.inf).max(axis=1)
    return {"clean_scores": scores, "is_issue": consensus != labels, "suggested": consensus}


def crowd_kit_dawid_skene(answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> Arrays:
    """Posterior of the given label of each task."""
    table = pd.DataFrame(answers, columns=["task", "worker", "label"])
    model = crowdkit.aggregation.classification.dawid_skene.DawidSkene(n_iter=100, tol=1e-5).fit(table)
    probs = model.probas_.sort_index()
    suggested = probs.columns.to_numpy()[probs.to_numpy().argmax(axis=1)]
    column = pd.Index(probs.columns).get_indexer(labels)
    scores = probs.to_numpy()[np.arange(len(labels)), column]
    return {"clean_scores": scores, "is_issue": suggested != labels, "suggested": suggested}


def _cleanlab(labels: npt.NDArray[np.int64], pred_probs: npt.NDArray[np.float64], method: str) -> Arrays:
    return {
        "clean_scores": cleanlab.rank.get_label_quality_scores(labels, pred_probs, method=method),
        "is_issue": cleanlab.filter.find_label_issues(labels, pred_probs),
        "suggested": pred_probs.argmax(axis=1),
    }
