"""What detectors on crowd answers share: results by task, by answer and by worker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tamis.crowd.answers import Answers, as_answers
from tamis.crowd.ids import code_among
from tamis.crowd.majority import majority_labels
from tamis.detectors.base import Detector
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray

Ids = npt.NDArray[np.generic]


class CrowdFindings(NamedTuple):
    """What was found: answers, (T, K) posteriors, (A,) worker qualities, (T,) labels where decided."""

    answers: Answers
    posteriors: FloatArray
    worker_quality: FloatArray
    consensus: IntArray | None = None


class CrowdDetector(Detector):
    """Detector on the answers of several annotators; its rows are the tasks.

    Attributes
    ----------
    clean_scores_ : (T,) float64 array in [0, 1]
        Probability that the given label of each task is right; 0 = surely wrong.
    suggested_labels_ : (T,) array
        The most likely class of each task; the given label in a tie.
    is_issue_ : (T,) bool array
        Tasks whose suggested label is not the given one.
    given_labels_ : (T,) array
        The labels that were judged: those handed to ``fit``, else the majority of the answers.
    posteriors_ : (T, K) float64 array
    answer_scores_ : (n,) float64 array in [0, 1]
        Probability that each single answer is right, in the order of the answers.
    worker_quality_ : (A,) float64 array in [0, 1]
        Expected share of right answers of each worker.
    tasks_, workers_, classes_ : arrays
        Ids, in the order of the arrays above.
    """

    is_issue_: BoolArray
    given_labels_: Ids
    posteriors_: FloatArray
    answer_scores_: FloatArray
    worker_quality_: FloatArray
    tasks_: Ids
    workers_: Ids
    answers_: Answers
    _given: Mapping[object, object] | None = None

    def __getattr__(self, name: str) -> object:
        """Work out results that answers were collected for, when they are first asked for."""
        is_result = name.endswith("_") and not name.startswith("_")
        if is_result and "clean_scores_" not in vars(self) and self._has_answers():
            self._publish(self._find())
            return getattr(self, name)
        return super().__getattr__(name)

    @abstractmethod
    def _has_answers(self) -> bool:
        """Return whether there is anything to find results from."""

    @abstractmethod
    def _find(self) -> CrowdFindings:
        """Run the arithmetic over everything collected."""

    def score(self, answers: object) -> FloatArray:
        """Return the probability that each answer is right.

        Parameters
        ----------
        answers : see `tamis.crowd.as_answers`
            About tasks that were fitted; they are not added.

        Returns
        -------
        (n,) float64 array in [0, 1], in the order of the answers that have a label

        Raises
        ------
        InputError
            A task or a label was not seen before.
        """
        asked = as_answers(answers)
        task = code_among(asked.tasks, self.tasks_, "task")
        label = code_among(asked.classes, self.classes_, "label")
        for name, codes, ids in (("task", task, asked.tasks), ("label", label, asked.classes)):
            if (codes < 0).any():
                stray = ids.tolist()[int(np.argmax(codes < 0))]
                raise InputError(f"{name} {stray!r} was never fitted; add its answers by partial_fit first")
        scores: FloatArray = self.posteriors_[task[asked.task], label[asked.label]]
        return scores

    def _forget(self) -> None:
        """Drop published results; they are worked out again when asked for."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _publish(self, found: CrowdFindings) -> Self:
        answers, posteriors = found.answers, found.posteriors
        self.tasks_, self.workers_, self.classes_ = answers.tasks, answers.workers, answers.classes
        self.answers_ = answers
        given = majority_labels(answers)
        if self._given is not None:
            given = _given_codes(answers, self._given, given)
        own = posteriors[np.arange(len(given)), given]
        best = posteriors.argmax(axis=1) if found.consensus is None else found.consensus
        likeliest = posteriors[np.arange(len(best)), best]
        suggested = np.where(own >= likeliest, given, best)
        self.given_labels_ = self.classes_[given]
        self.posteriors_ = posteriors
        self.answer_scores_ = posteriors[answers.task, answers.label]
        self.worker_quality_ = found.worker_quality
        self.is_issue_ = suggested != given
        self.suggested_labels_ = self.classes_[suggested]
        self.clean_scores_ = np.clip(own, 0.0, 1.0)
        return self


def _given_codes(answers: Answers, labels: Mapping[object, object], default: IntArray) -> IntArray:
    task = code_among(list(labels.keys()), answers.tasks, "given_labels")
    label = code_among(list(labels.values()), answers.classes, "given_labels")
    if (label < 0).any():
        stray = list(labels.values())[int(np.argmax(label < 0))]
        raise InputError(
            f"given_labels holds {stray!r}, which no answer names; pass classes= with every possible class"
        )
    codes = default.copy()
    codes[task[task >= 0]] = label[task >= 0]
    return codes


def answers_of(value: object, classes: Sequence[object] | None) -> Answers:
    """Return `tamis.crowd.as_answers` of a value."""
    return as_answers(value, classes=classes)
