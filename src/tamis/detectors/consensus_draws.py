"""Label triples of points and their two nearest neighbours, inside random draws of the data."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from tamis.detectors.canonical_order import CanonicalOrder, canonical_order
from tamis.errors import InputError
from tamis.neighbors import Neighbors, nearest_neighbors
from tamis.statistics.clusterability import ConsensusCounts
from tamis.types import FloatArray, IntArray

N_ROUNDS = 50
N_POINTS = 15_000

_DRAW_KEY = 0x434F4E53  # a word of the generator's key, so that no other draw shares the numbers
_RARELY = 1e-4


def shared_neighbors(n: int, *, n_rounds: int = N_ROUNDS, n_points: int = N_POINTS) -> int | None:
    """Return how many neighbours of all rows serve every round, or None where each should search its own.

    The neighbours inside a draw are the first ones of a row's list that were drawn: one search of all rows
    serves all rounds where the lists are long enough.

    Examples
    --------
    >>> shared_neighbors(50_000), shared_neighbors(1_000), shared_neighbors(1_000_000)
    (34, 2, None)
    """
    check_at_least(n_rounds, "n_rounds", 1)
    check_at_least(n_points, "n_points", 3)
    if n <= n_points:
        return 2
    if 2 * n * n > n_rounds * n_points * n_points:
        return None
    share = (n_points - 1) / (n - 1)
    k = 2
    # Probability that fewer than two of k neighbours were drawn.
    while (1 - share) ** k + k * share * (1 - share) ** (k - 1) > _RARELY:
        k += 1
    return min(k, n - 1)


def consensus_counts(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    *,
    n_rounds: int = N_ROUNDS,
    n_points: int = N_POINTS,
    random_state: int = 0,
    neighbors: Neighbors | None = None,
    memory_budget: str | int | None = "2GiB",
) -> ConsensusCounts:
    """Count the labels of points and their two nearest neighbours inside random draws of the data.

    Parameters
    ----------
    features : (n, d) float
        n >= 3, finite, no row of zeros. Neighbours are exact, by cosine similarity; other rows of equal
        content count.
    labels : (n,) int
        Class codes 0..K-1.
    n_classes : int
        2 to 300.
    n_rounds, n_points : int
        Draws without replacement, and points in each. With no more rows than ``n_points`` all are used, once.
    random_state : int
        Draws depend on it and on the content of the rows, not on their order or the numbering of classes.
    neighbors : Neighbors, optional
        Result of a search of all rows among all (at least two each), to save the search.
    memory_budget : str, int or None
        For the search, beside the features.

    Returns
    -------
    ConsensusCounts
        Over all rounds; `ConsensusCounts.shares` are the averages.

    Raises
    ------
    InputError
        Too few rows, shapes that do not fit, a code out of range, a row of zeros, NaN.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.9, 0.1], [0.9, 0.2], [0.0, 1.0], [0.1, 0.9], [0.2, 0.9]])
    >>> consensus_counts(X, np.array([0, 0, 1, 1, 1, 1]), 2).singles
    array([2, 4])
    """
    matrix, codes = check_features_and_codes(features, labels, n_classes)
    check_at_least(random_state, "random_state", 0)
    counts = ConsensusCounts(n_classes)
    n = len(codes)
    k = shared_neighbors(n, n_rounds=n_rounds, n_points=n_points)
    order = canonical_order(matrix, codes, n_classes)
    if neighbors is None and k is not None:
        neighbors = nearest_neighbors(matrix, k=k, tie_keys=order.tie_keys, memory_budget=memory_budget)
    if n <= n_points and neighbors is not None:
        return counts.partial_fit(codes[np.column_stack([np.arange(n), neighbors.indices[:, :2]])])
    for number in range(n_rounds):
        drawn = np.sort(order.rows[draw_positions(n, n_points, random_state, number)])
        pairs = _neighbors_inside(matrix, drawn, order, neighbors, memory_budget)
        counts.partial_fit(codes[np.column_stack([drawn, pairs])])
    return counts


def draw_positions(n: int, size: int, seed: int, number: int, place: int = 0) -> IntArray:
    """Return ``size`` of ``n`` positions, a pure function of the arguments.

    Examples
    --------
    >>> sorted(draw_positions(3, 3, 0, 7).tolist())
    [0, 1, 2]
    """
    key = np.array([seed, _DRAW_KEY], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, place, number]))
    return generator.permutation(n)[:size]


def _neighbors_inside(
    matrix: FloatArray,
    drawn: IntArray,
    order: CanonicalOrder,
    neighbors: Neighbors | None,
    memory_budget: str | int | None,
) -> IntArray:
    """Return (m, 2) rows: the two nearest neighbours of each drawn row among the drawn rows."""
    pairs = np.full((len(drawn), 2), -1, dtype=np.int64)
    if neighbors is not None:
        is_drawn = np.zeros(len(matrix), dtype=np.bool_)
        is_drawn[drawn] = True
        listed = neighbors.indices[drawn]
        place = np.cumsum(is_drawn[listed], axis=1)
        for j in range(2):
            # The first column with j + 1 drawn neighbours up to it.
            column = (place > j).argmax(axis=1)
            is_there = place[:, -1] > j
            pairs[is_there, j] = listed[is_there, column[is_there]]
    missing = np.flatnonzero(pairs[:, 1] < 0)
    if len(missing):
        found = nearest_neighbors(
            matrix[drawn[missing]],
            matrix[drawn],
            k=2,
            # A row is the only one of its group: it is kept from being its own neighbour.
            query_groups=drawn[missing],
            reference_groups=drawn,
            tie_keys=order.tie_keys[drawn],
            memory_budget=memory_budget,
        )
        pairs[missing] = drawn[found.indices]
    return pairs


def check_features_and_codes(
    features: FloatArray, labels: IntArray, n_classes: int
) -> tuple[FloatArray, IntArray]:
    """Return features and int64 codes, or raise `InputError`."""
    matrix, codes = np.asarray(features), np.asarray(labels)
    if matrix.ndim != 2 or len(matrix) < 3 or codes.shape != (len(matrix),):
        raise InputError(
            f"features have shape {matrix.shape} and labels {codes.shape}; pass (n, d) and (n,) with n >= 3"
        )
    if not np.issubdtype(codes.dtype, np.integer):
        raise InputError(f"labels have dtype {codes.dtype}; pass class codes (numpy.unique gives them)")
    if codes.min() < 0 or codes.max() >= n_classes:
        row = int(((codes < 0) | (codes >= n_classes)).argmax())
        raise InputError(
            f"labels row {row} is {codes[row]}; codes run from 0 to {n_classes - 1}: leave out rows without "
            "a label"
        )
    return matrix, codes.astype(np.int64)


def check_at_least(value: int, name: str, least: int) -> int:
    """Return a whole number of at least ``least``, or raise `InputError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} is {value!r}; expected a whole number of at least {least}")
    return int(value)
