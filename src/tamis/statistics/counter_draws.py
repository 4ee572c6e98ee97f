"""Random numbers that depend on the seed, the step and the sample, and on nothing else."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.splitmix import GOLDEN, scattered
from tamis.types import IntArray


def step_generator(seed: int, step: int, stream: str, *, cycle: int = 0) -> np.random.Generator:
    """Return a generator for the draws of one step or epoch, which no other step's draws touch.

    Parameters
    ----------
    seed : int
        At least 0, below 2**64.
    step : int
        Step or epoch, likewise.
    stream : str
        What is drawn: two streams with one seed share no numbers.
    cycle : int, default=0
        Tells several draws of one step apart.

    Raises
    ------
    InputError
        A number that is not whole or out of range.

    Examples
    --------
    >>> first, again = step_generator(0, 7, "example"), step_generator(0, 7, "example")
    >>> first.random() == again.random() != step_generator(0, 8, "example").random()
    True
    """
    key = np.array([_word(seed, "seed"), zlib.crc32(stream.encode())], dtype=np.uint64)
    # Philox counts up in the first words of the counter; the last two are ours.
    counter = np.array([0, 0, _word(step, "epoch or step"), _word(cycle, "cycle")], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def sample_words(
    index: IntArray, seed: int, epoch: int, stream: str, *, cycle: int = 0
) -> npt.NDArray[np.uint64]:
    """Return a random 64-bit word for each sample: a pure function of seed, epoch, stream and its index.

    Sorting samples by their words gives a shuffled order in which neither the order nor the number of the
    others has a part.

    Parameters
    ----------
    index : (n,) int, at least 0
        Rows of the data set; work and memory grow with the largest of them.
    seed, epoch, stream, cycle
        As for `step_generator`.

    Returns
    -------
    (n,) uint64

    Examples
    --------
    >>> words = sample_words(np.arange(5), 0, 3, "example")
    >>> bool((sample_words(np.array([4, 1]), 0, 3, "example") == words[[4, 1]]).all())
    True
    """
    generator = step_generator(seed, epoch, stream, cycle=cycle)
    if not len(index):
        return np.empty(0, dtype=np.uint64)
    table = generator.bit_generator.random_raw(int(index.max()) + 1)
    return np.asarray(table, dtype=np.uint64)[index]


def repeated_words(words: npt.NDArray[np.uint64], repeats: IntArray) -> npt.NDArray[np.uint64]:
    """Return further random words of each sample: number ``repeats`` of the SplitMix64 stream it begins.

    Parameters
    ----------
    words : (n,) uint64
        From `sample_words`.
    repeats : (n,) int, at least 0
        Which number of the stream, counted from 0.

    Returns
    -------
    (n,) uint64

    Examples
    --------
    >>> repeated_words(np.zeros(2, dtype=np.uint64), np.array([0, 1]))
    array([16294208416658607535,  7960286522194355700], dtype=uint64)
    """
    return scattered(words + repeats.astype(np.uint64) * np.uint64(GOLDEN))


def _word(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**64:
        raise InputError(f"{name} is {value!r}; expected a whole number from 0 to 2**64 - 1")
    return int(value)
