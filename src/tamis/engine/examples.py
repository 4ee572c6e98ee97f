"""The inputs of training: on the device whole, or decoded batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tamis.errors import InputError

Decode = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]
"""``decode(rows) -> (b, channels, height, width) uint8``."""


class Examples(Protocol):
    """Raw inputs by row."""

    n_samples: int

    def fetch(self, index: Tensor) -> Tensor:
        """Return raw inputs of rows ``index``, (b, ...), on the device."""
        ...

    def prefetch(self, index: Tensor) -> None:
        """Begin to make ready what `fetch` will be asked for."""
        ...


class ResidentExamples:
    """Inputs that stay on the device as one tensor.

    Parameters
    ----------
    inputs : (n, ...) tensor
        uint8 images (n, channels, height, width), features (n, d) or token numbers (n, length).
    device : torch.device or str, default="cpu"

    Examples
    --------
    >>> ResidentExamples(torch.arange(6).reshape(3, 2)).fetch(torch.tensor([2, 0]))
    tensor([[4, 5],
            [0, 1]])
    """

    def __init__(self, inputs: Tensor, device: torch.device | str = "cpu") -> None:
        if inputs.ndim < 2:
            raise InputError(f"inputs have shape {tuple(inputs.shape)}; expected one row for each sample")
        self.n_samples = len(inputs)
        self._inputs = inputs.to(device)

    def fetch(self, index: Tensor) -> Tensor:
        """Return rows of the tensor."""
        return self._inputs[index]

    def prefetch(self, index: Tensor) -> None:
        """Do nothing: all is there."""


class ChosenExamples:
    """Some rows of other examples, under numbers of their own.

    Parameters
    ----------
    examples : Examples
    rows : (m,) int64 tensor
        On the device.
    """

    def __init__(self, examples: Examples, rows: Tensor) -> None:
        self.n_samples = len(rows)
        self._examples = examples
        self._rows = rows

    def fetch(self, index: Tensor) -> Tensor:
        """Return raw inputs."""
        return self._examples.fetch(self._rows[index])

    def prefetch(self, index: Tensor) -> None:
        """Begin to make ready what `fetch` will be asked for."""
        self._examples.prefetch(self._rows[index])


class DecodedExamples:
    """Images that are decoded when they are needed, by threads, a few batches ahead.

    Parameters
    ----------
    decode : callable
        ``decode(rows)`` returns uint8 images of one size; several threads call it.
    n_samples : int
    device : torch.device or str, default="cpu"
    workers : int, default=4
    piece : int, default=32
        Images that one thread decodes at a time.
    """

    def __init__(
        self,
        decode: Decode,
        n_samples: int,
        device: torch.device | str = "cpu",
        *,
        workers: int = 4,
        piece: int = 32,
    ) -> None:
        if workers < 1 or piece < 1:
            raise InputError(f"workers is {workers}, piece {piece}; expected at least 1 each")
        self.n_samples = n_samples
        self._decode = decode
        self._device = torch.device(device)
        self._piece = piece
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="tamis-decode")
        self._ready: dict[bytes, list[Future[npt.NDArray[np.uint8]]]] = {}

    def fetch(self, index: Tensor) -> Tensor:
        """Return decoded images."""
        rows = _rows(index)
        pieces = self._ready.pop(rows.tobytes(), None) or self._submit(rows)
        images = torch.from_numpy(np.concatenate([piece.result() for piece in pieces]))
        if self._device.type == "cuda":
            return images.pin_memory().to(self._device, non_blocking=True)
        return images.to(self._device)

    def prefetch(self, index: Tensor) -> None:
        """Let the threads begin with these rows."""
        rows = _rows(index)
        key = rows.tobytes()
        if key not in self._ready:
            self._ready[key] = self._submit(rows)

    def _submit(self, rows: npt.NDArray[np.int64]) -> list[Future[npt.NDArray[np.uint8]]]:
        cuts = range(0, max(1, len(rows)), self._piece)
        return [self._pool.submit(self._decode, rows[start : start + self._piece]) for start in cuts]


def _rows(index: Tensor) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(index.cpu().numpy(), dtype=np.int64)
