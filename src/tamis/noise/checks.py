"""What every noise model checks about its arguments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray


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


def count_classes(*labels: npt.ArrayLike) -> int:
    """Return the largest code plus 1, at least 1; what holds no codes is left for `check_codes` to refuse."""
    arrays = [np.asarray(each) for each in labels]
    return 1 + max((int(each.max(initial=0)) for each in arrays if each.dtype.kind in "iu"), default=0)


def check_rate(rate: float, name: str = "rate") -> float:
    """Return the rate as a float.

    Raises
    ------
    InputError
        If it is not a number in [0, 1].
    """
    if not is_number(rate) or not 0 <= rate <= 1:
        raise InputError(f"{name} must be a number from 0 to 1 (0.4 = 40 %); got {rate!r}")
    return float(rate)


def check_number(value: float, name: str, *, above: float | None = None) -> float:
    """Return a finite number of at least 0, or larger than ``above``, as a float.

    Raises
    ------
    InputError
        If it is not one.
    """
    is_legal = is_number(value) and bool(np.isfinite(value))
    if not is_legal or (value < 0 if above is None else value <= above):
        raise InputError(
            f"{name} must be a number {'>= 0' if above is None else f'> {above:g}'}; got {value!r}"
        )
    return float(value)


def check_whole(value: int, name: str, at_least: int) -> int:
    """Return a whole number.

    Raises
    ------
    InputError
        If it is not one, or less than ``at_least``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise InputError(f"{name} must be a whole number of at least {at_least}; got {value!r}")
    return int(value)


def check_classes(n_classes: int) -> int:
    """Return the number of classes, at least 2: one class has no other to be taken for."""
    return check_whole(n_classes, "n_classes", 2)


def check_choice(value: str, name: str, legal: tuple[str, ...]) -> None:
    """Refuse a value that is not in ``legal``."""
    if not isinstance(value, str) or value not in legal:
        listed = ", ".join(repr(each) for each in legal[:-1])
        raise InputError(f"{name} must be {listed} or {legal[-1]!r}; got {value!r}")


def check_features(features: npt.ArrayLike, n_samples: int, name: str = "features") -> FloatArray:
    """Return real features as (n, d), without copying or changing their numbers.

    Parameters
    ----------
    features : (n, ...) real
        Further axes are flattened.
    n_samples : int

    Raises
    ------
    InputError
        If the number of rows or the type does not fit. Whether they are finite is for the caller to check,
        block by block.
    """
    matrix = np.asanyarray(features)
    if matrix.ndim < 2 or len(matrix) != n_samples:
        raise InputError(
            f"{name} has shape {matrix.shape}; give one row for each of the {n_samples} labels, shape (n, d)"
        )
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {matrix.dtype}; give real numbers")
    return matrix.reshape(n_samples, int(np.prod(matrix.shape[1:])))


def check_finite(block: npt.NDArray[np.float64], rows: IntArray, name: str = "features") -> None:
    """Refuse NaN and infinity in the (b, d) block that holds the given rows of ``name``."""
    is_bad = ~np.isfinite(block).all(axis=1)
    if is_bad.any():
        raise InputError(
            f"{name} row {rows[int(np.argmax(is_bad))]} holds NaN or infinity; leave such rows out of both "
            "labels and features, or fill them"
        )


def is_number(value: object) -> bool:
    """Return whether a value is one real number, not a bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
