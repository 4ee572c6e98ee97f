"""Random numbers that depend on the seed, the model and the sample's index, and on nothing else."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError

_WORD = 64


def uniforms(seed: int, model: str, n_samples: int, n_draws: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), row i a pure function of ``(seed, model, i)``.

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

    Returns
    -------
    (n_samples, n_draws) float64
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**_WORD:
        raise InputError(f"random_state must be a whole number from 0 to 2**64 - 1; got {seed!r}")
    # The Philox key is 128 bits: the seed and the model fill one word each.
    key = np.array([int(seed), zlib.crc32(model.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random((n_samples, n_draws))
