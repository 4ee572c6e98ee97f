"""Answers as a sparse matrix: task x (worker, label)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from tamis.crowd.answers import Answers
from tamis.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Said:
    """Who said what about which task, one column for each (worker, label) that occurs.

    Attributes
    ----------
    counts : (T, P) scipy CSR matrix of float64
        How often the worker of column ``p`` gave its label to the task; columns ascend in each row, so that
        sums do not depend on the order of the answers.
    worker, label : (P,) int arrays
        The worker and the label of each column.
    n_workers, n_classes : int
    """

    counts: sp.csr_matrix
    worker: IntArray
    label: IntArray
    n_workers: int
    n_classes: int

    @property
    def n_answers(self) -> float:
        """Number of answers."""
        return float(self.counts.data.sum())

    def by_worker(self) -> sp.csr_matrix:
        """Return the (A, P) matrix of zeros and ones that adds up the columns of each worker."""
        n = len(self.worker)
        return sp.csr_matrix((np.ones(n), (self.worker, np.arange(n))), shape=(self.n_workers, n))


def said_of(answers: Answers) -> Said:
    """Return the sparse matrix of all answers.

    Examples
    --------
    >>> said = said_of(Answers.from_matrix([[0, 1], [None, 1]]))
    >>> said.counts.toarray(), said.worker, said.label
    (array([[1., 1.],
           [0., 1.]]), array([0, 1]), array([0, 1]))
    """
    keys = answers.worker.astype(np.int64) * answers.n_classes + answers.label
    column, found = _numbered(keys, answers.n_workers * answers.n_classes)
    counts = sp.csr_matrix(
        (np.ones(len(answers)), (answers.task, column)), shape=(answers.n_tasks, len(found))
    )
    counts.sort_indices()
    worker, label = np.divmod(found, answers.n_classes)
    return Said(counts, worker, label, answers.n_workers, answers.n_classes)


def _numbered(keys: IntArray, n_possible: int) -> tuple[IntArray, IntArray]:
    """Return the place of each key among those that occur, and these, ascending."""
    if n_possible > 8 * len(keys) + 65_536:
        found, place = np.unique(keys, return_inverse=True)
        return place.astype(np.int32), found
    occurs = np.zeros(n_possible, dtype=bool)
    occurs[keys] = True
    places = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    return places[keys], np.flatnonzero(occurs)


def dense_errors(said: Said, errors: FloatArray) -> FloatArray:
    """Return (P, K) errors as (A, K, K): worker, label, true class; 0 where the worker never said it."""
    dense = np.zeros((said.n_workers, said.n_classes, said.n_classes))
    dense[said.worker, said.label] = errors
    return dense
