"""A function of the user's as an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.encoders.encoder import Sample, SampleKind
from tamis.errors import InputError
from tamis.types import FloatArray

EncodingFunction: TypeAlias = Callable[[Sequence[Sample]], npt.ArrayLike]
"""Takes a list of images ((h, w, 3) uint8) or texts, returns one row of numbers for each."""


class CallableEncoder:
    """Wraps ``function(list of samples) -> (b, d) numbers``; it is called from one thread.

    Parameters
    ----------
    function : callable
        Gets a list of images ((height, width, 3) uint8 RGB, of any size) or of texts. A row must depend on
        its own sample only.
    name : str
        How reports call it.
    kind : {"image", "text"}
    version : str, optional
        Change it whenever the function's results change. Without it features are not kept for later runs.

    Raises
    ------
    InputError
        ``function`` cannot be called, ``name`` is empty, or ``kind`` is unknown.

    Examples
    --------
    >>> encoder = CallableEncoder(lambda texts: [[len(t)] for t in texts], name="length", kind="text")
    >>> encoder.encode_batch(["one", "three"]).tolist()
    [[3.0], [5.0]]
    """

    def __init__(
        self, function: EncodingFunction, *, name: str, kind: SampleKind, version: str | None = None
    ) -> None:
        if not callable(function):
            raise InputError(
                f"function is {type(function).__name__}, which cannot be called; pass a function"
            )
        if not name:
            raise InputError("name is empty; give the encoder a name for reports")
        if kind not in ("image", "text"):
            raise InputError(f"kind is {kind!r}; it must be 'image' or 'text'")
        self._function = function
        self._version = version
        self.name = name
        self.kind: SampleKind = kind
        self.dim: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing to report."""
        return ()

    def fingerprint(self) -> str | None:
        """Return name and version, None without a version."""
        return None if self._version is None else f"callable {self.name!r} version {self._version!r}"

    def encode_batch(self, samples: Sequence[Sample]) -> FloatArray:
        """Return what the function returns as float32.

        Raises
        ------
        InputError
            The result is no rectangular array of numbers.
        """
        result = self._function(list(samples))
        try:
            # Tensors on another device or with a gradient refuse with a TypeError or RuntimeError.
            return np.asarray(result, dtype=np.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"encoder {self.name!r} returned {type(result).__name__}, no array of numbers ({error}); "
                "return a numpy array of shape (number of samples, d)"
            ) from error
