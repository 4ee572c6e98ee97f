"""Rows of length 1, in float64: what cosine similarity compares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.types import FloatArray


def unit_rows(features: FloatArray) -> npt.NDArray[np.float64]:
    """Return a copy with rows of length 1; a row of zeros stays one.

    Parameters
    ----------
    features : (n, d) float

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    unit = np.array(features, dtype=np.float64)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit /= np.where(length > 0, length, 1.0)
    return unit
