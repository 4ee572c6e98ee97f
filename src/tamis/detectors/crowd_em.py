"""What detectors on crowd answers share that fit a model of the workers: collect, solve, fold in, refine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from tamis.crowd.em import Model
from tamis.crowd.fit import GoldLabels
from tamis.crowd.said import Said
from tamis.crowd.state import CrowdState
from tamis.detectors.crowd_detector import CrowdDetector, CrowdFindings, answers_of
from tamis.errors import InputError
from tamis.types import FloatArray


class CrowdModelDetector(CrowdDetector):
    """Crowd detector that fits a model of the workers by expectation maximisation.

    A subclass names the model.

    Parameters
    ----------
    gold : mapping of task to class, optional
        True classes that are known.
    classes : sequence, optional
        All classes in the order wanted; default: those that occur, sorted.
    n_iter : int, default=100
        Iterations at most.
    tol : float, default=1e-5
        Stops when the bound on the log-likelihood grows by less, per answer.
    """

    def __init__(
        self,
        *,
        gold: GoldLabels | None = None,
        classes: Sequence[object] | None = None,
        n_iter: int = 100,
        tol: float = 1e-5,
    ) -> None:
        self.gold = gold
        self.classes = classes
        self.n_iter = n_iter
        self.tol = tol
        self._state: CrowdState | None = None

    def fit(self, answers: object, *, given_labels: Mapping[object, object] | None = None) -> Self:
        """Fit from the start.

        Parameters
        ----------
        answers : Answers, table, (task, worker, label) or (tasks, annotators) matrix
            See `tamis.crowd.as_answers`.
        given_labels : mapping of task to label, optional
            The labels to judge; default: the majority of the answers, also for tasks that are not listed.

        Returns
        -------
        self

        Raises
        ------
        InputError
            See `tamis.crowd.Answers.from_arrays` and `tamis.crowd.dawid_skene.dawid_skene`.
        """
        self._forget()
        self._given = given_labels
        self._state = self._new_state().partial_fit(answers_of(answers, self.classes)).solve()
        return self._publish(self._find())

    def partial_fit(self, answers: object) -> Self:
        """Add answers.

        Before there are results, answers are collected, and the first result asked for is that of `fit` on
        all of them. Afterwards they are folded in at a cost that depends on them alone: the tasks they touch
        and the qualities of all workers are brought up to date, other tasks wait for `refine`.
        """
        state = self._new_state() if self._state is None else self._state
        self._state = state.partial_fit(answers_of(answers, self.classes))
        self._forget()
        return self

    def merge(self, other: CrowdModelDetector) -> Self:
        """Add the answers of another detector, as `partial_fit` would."""
        if type(other) is not type(self):
            raise InputError(f"{type(other).__name__} cannot be merged into {type(self).__name__}")
        if other._state is not None:
            state = self._new_state() if self._state is None else self._state
            self._state = state.merge(other._state)
            self._forget()
        return self

    def refine(self, *, n_iter: int | None = None, tol: float | None = None) -> Self:
        """Go on from the present posteriors over all tasks until the bound stops growing."""
        if self._state is None:
            raise InputError("there are no answers to refine; call fit or partial_fit first")
        self._state.refine(n_iter=n_iter, tol=tol)
        self._forget()
        return self

    @property
    def error_tensor_(self) -> FloatArray:
        """(A, K, K) errors: worker, label given, true class; 0 for labels that a worker never gave."""
        self._find()
        assert self._state is not None
        return self._state.fit.error_tensor()

    @staticmethod
    @abstractmethod
    def _make_model(said: Said) -> Model:
        """Return the M-step for the (worker, label) pairs that occur."""

    def _new_state(self) -> CrowdState:
        return CrowdState(type(self)._make_model, gold=self.gold, n_iter=self.n_iter, tol=self.tol)

    def _has_answers(self) -> bool:
        state = vars(self).get("_state")
        return isinstance(state, CrowdState) and state.n_answers > 0

    def _find(self) -> CrowdFindings:
        assert self._state is not None
        if not self._state.is_solved:
            self._state.solve()
        found = self._state.fit
        return CrowdFindings(self._state.answers, found.posteriors, found.worker_quality)
