"""Random numbers that depend on the seed, the model and the sample's index, and on nothing else."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

_WORD = 64
_SMALLEST = 2.0**-54
"""Stands for a uniform number of exactly 0, whose normal quantile is infinite."""


def uniforms(seed: int, model: str, n_samples: int, n_draws: int, stream: int = 0) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), row i a pure function of ``(seed, model, stream, i)``.

    A counter-based generator fills the rows in order and each number takes exactly one step, so a longer
    data set starts with the same numbers.

    Parameters
    ----------
    seed : int
        At least 0, below 2**64.
    model : str
        Name of the noise model: two models with one seed do not share draws.
    n_samples, n_draws : int
        Rows and numbers per row.
    stream : int
        0 to 2**32 - 1: tells apart several tables of one model, such as one a class.

    Returns
    -------
    (n_samples, n_draws) float64
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**_WORD:
        raise InputError(f"random_state must be a whole number from 0 to 2**64 - 1; got {seed!r}")
    # The Philox key is 128 bits: the seed fills one word, stream and model the halves of the other.
    key = np.array([int(seed), zlib.crc32(model.encode()) | stream << 32], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random((n_samples, n_draws))


def normals(seed: int, model: str, n_samples: int, n_draws: int, stream: int = 0) -> npt.NDArray[np.float64]:
    """Return standard normal numbers: the normal quantiles of `uniforms`, with the same arguments.

    Examples
    --------
    >>> start, whole = normals(0, "example", 2, 3), normals(0, "example", 5, 3)
    >>> bool((start == whole[:2]).all())
    True
    """
    return normal_quantiles(uniforms(seed, model, n_samples, n_draws, stream))


def normal_quantiles(draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the standard normal quantiles of numbers in [0, 1), all finite."""
    from scipy.special import ndtri

    quantiles: npt.NDArray[np.float64] = ndtri(np.maximum(draws, _SMALLEST))
    return quantiles


def below(draws: npt.NDArray[np.float64], counts: IntArray | int) -> IntArray:
    """Return whole numbers from 0 to ``counts - 1``, uniform where the draws are uniform in [0, 1)."""
    # A draw next to 1 times a large count may round up to the count itself.
    chosen: IntArray = np.minimum(np.floor(draws * counts).astype(np.int64), np.asarray(counts) - 1)
    return chosen


def picks(weights: FloatArray, draws: npt.NDArray[np.float64]) -> IntArray:
    """Return one category a draw, all from the same (K,) weights, each at least 0 and not all 0.

    Examples
    --------
    >>> picks(np.array([0.5, 0.0, 0.5]), np.array([0.2, 0.7]))
    array([0, 2])
    """
    cumulative = np.cumsum(weights, dtype=np.float64)
    total = cumulative[-1]
    chosen = np.searchsorted(cumulative, draws * total, side="right")
    # Rounding may lift draw * total to the total: the last category of positive weight, then.
    picked: IntArray = np.minimum(chosen, np.searchsorted(cumulative, total, side="left"))
    return picked


def categories(weights: npt.NDArray[np.float64], draws: npt.NDArray[np.float64]) -> IntArray:
    """Return one category a row, each row with its own weights; else like `picks`.

    Parameters
    ----------
    weights : (n, K) float
        At least 0, with a positive sum in every row; a category of weight 0 is never drawn.
    draws : (n,) float
        Uniform in [0, 1).

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> categories(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), np.array([0.7, 0.0]))
    array([1, 2])
    """
    cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
    total = cumulative[:, -1]
    chosen: IntArray = (cumulative <= (draws * total)[:, None]).sum(axis=1)
    np.minimum(chosen, (cumulative < total[:, None]).sum(axis=1), out=chosen)
    return chosen
