"""Suspicion: most annotators say something else than the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from tamis.crowd.answers import Answers, join_answers
from tamis.crowd.consensus import worker_agreement
from tamis.crowd.majority import majority_labels, vote_shares
from tamis.detectors.base import DETECTORS
from tamis.detectors.crowd_detector import CrowdDetector, CrowdFindings, answers_of
from tamis.registry import Facts


@DETECTORS.register("majority_vote", Facts(title="Majority of annotators", inputs=("answers",), task="crowd"))
class MajorityVote(CrowdDetector):
    """Crowd labels judged by the share of answers that agree.

    All annotators count the same: the baseline. `DawidSkene` and `OneCoin` weigh them.

    Parameters
    ----------
    classes : sequence, optional
        All classes in the order wanted; default: those that occur, sorted.

    Attributes
    ----------
    clean_scores_ : (T,) float64 array in [0, 1]
        Share of the answers that equal the given label of the task (by default the majority itself).
    suggested_labels_, given_labels_ : (T,) arrays
    is_issue_ : (T,) bool array
    posteriors_ : (T, K) float64 array
        Vote shares.
    answer_scores_ : (n,) float64 array in [0, 1]
    worker_quality_ : (A,) float64 array in [0, 1]
        Share of each worker's answers that equal the majority.
    tasks_, workers_, classes_ : arrays

    Examples
    --------
    >>> detector = MajorityVote().fit(np.array([[0, 0, 1], [1, 1, 1]]), given_labels={0: 1})
    >>> detector.clean_scores_.round(2), detector.suggested_labels_
    (array([0.33, 1.  ]), array([0, 1]))
    """

    def __init__(self, *, classes: Sequence[object] | None = None) -> None:
        self.classes = classes
        self._parts: list[Answers] = []

    def fit(self, answers: object, *, given_labels: Mapping[object, object] | None = None) -> Self:
        """Count votes; the arguments are those of `DawidSkene.fit`."""
        self._parts, self._given = [], given_labels
        self.partial_fit(answers)
        return self._publish(self._find())

    def partial_fit(self, answers: object) -> Self:
        """Add answers."""
        self._parts.append(answers_of(answers, self.classes))
        self._forget()
        return self

    def merge(self, other: MajorityVote) -> Self:
        """Add the answers of another detector."""
        self._parts += other._parts
        self._forget()
        return self

    def _has_answers(self) -> bool:
        return bool(vars(self).get("_parts"))

    def _find(self) -> CrowdFindings:
        answers = join_answers(self._parts)
        majority = majority_labels(answers)
        everywhere = np.ones(answers.n_tasks, dtype=bool)
        return CrowdFindings(answers, vote_shares(answers), worker_agreement(answers, majority, everywhere))
