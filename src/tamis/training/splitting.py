"""The rows to train on, and those held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.data import feature_digests
from tamis.errors import InputError
from tamis.training.source import Source
from tamis.types import IntArray


def held_out(source: Source, validation: float) -> tuple[IntArray, IntArray]:
    """Return the rows to train on and those held out: about the same share of every class, chosen by content.

    Rows of one group and exact duplicates stay on one side, so that nothing held out is known from training.
    Rows without a label are trained on.

    Raises
    ------
    InputError
        A side would be without labels, or the training side would lose a class.
    """
    usable = np.flatnonzero(source.is_usable)
    if not validation:
        return usable, np.zeros(0, dtype=np.int64)
    labels = source.labels
    digests = _digests(source)
    blocks = _blocks(usable, digests, source.dataset.table.column("group").to_pylist())
    held: list[int] = []
    for code in range(source.dataset.n_classes):
        own = [block for block in blocks if labels[block[0]] == code]
        wanted = validation * sum(int((labels[block] >= 0).sum()) for block in own)
        taken = 0
        for block in own:
            size = int((labels[block] >= 0).sum())
            if taken + size / 2 <= wanted:
                taken += size
                held += block.tolist()
    kept = np.setdiff1d(usable, held)
    lost = set(labels[usable].tolist()) - set(labels[kept].tolist())
    if not held or lost:
        names = [str(source.dataset.class_names[code]) for code in sorted(lost) if code >= 0]
        what = f"the class {names[0]!r} without rows to train on" if names else "nothing to hold out"
        raise InputError(
            f"validation is {validation}, which leaves {what}: the data are too few, or their groups too "
            "large; choose another share, or 0"
        )
    return kept, np.sort(np.array(held, dtype=np.int64))


def held_out_classes(source: Source, validation: float) -> tuple[IntArray, IntArray]:
    """Return the rows to train on and those held out: whole classes, chosen by their content.

    Metric learning is measured on classes that it was not trained on. Rows without a label are trained on.

    Raises
    ------
    InputError
        A side would have fewer than two classes.
    """
    usable = np.flatnonzero(source.is_usable)
    if not validation:
        return usable, np.zeros(0, dtype=np.int64)
    labels, digests = source.labels, _digests(source)
    labelled = usable[labels[usable] >= 0]
    # The row whose content sorts first speaks for its class, whatever the class is called.
    order = labelled[np.lexsort((digests[labelled, 1], digests[labelled, 0]))]
    codes, first = np.unique(labels[order], return_index=True)
    by_content = codes[np.argsort(first, kind="stable")]
    sizes = np.bincount(labels[labelled], minlength=source.dataset.n_classes)
    taken = np.cumsum(sizes[by_content])
    n_held = max(2, int(np.searchsorted(taken, validation * len(labelled), side="right")))
    if len(codes) - n_held < 2:
        raise InputError(
            f"validation is {validation}, which holds {n_held} of {len(codes)} classes out: training needs "
            "two at least, and measuring two others; choose another share, or 0"
        )
    is_held = np.isin(labels[usable], by_content[:n_held])
    return usable[~is_held], usable[is_held]


def _blocks(
    usable: IntArray, digests: npt.NDArray[np.uint64], groups: list[str | None]
) -> list[npt.NDArray[np.int64]]:
    """Return the rows that must stay together, ordered by content; its first row speaks for a block.

    A block is a class of rows linked by a common group or common content.
    """
    leader = {int(row): int(row) for row in usable}

    def find(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    first: dict[object, int] = {}
    for row in leader:
        content = (int(digests[row, 0]), int(digests[row, 1]))
        for key in (content, groups[row]):
            if key is not None:
                leader[find(row)] = find(first.setdefault(key, row))
    members: dict[int, list[int]] = {}
    for row in sorted(leader, key=lambda row: (int(digests[row, 0]), int(digests[row, 1]), row)):
        members.setdefault(find(row), []).append(row)
    return [np.array(rows, dtype=np.int64) for rows in members.values()]


def _digests(source: Source) -> npt.NDArray[np.uint64]:
    if source.features is not None and not source.dataset.inputs:
        return feature_digests(source.features)
    name = source.kind if source.kind in source.dataset.inputs else next(iter(source.dataset.inputs))
    return source.dataset.inputs[name].digests()
