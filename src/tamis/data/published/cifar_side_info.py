"""Who labelled which images of CIFAR-10N and CIFAR-100N, and how long it took."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.data.published.lists import read_lines
from tamis.errors import InputError

_HEADS = {
    3: "Image-batch,Worker-id,Work-time-in-seconds",
    7: "Image-batch,Worker1-id,Work-time-in-seconds-1,Worker2-id,Work-time-in-seconds-2,Worker3-id,"
    "Work-time-in-seconds-3",
}
_BATCH = re.compile(r"([0-9]{1,6})--([0-9]{1,6})")


def read_side_info(path: Path, n_rows: int) -> dict[str, pa.Array]:
    """Return the columns ``worker`` and ``seconds`` (``worker1`` to ``seconds3`` for three workers).

    Each line tells of a run of images (``"0--9"``): every image of it gets the worker, and the seconds of the
    whole run.

    Raises
    ------
    InputError
        With file and line: another heading, runs that do not follow each other, numbers that are none; or the
        runs do not cover ``n_rows`` images.
    """
    lines = list(read_lines(path))
    n_fields = lines[0].text.count(",") + 1
    if lines[0].text.replace(" ", "") != _HEADS.get(n_fields):
        raise lines[0].error(f"expected the heading {_HEADS[3]!r} or {_HEADS[7]!r}")
    lengths, values = [], []
    stop = 0
    for line in lines[1:]:
        fields = line.text.split(",")
        found = _BATCH.fullmatch(fields[0].strip())
        if len(fields) != n_fields or found is None:
            raise line.error(f"expected first--last and {n_fields - 1} numbers; the line may be cut off")
        if int(found[1]) != stop or int(found[2]) < stop:
            raise line.error(f"expected a run that begins at image {stop}")
        lengths.append(int(found[2]) + 1 - stop)
        stop = int(found[2]) + 1
        values.append([line.code(field.strip(), None) for field in fields[1:]])
    if stop != n_rows:
        raise InputError(
            f"{path} tells of {stop:,} images and the label file of {n_rows:,}; one may be cut off"
        )
    table = np.repeat(np.array(values, dtype=np.int64), lengths, axis=0)
    names = (
        ["worker", "seconds"]
        if n_fields == 3
        else [f"{what}{k}" for k in (1, 2, 3) for what in ("worker", "seconds")]
    )
    return {name: pa.array(table[:, place]) for place, name in enumerate(names)}
