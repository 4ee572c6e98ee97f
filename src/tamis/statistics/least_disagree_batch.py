"""LDM-S: pick a batch of rows to check, near the decision boundary and unlike each other."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError, TamisWarning
from tamis.statistics.counter_draws import step_generator
from tamis.statistics.finite_matrices import finite_matrix

_SAME = 1e-5


def ldm_weights(ldm: npt.ArrayLike, n_query: int) -> npt.NDArray[np.float64]:
    """Return how much each row deserves to be picked for being near the decision boundary.

    The ``n_query`` smallest values get 1; the others share the same total weight, falling with value.

    Parameters
    ----------
    ldm : (n,) float in [0, 1]
    n_query : int
        At least 1. With ``n <= n_query`` all weights are 1.

    Returns
    -------
    (n,) float64 array in [0, 1], never rising with ``ldm``

    Raises
    ------
    InputError
        Not a vector of numbers in [0, 1], or ``n_query`` below 1.

    Warns
    -----
    TamisWarning
        Every value is 1: the values tell nothing.

    Examples
    --------
    >>> ldm_weights([0.1, 0.2, 0.2, 0.9], 1).round(3)
    array([1.   , 0.493, 0.493, 0.015])
    """
    values = _checked_values(ldm)
    _check_count(n_query)
    if len(values) <= n_query:
        return np.ones(len(values))
    if (values == 1).all():
        message = (
            "every value of ldm is 1, so the batch is chosen by diversity alone; compute ldm with"
            " relative_sigma=True"
        )
        warnings.warn(message, TamisWarning, stacklevel=2)
    order = np.argsort(values, kind="stable")
    level = values[order[n_query]]
    if level == 0:
        positive = values[values > 0]
        if not len(positive):
            return np.ones(len(values))
        level = positive.min()
    gamma: npt.NDArray[np.float64] = np.exp(-np.maximum(values - level, 0) / level)
    far = order[n_query:]
    total = gamma[far].sum()
    if total > 0:
        gamma[far] *= n_query / total
    return np.asarray(np.minimum(gamma, 1.0))


def sampling_probabilities(weights: npt.ArrayLike, distances: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the probability of each row to be picked next, proportional to (weight * distance) squared.

    Parameters
    ----------
    weights : (n,) float, see `ldm_weights`
    distances : (n,) float
        Of each row to the nearest row already picked.

    Returns
    -------
    (n,) float64 array
        Sums to 1; all 0 where no row has both weight and distance.

    Examples
    --------
    >>> sampling_probabilities([1.0, 1.0, 0.5], [0.0, 1.0, 2.0])
    array([0. , 0.5, 0.5])
    """
    squares = (np.asarray(weights, dtype=np.float64) * np.asarray(distances, dtype=np.float64)) ** 2
    total = squares.sum()
    return squares / total if total > 0 else np.zeros_like(squares)


def cosine_distances(features: npt.ArrayLike, row: int) -> npt.NDArray[np.float64]:
    """Return 1 - cosine similarity of all rows to one of them; below 1e-5 it is 0.

    A row of zeros has distance 1 to every row.

    Parameters
    ----------
    features : (n, d) float
    row : int

    Examples
    --------
    >>> cosine_distances([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 0)
    array([0., 0., 1., 1.])
    """
    return _distances(_directions(features), row)


def ldm_batch(
    ldm: npt.ArrayLike,
    features: npt.ArrayLike,
    n_query: int,
    *,
    greedy: bool = False,
    tie_keys: npt.NDArray[np.uint64] | None = None,
    random_state: int = 0,
) -> npt.NDArray[np.int64]:
    """Pick the rows that a person should check next: near the decision boundary, and not all alike.

    The first pick is the smallest value. Each further one is drawn with `sampling_probabilities`. To pick
    among suspicious labels only, pass the values and features of those rows.

    Parameters
    ----------
    ldm : (n,) float in [0, 1]
        See `tamis.statistics.least_disagree.least_disagree_metric`.
    features : (n, d) float
        Of the same rows, for diversity.
    n_query : int
        How many to pick, at least 1. With ``n <= n_query`` all rows are returned, smallest value first.
    greedy : bool
        Take the most probable row at each step instead of drawing one.
    tie_keys : (n, m) uint64, optional
        Decide between equal values, such as `tamis.data.feature_digests`: the picks then do not depend on the
        order of rows. Default: the first row.
    random_state : int
        At least 0, below 2**64. Step ``t`` is a pure function of ``(random_state, t)``.

    Returns
    -------
    (min(n, n_query),) int64 array
        Row numbers in the order of picking, all different.

    Raises
    ------
    InputError
        Lengths that do not fit, values outside [0, 1], NaN or infinity, or ``n_query`` below 1.

    Warns
    -----
    TamisWarning
        Every value is 1: the picks follow diversity alone.

    References
    ----------
    .. [1] Cho, Kim, Lee, Shin, Yoo. "Querying Easily Flip-flopped Samples for Deep Active Learning",
       ICLR 2024, algorithm 2.

    Examples
    --------
    >>> features = [[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [-1.0, 0.0]]
    >>> ldm_batch([0.1, 0.1, 0.2, 0.9], features, 2, greedy=True)
    array([0, 2])
    """
    values = _checked_values(ldm)
    weights = ldm_weights(values, n_query)
    directions = _directions(features)
    if len(directions) != len(values):
        raise InputError(
            f"features has {len(directions)} rows and ldm {len(values)}; they must be the same rows"
        )
    order = _order(values, tie_keys)
    if len(values) <= n_query:
        return order
    uniforms = _uniforms(random_state, n_query)
    # From here on rows are positions in the order of their values.
    weights, directions = weights[order], directions[torch.from_numpy(order)]
    picks = [0]
    is_free = np.ones(len(values), dtype=bool)
    nearest = np.full(len(values), np.inf)
    while len(picks) < n_query:
        is_free[picks[-1]] = False
        nearest = np.minimum(nearest, _distances(directions, picks[-1]))
        probabilities = sampling_probabilities(weights, np.where(is_free, nearest, 0.0))
        picks.append(_pick(probabilities, is_free, None if greedy else uniforms[len(picks)]))
    return order[picks]


def _pick(
    probabilities: npt.NDArray[np.float64], is_free: npt.NDArray[np.bool_], uniform: float | None
) -> int:
    """Return the drawn (or most probable) position; the smallest free one where none has any weight."""
    if not probabilities.any():
        return int(is_free.argmax())
    if uniform is None:
        return int(probabilities.argmax())
    sums = np.cumsum(probabilities)
    found = int(np.searchsorted(sums, uniform * sums[-1], side="right"))
    # Rounding may lead past the last position that has any weight.
    return min(found, int(np.flatnonzero(probabilities)[-1]))


def _order(values: npt.NDArray[np.float64], tie_keys: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.int64]:
    if tie_keys is None:
        return np.argsort(values, kind="stable").astype(np.int64)
    keys = np.asarray(tie_keys)
    if keys.ndim != 2 or len(keys) != len(values):
        raise InputError(f"tie_keys has shape {keys.shape}; expected ({len(values)}, m)")
    return np.lexsort((*keys.T[::-1], values)).astype(np.int64)


def _uniforms(seed: int, count: int) -> npt.NDArray[np.float64]:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise InputError(f"random_state is {seed!r}; expected a whole number from 0 to 2**64 - 1")
    return step_generator(int(seed), 0, "ldm_batch").random(count)


def _directions(features: npt.ArrayLike) -> torch.Tensor:
    rows = finite_matrix(features, "features")
    length = rows.norm(dim=1, keepdim=True)
    return torch.where(length > 0, rows / length.clamp(min=torch.finfo(rows.dtype).tiny), 0.0)


def _distances(directions: torch.Tensor, row: int) -> npt.NDArray[np.float64]:
    distances = 1.0 - (directions @ directions[row]).double().numpy()
    distances[distances < _SAME] = 0.0
    return np.asarray(distances)


def _checked_values(ldm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(ldm)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(f"ldm has shape {values.shape} and type {values.dtype}; expected (n,) numbers")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if wrong.size:
        raise InputError(f"ldm row {wrong[0]} is {values[wrong[0]]}; legal are numbers from 0 to 1")
    return values


def _check_count(n_query: int) -> None:
    if isinstance(n_query, bool) or not isinstance(n_query, int | np.integer) or n_query < 1:
        raise InputError(f"n_query is {n_query!r}; expected a whole number of at least 1")
