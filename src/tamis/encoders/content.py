"""Which rows have to be encoded: one per content, none that is known to be bad."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.types import IntArray


class EncodingPlan(NamedTuple):
    """Rows to encode, and where each row of the data set finds its features.

    Attributes
    ----------
    rows : (m,) int64
        Rows to encode: of several rows with the same content the first, in data-set order.
    same_as : (n,) int64
        For each row its position in ``rows``, -1 for rows known to be bad.
    """

    rows: IntArray
    same_as: IntArray


def plan_encoding(digests: npt.NDArray[np.uint64], problems: Mapping[int, str]) -> EncodingPlan:
    """Return which rows to encode.

    Parameters
    ----------
    digests : (n, 2) uint64
        Equal rows have equal content; (0, 0) = content unknown, always a row of its own.
    problems : mapping of row to reason
        Rows that are not to be read.

    Examples
    --------
    >>> digests = np.array([[1, 1], [2, 2], [1, 1], [0, 0], [0, 0]], dtype=np.uint64)
    >>> plan = plan_encoding(digests, problems={4: "empty"})
    >>> plan.rows.tolist(), plan.same_as.tolist()
    ([0, 1, 3], [0, 1, 0, 2, -1])
    """
    n = len(digests)
    is_good = np.ones(n, dtype=bool)
    is_good[list(problems)] = False
    # Contents are ranked by sorting; unknown ones (0, 0) are then told apart by their row.
    order = np.lexsort((np.arange(n), digests[:, 1], digests[:, 0]))
    order = order[is_good[order]]
    ranked = digests[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (ranked[1:] != ranked[:-1]).any(axis=1) | ~ranked[1:].any(axis=1)
    first = order[is_new]
    rows = np.sort(first)
    same_as = np.full(n, -1, dtype=np.int64)
    same_as[order] = np.searchsorted(rows, first[np.cumsum(is_new) - 1])
    return EncodingPlan(rows, same_as)


def content_key(fingerprint: str, digests: npt.NDArray[np.uint64], problems: Mapping[int, str]) -> str:
    """Return 32 hexadecimal digits that name the features of these samples under this encoder.

    Examples
    --------
    >>> len(content_key("encoder 1", np.zeros((2, 2), dtype=np.uint64), {}))
    32
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(fingerprint.encode() + b"\0")
    digest.update(np.ascontiguousarray(digests, dtype="<u8").data)
    digest.update(np.array(sorted(problems), dtype="<i8").tobytes())
    return digest.hexdigest()
