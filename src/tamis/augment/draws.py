"""Random numbers that depend on the seed, the step and the sample, and on nothing else.

A counter-based generator: every number is a hash of (seed, stream, step, sample, position). There is no
state, so a sample gets the same draws in any batch, in any process, on any device, and after a resume.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.splitmix import FACTORS, GOLDEN

_MASK = 2**64 - 1
_FRACTION = 24
"""Bits of a uniform number: as many as a float32 below 1 can hold evenly."""


def uniforms(seed: int, step: int, index: Tensor, count: int, *, stream: str) -> Tensor:
    """Return numbers in [0, 1), row b a pure function of ``(seed, stream, step, index[b])``.

    The first numbers of a row do not depend on ``count``. The result is bitwise the same on every device.

    Parameters
    ----------
    seed : int
        0 to 2**64 - 1.
    step : int
        Epoch, step, or any other count of repetitions; at least 0.
    index : (B,) int64
        Rows of the data set.
    count : int
        Numbers a sample, at least 0.
    stream : str
        What the numbers are for: two streams with one seed share no numbers.

    Returns
    -------
    (B, count) float32, on the device of ``index``; multiples of 2**-24

    Raises
    ------
    InputError
        An argument of another type, shape or range.

    References
    ----------
    .. [1] Steele, Lea, Flood. Fast splittable pseudorandom number generators. OOPSLA 2014 (finaliser).
    .. [2] Salmon, Moraes, Dror, Shaw. Parallel random numbers: as easy as 1, 2, 3. SC 2011 (counters).

    Examples
    --------
    >>> batch = uniforms(0, 7, torch.tensor([3, 9, 4]), 2, stream="crop")
    >>> alone = uniforms(0, 7, torch.tensor([4]), 2, stream="crop")
    >>> batch.shape, bool((batch[2] == alone[0]).all())
    (torch.Size([3, 2]), True)
    """
    words = _words(seed, step, index, count, stream)
    return _shifted(words, 64 - _FRACTION).to(torch.float32) * 2.0**-_FRACTION


def normals(seed: int, step: int, index: Tensor, count: int, *, stream: str) -> Tensor:
    """Return standard normal numbers; arguments, shape and errors are those of `uniforms`.

    One 64-bit word makes two numbers (Box and Muller): its upper half the radius, up to 6.7, its lower
    half the angle. Devices may differ in the last bit of logarithm and cosine.

    Examples
    --------
    >>> normals(0, 0, torch.arange(1000), 8, stream="noise").std().round(decimals=1)
    tensor(1.)
    """
    _check_count(count)
    words = _words(seed, step, index, (count + 1) // 2, stream)
    # Half a unit off both ends: the logarithm stays finite.
    radius = _shifted(words, 32).to(torch.float32).add_(0.5).mul_(2.0**-32).clamp_max_(1.0)
    radius = radius.log_().mul_(-2.0).sqrt_()
    angle = (words & 0xFFFFFFFF).to(torch.float32).mul_(2.0**-32 * 2.0 * math.pi)
    pairs = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=2)  # (B, words, 2)
    return pairs.flatten(1)[:, :count]


def permutation(
    seed: int, step: int, size: int, *, stream: str, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the numbers from 0 to ``size - 1`` in an order that depends on ``(seed, stream, step)`` only.

    Parameters
    ----------
    seed, step, stream
        As for `uniforms`.
    size : int
        At least 0.
    device : torch.device or str
        Where the result stands; the order is the same on every device.

    Returns
    -------
    (size,) int64

    Examples
    --------
    >>> order = permutation(0, 3, 5, stream="shuffle")
    >>> order.sort().values
    tensor([0, 1, 2, 3, 4])
    """
    _check_count(size, "size")
    words = _words(seed, step, torch.arange(size, device=device), 1, stream)[:, 0]
    # Stable: two equal words, however unlikely, are ordered alike on every device.
    return words.argsort(stable=True)


def unit_interval(seed: int, step: int, *, stream: str) -> float:
    """Return one number in [0, 1) for a whole step, made on the host: no device waits for it.

    Examples
    --------
    >>> 0 <= unit_interval(0, 5, stream="lambda") < 1
    True
    """
    return (_mixed(_key(seed, step, stream)) >> 11) * 2.0**-53


def _key(seed: int, step: int, stream: str) -> int:
    for name, value in (("seed", seed), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MASK:
            raise InputError(f"{name} is {value!r}; expected a whole number from 0 to 2**64 - 1")
    text = stream.encode()
    name_word = zlib.crc32(text) << 32 | zlib.adler32(text)
    return _mixed(_mixed(_mixed(seed + GOLDEN) ^ name_word) + step * GOLDEN)


def _words(seed: int, step: int, index: Tensor, count: int, stream: str) -> Tensor:
    """Return (B, count) hashes as int64 of any sign; arithmetic wraps at 64 bits."""
    _check_count(count)
    if index.ndim != 1 or index.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"index has shape {tuple(index.shape)} and dtype {index.dtype}; expected one int64 row number"
            " a sample, shape (B,)"
        )
    samples = index.to(torch.int64) * _signed(GOLDEN) + _signed(_key(seed, step, stream))
    positions = torch.arange(1, count + 1, device=index.device) * _signed(GOLDEN)
    return _finalised(_finalised(samples)[:, None] + positions)


def _finalised(words: Tensor) -> Tensor:
    """Return the words scattered over all 64 bits, in place."""
    words.bitwise_xor_(_shifted(words, 30)).mul_(_signed(FACTORS[0]))
    words.bitwise_xor_(_shifted(words, 27)).mul_(_signed(FACTORS[1]))
    return words.bitwise_xor_(_shifted(words, 31))


def _shifted(words: Tensor, bits: int) -> Tensor:
    # torch shifts signed integers arithmetically: the mask drops the copies of the sign.
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mixed(word: int) -> int:
    """Return what `_finalised` returns, for a Python integer; unsigned."""
    word &= _MASK
    word = ((word ^ (word >> 30)) * FACTORS[0]) & _MASK
    word = ((word ^ (word >> 27)) * FACTORS[1]) & _MASK
    return word ^ (word >> 31)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _check_count(count: int, name: str = "count") -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InputError(f"{name} is {count!r}; expected a whole number of at least 0")
