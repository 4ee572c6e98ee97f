"""Label errors planted into a data set as the configuration says."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.benchmarks.config import NoiseConfig
from tamis.errors import InputError
from tamis.noise import NOISE_MODELS, NoisyLabels
from tamis.types import BoolArray, IntArray

_FILLED_IN = ("rate", "n_classes", "random_state", "features", "labels")


class Planted(NamedTuple):
    """Labels with planted errors.

    Attributes
    ----------
    labels : (n,) int64
    is_wrong : (n,) bool
    truth : (n,) int64
        In the codes of ``labels``; -1 where none of them is right.
    nominal_rate : float
    digest : str
    """

    labels: IntArray
    is_wrong: BoolArray
    truth: IntArray
    nominal_rate: float
    digest: str


def check_noise(noise: NoiseConfig) -> None:
    """Raise `InputError` if there is no such model, or it does not take the options."""
    taken = inspect.signature(NOISE_MODELS.get(noise.model)).parameters
    legal = sorted(taken.keys() - set(_FILLED_IN))
    for name in noise.options:
        if name not in legal:
            raise InputError(
                f"noise model {noise.model!r} takes no option {name!r}; it takes {', '.join(legal) or 'none'}"
            )
    missing = [
        name
        for name, each in taken.items()
        if each.default is each.empty and name not in {*_FILLED_IN, *noise.options}
    ]
    if missing:
        raise InputError(
            f"noise model {noise.model!r} needs {', '.join(missing)}; a benchmark cannot make them"
        )


def plant(
    noise: NoiseConfig, truth: IntArray, seed: int, features: npt.NDArray[np.generic] | None
) -> Planted:
    """Return the truth with errors planted by the noise model.

    Raises
    ------
    InputError
        If the model needs something that is not there, refuses the labels, or gives the answers of a crowd.
    """
    check_noise(noise)
    model = NOISE_MODELS.get(noise.model)
    taken = inspect.signature(model).parameters
    offered: dict[str, object] = {
        "rate": noise.rate,
        "n_classes": int(truth.max()) + 1,
        "random_state": seed,
    }
    if features is not None:
        offered["features"] = np.asarray(features, dtype=np.float64)
    elif "features" in taken:
        raise InputError(f"noise model {noise.model!r} needs features; leave it out where a set has none")
    found = model(truth, **{key: value for key, value in offered.items() if key in taken} | noise.options)
    if not isinstance(found, NoisyLabels):
        raise InputError(f"noise model {noise.model!r} gives the answers of a crowd, not one label a row")
    if found.replacement is not None:
        raise InputError(f"noise model {noise.model!r} replaces samples; a benchmark plants labels only")
    if found.class_ids is not None:
        code_of = np.full(int(truth.max()) + 1, -1, dtype=np.int64)
        code_of[found.class_ids] = np.arange(len(found.class_ids))
        truth = code_of[truth]
    right = np.where(found.is_open, -1, truth)
    return Planted(found.labels, found.is_wrong, right, found.nominal_rate, found.digest)
