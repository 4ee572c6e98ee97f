"""The rows to train on, and those held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.data import feature_digests
from tamis.errors import InputError
from tamis.training.source import Source
from tamis.types import IntArray


def held_out(source: Source, validation: float) -> tuple[IntArray, IntArray]:
    """Return the rows to train on and those held out: the same share of every class, chosen by content."""
    usable = np.flatnonzero(source.is_usable)
    if not validation:
        return usable, np.zeros(0, dtype=np.int64)
    digests = _digests(source)
    labels = source.labels
    held: list[int] = []
    for code in range(source.dataset.n_classes):
        own = usable[labels[usable] == code]
        order = own[np.lexsort((own, digests[own, 1], digests[own, 0]))]
        held += order[: round(validation * len(order))].tolist()
    kept = np.setdiff1d(usable, held)
    if not len(held) or not (labels[kept] >= 0).any():
        raise InputError(
            f"validation is {validation}, which leaves a part without labels; the data are too few"
        )
    return kept, np.sort(np.array(held, dtype=np.int64))


def _digests(source: Source) -> npt.NDArray[np.uint64]:
    if source.features is not None:
        return feature_digests(source.features)
    return source.dataset.inputs[source.kind].digests()
