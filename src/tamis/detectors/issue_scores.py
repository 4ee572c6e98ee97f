"""What the functions behind the other issues return: scores, flags and groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.types import BoolArray, FloatArray


@dataclass(frozen=True)
class IssueScores:
    """One issue type for every row.

    Attributes
    ----------
    scores : (n,) float64 array
        0 = surely an issue, 1 = surely none.
    is_issue : (n,) bool array
        The rows flagged.
    """

    scores: FloatArray
    is_issue: BoolArray


@dataclass(frozen=True)
class GroupScores(IssueScores):
    """One issue type for every row, with the groups that the issue is about.

    Attributes
    ----------
    groups : (n,) int64 array
        Equal numbers from 0 = same group, -1 = in no group.
    """

    groups: npt.NDArray[np.int64]
