"""Suspicion: annotators and a classifier, each trusted as far as it deserves, favour another label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import pandas as pd

from tamis.crowd.answers import Answers, as_answers
from tamis.crowd.consensus import Consensus
from tamis.crowd.crowdlab import crowdlab
from tamis.crowd.ids import code_among
from tamis.detectors.base import DETECTORS
from tamis.detectors.crowd_detector import CrowdDetector, CrowdFindings
from tamis.errors import InputError
from tamis.registry import Facts
from tamis.statistics.probabilities import ArrayLike, check_probabilities
from tamis.types import FloatArray


@DETECTORS.register(
    "crowdlab",
    Facts(
        title="CROWDLAB",
        inputs=("answers", "pred_probs"),
        task="crowd",
        year=2022,
        paper="Goh, Tkachenko, Mueller: CROWDLAB, arXiv 2210.06812",
    ),
)
class Crowdlab(CrowdDetector):
    """Crowd labels judged by the annotators and a classifier together.

    For few answers a task: the classifier speaks where annotators do not. Not for a classifier that has seen
    the labels: its probabilities must be out of sample.

    Parameters
    ----------
    calibrate : bool, default=False
        First fit one temperature of the probabilities to the answers.

    Attributes
    ----------
    clean_scores_ : (T,) float64 array in [0, 1]
        Posterior of the given label of each task (by default the majority).
    suggested_labels_, given_labels_ : (T,) arrays
    is_issue_ : (T,) bool array
    posteriors_ : (T, K) float64 array
    answer_scores_ : (n,) float64 array in [0, 1]
    worker_quality_ : (A,) float64 array in [0, 1]
    consensus_ : Consensus
        Everything the method finds, weights included.
    tasks_, workers_, classes_ : arrays

    References
    ----------
    .. [1] H. W. Goh, U. Tkachenko, J. Mueller. "CROWDLAB: Supervised learning to infer consensus labels and
       quality scores for data with multiple annotators", arXiv 2210.06812, 2022.

    Examples
    --------
    >>> answers = np.array([[0, 0, 1], [1, 1, 1], [0, 1, -1], [0, -1, 0]])
    >>> probs = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]]
    >>> Crowdlab().fit(answers, probs).suggested_labels_
    array([0, 1, 1, 0])
    """

    consensus_: Consensus

    def __init__(self, *, calibrate: bool = False) -> None:
        self.calibrate = calibrate

    def fit(
        self,
        answers: object,
        pred_probs: ArrayLike | pd.DataFrame,
        *,
        given_labels: Mapping[object, object] | None = None,
    ) -> Self:
        """Judge every task.

        Parameters
        ----------
        answers : Answers, table, (task, worker, label) or (tasks, annotators) matrix
            See `tamis.crowd.as_answers`. Every task and worker needs an answer.
        pred_probs : (T, K) float or data frame
            Out of sample. An array has its rows in the order of the sorted task ids and its columns in the
            order of the sorted classes (0..K-1 where labels are numbers); a data frame is matched by its
            index (task ids) and column names (classes).
        given_labels : mapping of task to label, optional
            The labels to judge; default: the majority of the answers.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Tasks without probabilities, other columns than classes, or see `tamis.crowd.crowdlab.crowdlab`.
        """
        self._forget()
        self._given = given_labels
        judged, probs = match_probabilities(answers, pred_probs)
        found = crowdlab(judged, probs, calibrate=self.calibrate)
        self._publish(CrowdFindings(judged, found.posteriors, found.worker_quality, found.labels))
        self.consensus_ = found
        return self

    def _has_answers(self) -> bool:
        return False

    def _find(self) -> CrowdFindings:
        raise NotImplementedError  # the weights need all tasks: nothing is collected piece by piece


def match_probabilities(answers: object, pred_probs: ArrayLike | pd.DataFrame) -> tuple[Answers, FloatArray]:
    """Return answers and probabilities whose rows are the tasks and whose columns are the classes.

    Raises
    ------
    InputError
        A task has no row or a class no column.
    """
    if isinstance(pred_probs, pd.DataFrame):
        judged = as_answers(answers, classes=pred_probs.columns.to_numpy())
        rows = code_among(judged.tasks, pred_probs.index.to_numpy(), "pred_probs")
        columns = code_among(judged.classes, pred_probs.columns.to_numpy(), "pred_probs")
        for name, codes, ids in (("task", rows, judged.tasks), ("class", columns, judged.classes)):
            if (codes < 0).any():
                stray = ids.tolist()[int(np.argmax(codes < 0))]
                raise InputError(
                    f"pred_probs has nothing for {name} {stray!r}; index it by task "
                    "ids and name its columns by classes"
                )
        return judged, check_probabilities(pred_probs.to_numpy()[rows][:, columns])
    probs = check_probabilities(pred_probs)
    judged = as_answers(answers)
    if judged.classes.dtype.kind in "iu":
        # Numbers name columns, also those that nobody answered.
        judged = as_answers(_as_columns(judged), classes=np.arange(probs.shape[1]))
    return judged, probs


def _as_columns(answers: Answers) -> tuple[object, object, object]:
    return (
        answers.tasks[answers.task],
        answers.workers[answers.worker],
        answers.classes[answers.label],
    )
