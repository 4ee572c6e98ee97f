"""One step of the crowd arithmetic: new answers change what is believed about the tasks they touch."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from tamis.crowd.em import (
    Beliefs,
    Gold,
    Model,
    clamp,
    column_sums,
    expectation,
    expected_counts,
    log_of,
    posteriors_of,
)
from tamis.crowd.said import Said
from tamis.types import FloatArray, IntArray


def fold_in(
    said: Said,
    before: sp.csr_matrix,
    beliefs: Beliefs,
    touched: IntArray,
    model: Model,
    *,
    gold: Gold | None,
    n_asked: int,
    n_iter: int,
    tol: float,
) -> None:
    """Run expectation maximisation in which only the touched tasks have an E-step.

    Parameters
    ----------
    said : Said
        All answers about the touched tasks, (t, P).
    before : (t, P) CSR matrix
        Those of them that the beliefs already know.
    beliefs : Beliefs
        About all tasks, with zeros for what is new; changed in place.
    touched : (t,) int
        Their places among all tasks.
    model : callable
    gold : Gold or None
        Places among the touched tasks.
    n_asked : int
        Tasks with answers, the new ones included.
    n_iter, tol : int, float
        Stops when the bound grows by less than ``tol`` per answer of all.
    """
    is_first = np.diff(before.indptr) == 0
    posteriors: FloatArray = beliefs.posteriors[touched]
    posteriors[is_first] = 0.0
    # What the other tasks contribute to the sums does not change.
    other_counts = beliefs.expected - before.T @ posteriors
    np.maximum(other_counts, 0.0, out=other_counts)  # rounding may leave -1e-17
    other_mass = beliefs.prior * (n_asked - int(is_first.sum())) - column_sums(posteriors)
    posteriors[is_first] = _vote_shares(said, is_first)
    clamp(posteriors, gold)
    n_answers, last = float(other_counts.sum()) + said.n_answers, -np.inf
    _maximise(beliefs, said, posteriors, model, other_counts, other_mass, n_asked)
    possible = beliefs.prior > 0
    for _ in range(n_iter):
        log_errors, log_prior = np.log(beliefs.errors), log_of(beliefs.prior, possible)
        posteriors, evidence = posteriors_of(said, log_errors, log_prior, gold)
        local_counts, local_mass = _maximise(
            beliefs, said, posteriors, model, other_counts, other_mass, n_asked
        )
        new_errors, new_prior = np.log(beliefs.errors), log_of(beliefs.prior, possible)
        # Evidence of the touched tasks less their expectation is their entropy; then the whole expectation.
        bound = evidence - float((local_counts * log_errors).sum()) - expectation(local_mass, log_prior)
        bound += float((beliefs.expected * new_errors).sum())
        bound += expectation(other_mass + local_mass, new_prior)
        if bound - last < tol * n_answers:
            break
        last = bound
    beliefs.posteriors[touched] = posteriors


def _maximise(
    beliefs: Beliefs,
    said: Said,
    posteriors: FloatArray,
    model: Model,
    other_counts: FloatArray,
    other_mass: FloatArray,
    n_asked: int,
) -> tuple[FloatArray, FloatArray]:
    """M-step over everything; return the sums of the touched tasks alone."""
    local_counts, local_mass = expected_counts(said, posteriors), column_sums(posteriors)
    beliefs.expected = other_counts + local_counts
    beliefs.prior = np.maximum(other_mass + local_mass, 0.0) / n_asked
    beliefs.errors = model(beliefs.expected)
    return local_counts, local_mass


def _vote_shares(said: Said, chosen: IntArray) -> FloatArray:
    n_pairs = len(said.label)
    to_label = sp.csr_matrix(
        (np.ones(n_pairs), (np.arange(n_pairs), said.label)), shape=(n_pairs, said.n_classes)
    )
    votes = (said.counts[chosen] @ to_label).toarray()
    shares: FloatArray = votes / votes.sum(axis=1, keepdims=True)
    return shares
