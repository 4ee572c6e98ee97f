"""Types shared by every floor."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

Task: TypeAlias = Literal["classification", "multilabel", "retrieval", "crowd"]


class Estimate(NamedTuple):
    """An estimate with its interval; ``low <= estimate <= high``."""

    estimate: float
    low: float
    high: float
