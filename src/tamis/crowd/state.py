"""Crowd answers that keep coming: collect, solve, fold in what is new, refine."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np
import scipy.sparse as sp

from tamis.crowd.answers import Answers, join_answers
from tamis.crowd.em import Beliefs, Gold, begin, expected_counts, iterate
from tamis.crowd.fit import (
    CrowdFit,
    GoldLabels,
    MakeModel,
    check_iterations,
    crowd_fit,
    fit_crowd,
    gold_codes,
)
from tamis.crowd.folding import fold_in
from tamis.crowd.ids import join_ids
from tamis.crowd.said import Said
from tamis.errors import InputError, NotFittedError
from tamis.types import BoolArray, FloatArray, IntArray

_WORKER = 2**32  # a pair (worker, label) is numbered worker * 2**32 + label


class CrowdState:
    """Answers collected block by block, and a model of them that is kept up to date.

    Until it is solved a state only collects: any blocks in any order of adding and merging give the result of
    one run over all answers. Once solved it folds new answers in: the posteriors of the tasks they are about,
    and the errors of all workers, are brought up to date; other posteriors wait for `refine`.

    Parameters
    ----------
    make_model : callable
        `tamis.crowd.dawid_skene.confusion_model` or `tamis.crowd.one_coin.coin_model`.
    gold : mapping of task to class, optional
    n_iter, tol : int, float
        As for `tamis.crowd.dawid_skene.dawid_skene`.

    Notes
    -----
    Folding in is expectation maximisation with a partial E-step: the bound on the log-likelihood of all
    answers never falls [1]_. It costs time in proportion to the answers about the touched tasks. `refine`
    goes on over all tasks, from where the state is, until the bound grows by less than ``tol``; it ends at
    the maximum that a full run finds, unless the likelihood has several.

    References
    ----------
    .. [1] R. M. Neal, G. E. Hinton. "A view of the EM algorithm that justifies incremental, sparse, and other
       variants", Learning in Graphical Models, 1998.

    Examples
    --------
    >>> from tamis.crowd.dawid_skene import confusion_model
    >>> state = CrowdState(confusion_model)
    >>> state = state.partial_fit(Answers.from_arrays([1, 1, 2, 2, 3, 3], list("abaaba"), [0, 0, 1, 1, 0, 0]))
    >>> state.solve().fit.labels
    array([0, 1, 0])
    >>> state.partial_fit(Answers.from_arrays([4, 4], ["a", "b"], [1, 1])).fit.labels
    array([0, 1, 0, 1])
    """

    def __init__(
        self,
        make_model: MakeModel,
        *,
        gold: GoldLabels | None = None,
        n_iter: int = 100,
        tol: float = 1e-5,
    ) -> None:
        check_iterations(n_iter, tol)
        self.make_model = make_model
        self.gold = gold
        self.n_iter = n_iter
        self.tol = tol
        self._parts: list[Answers] = []  # as they came, until solved; then coded by the ids of _now
        self._now: Answers | None = None  # ids of the solved state, without any answers in it
        self._beliefs: Beliefs | None = None
        self._said: Said | None = None  # what was there when the state was last solved or refined
        self._recent: sp.csr_matrix | None = None  # what came since
        self._keys: IntArray = np.zeros(0, dtype=np.int64)  # numbers of the pairs (worker, label)
        self._n_asked = 0  # tasks with answers

    @property
    def is_solved(self) -> bool:
        """Whether there are posteriors."""
        return self._beliefs is not None

    @property
    def n_answers(self) -> int:
        """Number of answers collected."""
        return sum(len(part) for part in self._parts)

    @property
    def answers(self) -> Answers:
        """All answers; in a solved state coded as its tasks, workers and classes are."""
        if not self._parts:
            raise NotFittedError("the state holds no answers; call partial_fit first")
        if self._now is None:
            return join_answers(self._parts)
        task, worker, label = (
            np.concatenate([getattr(part, role) for part in self._parts])
            for role in ("task", "worker", "label")
        )
        rows = self._parts[0].rows if len(self._parts) == 1 else np.arange(len(task))
        return replace(self._now, task=task, worker=worker, label=label, rows=rows)

    @property
    def fit(self) -> CrowdFit:
        """The result for all tasks of `answers`."""
        if self._beliefs is None or self._now is None:
            raise NotFittedError("the answers have been collected only; call solve first")
        posteriors = self._beliefs.posteriors
        unasked = ~self._has_answers()
        if unasked.any():
            posteriors = posteriors.copy()
            posteriors[unasked] = self._beliefs.prior
            known = gold_codes(self._now, self.gold)
            if known is not None:
                posteriors[known.task] = np.eye(self._now.n_classes)[known.label]
        return crowd_fit(self._said_with(self._whole().counts), replace(self._beliefs, posteriors=posteriors))

    def partial_fit(self, answers: Answers) -> Self:
        """Add answers; a solved state folds them in."""
        if self._beliefs is None:
            self._parts.append(answers)
        else:
            self._fold(answers)
        return self

    def merge(self, other: CrowdState) -> Self:
        """Add all answers of another state, which stays as it is."""
        if other.make_model is not self.make_model:
            raise InputError("the states have different models of the workers and cannot be merged")
        # Their ids may be coded in the order in which they came: joined, they are sorted again.
        return self.partial_fit(join_answers([other.answers])) if other._parts else self

    def solve(self) -> Self:
        """Run expectation maximisation over all answers from the vote shares."""
        answers = self.answers
        found = fit_crowd(
            answers, self.make_model, gold=self.gold, n_iter=self.n_iter, tol=self.tol, compat=False
        )
        expected = expected_counts(found.said, found.posteriors)
        self._settle(answers, found.said)
        self._beliefs = Beliefs(
            found.posteriors, found.prior, expected, found.errors, list(found.history), found.converged
        )
        return self

    def refine(self, *, n_iter: int | None = None, tol: float | None = None) -> Self:
        """Go on over all tasks from the present posteriors, at most ``n_iter`` iterations."""
        if self._beliefs is None or self._now is None:
            return self.solve()
        has_answers = self._has_answers()
        said = self._whole()
        self._settle(self.answers, said)
        asked = replace(said, counts=said.counts[has_answers]) if not has_answers.all() else said
        gold = _gold_among(self._now, self.gold, np.flatnonzero(has_answers))
        model = self.make_model(asked)
        beliefs = begin(asked, self._beliefs.posteriors[has_answers], model, gold)
        n_iter, tol = n_iter or self.n_iter, self.tol if tol is None else tol
        iterate(asked, beliefs, model, gold=gold, n_iter=n_iter, tol=tol, compat=False)
        posteriors = self._beliefs.posteriors
        posteriors[has_answers] = beliefs.posteriors
        self._beliefs = replace(beliefs, posteriors=posteriors)
        return self

    def _settle(self, answers: Answers, said: Said) -> None:
        nothing: IntArray = np.zeros(0, dtype=np.int32)
        self._parts = [answers]
        self._now = replace(answers, task=nothing, worker=nothing, label=nothing, rows=nothing)
        self._said, self._recent = said, None
        self._n_asked = int((np.diff(said.counts.indptr) > 0).sum())
        self._keys = said.worker.astype(np.int64) * _WORKER + said.label

    def _whole(self) -> Said:
        assert self._said is not None
        if self._recent is None:
            return self._said
        counts = _enlarged(self._said.counts, self._recent.shape) + self._recent
        return self._said_with(counts)

    def _said_with(self, counts: sp.csr_matrix) -> Said:
        assert self._now is not None
        worker, label = np.divmod(self._keys, _WORKER)
        return Said(counts, worker, label, self._now.n_workers, self._now.n_classes)

    def _has_answers(self) -> BoolArray:
        return np.asarray(np.diff(self._whole().counts.indptr) > 0)

    def _fold(self, answers: Answers) -> None:
        assert self._beliefs is not None and self._now is not None and self._said is not None
        coded = self._coded(answers)
        keys, place = np.unique(coded.worker.astype(np.int64) * _WORKER + coded.label, return_inverse=True)
        known, codes = join_ids(self._keys, keys)
        self._keys, pair = known.astype(np.int64), codes[place]
        shape = (self._now.n_tasks, len(self._keys))
        touched = np.unique(coded.task)
        before = _enlarged(self._said.counts, shape)[touched]
        if self._recent is not None:
            self._recent = _enlarged(self._recent, shape)
            before = before + self._recent[touched]
        new = sp.csr_matrix((np.ones(len(pair)), (coded.task, pair)), shape=shape)
        self._recent = new if self._recent is None else self._recent + new
        self._grow(shape)
        self._sweep(touched, before, new[touched])
        self._parts.append(coded)

    def _coded(self, answers: Answers) -> Answers:
        """Return answers coded by the state's ids, which grow by what is new."""
        assert self._now is not None
        tasks, task = join_ids(self._now.tasks, answers.tasks)
        workers, worker = join_ids(self._now.workers, answers.workers)
        classes, label = join_ids(self._now.classes, answers.classes)
        notes = tuple(dict.fromkeys([*self._now.notes, *answers.notes]))
        self._now = replace(self._now, tasks=tasks, workers=workers, classes=classes, notes=notes)
        return replace(
            self._now,
            task=task[answers.task],
            worker=worker[answers.worker],
            label=label[answers.label],
            rows=answers.rows,
        )

    def _grow(self, shape: tuple[int, int]) -> None:
        """Make room for new tasks, pairs and classes."""
        assert self._beliefs is not None and self._now is not None
        now, n_classes = self._beliefs, self._now.n_classes
        now.posteriors = _padded(now.posteriors, shape[0], n_classes)
        now.expected = _padded(now.expected, shape[1], n_classes)
        now.prior = np.concatenate([now.prior, np.zeros(n_classes - len(now.prior))])

    def _sweep(self, touched: IntArray, before: sp.csr_matrix, new: sp.csr_matrix) -> None:
        """Update the touched tasks and the model of the workers."""
        assert self._beliefs is not None and self._now is not None
        said = self._said_with(before + new)
        self._n_asked += int((np.diff(before.indptr) == 0).sum())
        fold_in(
            said,
            before,
            self._beliefs,
            touched,
            self.make_model(said),
            gold=_gold_among(self._now, self.gold, touched),
            n_asked=self._n_asked,
            n_iter=self.n_iter,
            tol=self.tol,
        )


def _gold_among(answers: Answers, gold: GoldLabels | None, chosen: IntArray) -> Gold | None:
    """Return the gold labels of the chosen tasks (ascending codes), by their places among these."""
    known = gold_codes(answers, gold)
    if known is None:
        return None
    place = np.searchsorted(chosen, known.task)
    kept = chosen[np.minimum(place, len(chosen) - 1)] == known.task
    return Gold(place[kept], known.label[kept]) if kept.any() else None


def _enlarged(matrix: sp.csr_matrix, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return a sparse matrix with rows and columns of zeros added."""
    if matrix.shape == shape:
        return matrix
    more = np.full(shape[0] - matrix.shape[0], matrix.indptr[-1], dtype=matrix.indptr.dtype)
    return sp.csr_matrix((matrix.data, matrix.indices, np.concatenate([matrix.indptr, more])), shape=shape)


def _padded(values: FloatArray, n_rows: int, n_columns: int) -> FloatArray:
    if values.shape == (n_rows, n_columns):
        return values
    wider: FloatArray = np.zeros((n_rows, n_columns))
    wider[: values.shape[0], : values.shape[1]] = values
    return wider
