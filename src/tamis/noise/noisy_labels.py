"""What every noise model returns, and what every one of them checks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels with planted errors, and the truth about them. Arrays are read-only.

    Attributes
    ----------
    labels : (n,) int64
        The noisy label codes.
    is_wrong : (n,) bool
        True where the noisy label differs from the one given to the model.
    is_open : (n,) bool
        True where the sample's true class is none of the classes (open-set noise).
    transition : (K, K) float64 or None
        P(noisy = j | true = i) of the model, rows sum to 1; None where it differs from sample to sample.
    nominal_rate : float
        The rate that was asked for, in [0, 1].
    realised_rate : float
        Share of samples that are wrong, in [0, 1]; 0 for no samples.
    digest : str
        32 hexadecimal digits, a hash of ``labels``, ``is_wrong`` and ``is_open``: equal on every machine.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = NoisyLabels.from_flips(np.array([0, 1, 1]), np.array([0, 1, 0]), None, nominal_rate=0.3)
    >>> noisy.is_wrong.tolist(), round(noisy.realised_rate, 2)
    ([False, False, True], 0.33)
    """

    labels: IntArray
    is_wrong: BoolArray
    is_open: BoolArray
    transition: FloatArray | None
    nominal_rate: float
    realised_rate: float = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        for array in (self.labels, self.is_wrong, self.is_open, self.transition):
            if array is not None:
                array.flags.writeable = False
        rate = float(self.is_wrong.mean()) if len(self.is_wrong) else 0.0
        object.__setattr__(self, "realised_rate", rate)
        parts = (self.labels.astype("<i8"), self.is_wrong.astype("u1"), self.is_open.astype("u1"))
        content = b"".join(part.tobytes() for part in parts)
        object.__setattr__(self, "digest", hashlib.blake2b(content, digest_size=16).hexdigest())

    @classmethod
    def from_flips(
        cls, true: IntArray, noisy: IntArray, transition: FloatArray | None, *, nominal_rate: float
    ) -> NoisyLabels:
        """Return the result of a closed-set model: (n,) true codes became (n,) noisy codes."""
        labels = np.array(noisy, dtype=np.int64)
        return cls(
            labels=labels,
            is_wrong=np.asarray(labels != true),
            is_open=np.zeros(len(labels), dtype=np.bool_),
            transition=transition,
            nominal_rate=float(nominal_rate),
        )


def check_codes(labels: npt.ArrayLike, n_classes: int) -> IntArray:
    """Return labels as (n,) int64 codes.

    Raises
    ------
    InputError
        If they are not one-dimensional whole numbers from 0 to ``n_classes - 1``.
    """
    codes = np.asarray(labels)
    if codes.ndim != 1:
        raise InputError(f"labels has shape {codes.shape}; give one label code a sample, shape (n,)")
    if codes.size and not np.issubdtype(codes.dtype, np.integer):
        raise InputError(
            f"labels has dtype {codes.dtype}; give integer codes 0 to {n_classes - 1}, "
            "for names: np.unique(names, return_inverse=True)[1]"
        )
    codes = codes.astype(np.int64)
    is_outside = (codes < 0) | (codes >= n_classes)
    if is_outside.any():
        row = int(np.argmax(is_outside))
        raise InputError(
            f"labels row {row} is {codes[row]}, outside 0 to {n_classes - 1} "
            f"({int(is_outside.sum())} such rows); set n_classes or leave unlabelled rows out"
        )
    return codes


def check_rate(rate: float) -> float:
    """Return the rate as a float.

    Raises
    ------
    InputError
        If it is not a number in [0, 1].
    """
    is_number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not is_number or not 0 <= rate <= 1:
        raise InputError(f"rate must be a number from 0 to 1 (0.4 = 40 %); got {rate!r}")
    return float(rate)
