"""Where the data of the benchmarks lie, and the label errors planted into them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import tamis

ROOT = Path(__file__).resolve().parents[1]


class Labels(NamedTuple):
    """Given labels and the truth about them: (n,) int64 codes and (n,) bool."""

    given: npt.NDArray[np.int64]
    is_wrong: npt.NDArray[np.bool_]


class MissingDataError(SystemExit):
    """A file is not there; uncaught, the benchmark ends with the message."""


def shared_file(name: str) -> Path:
    """Return a file of the folder of real data.

    Raises
    ------
    MissingDataError
        If it is not there.
    """
    folder = Path(os.environ.get("TAMIS_SHARED", ROOT.parent / "shared"))
    path = folder / "data" / name
    if not path.exists():
        raise MissingDataError(
            f"{path} does not exist; set TAMIS_SHARED to the folder that holds data/{name}"
        )
    return path


def planted(truth: npt.NDArray[np.integer], noise: str, *, n_classes: int, seed: int = 0) -> Labels:
    """Return labels with planted errors.

    ``noise`` is "clean", "symmetric20" (20 % replaced by another class, all equally likely) or "pair20" (20 %
    replaced by the next class); any percentage.
    """
    if noise == "clean":
        return Labels(truth.astype(np.int64), np.zeros(len(truth), dtype=np.bool_))
    kind = noise.rstrip("0123456789")
    rate = int(noise[len(kind) :]) / 100
    # The pair flip takes the samples that the symmetric model would flip, so that rates agree.
    flips = tamis.noise.symmetric(truth, rate, n_classes=n_classes, random_state=seed)
    if kind == "symmetric":
        return Labels(flips.labels.astype(np.int64), flips.is_wrong)
    if kind != "pair":
        raise SystemExit(f"noise {noise!r} is unknown; write clean, symmetric20 or pair20")
    given = np.where(flips.is_wrong, (truth + 1) % n_classes, truth).astype(np.int64)
    return Labels(given, flips.is_wrong)
