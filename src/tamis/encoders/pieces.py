"""A few rows at a time: read, encode, say what could not be read; memory stays bounded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from tamis.data.dataset import Image, Input, Unreadable
from tamis.data.inputs import ImageArrayInput, ImageInput, TextInput
from tamis.encoders.cache import Shard
from tamis.encoders.encoder import CountedBatch, CutsLongSamples, Encoder, Sample
from tamis.errors import InputError
from tamis.types import FloatArray

_READ_ROWS = {"image": 16, "text": 256}
# Assumed for the first samples, before one has been seen: an image of 2400 x 2400 pixels.
_FIRST_GUESS_BYTES = 2**24


class PieceEncoder:
    """Encodes rows of one input with one encoder; may be used by several threads.

    Parameters
    ----------
    model : Encoder
    source : Input
    bytes_at_once : int
        Decoded samples are handed to the encoder when they take more than this.
    """

    def __init__(self, model: Encoder, source: Input, *, bytes_at_once: int) -> None:
        self._model = model
        self._source = source
        self._bytes_at_once = bytes_at_once
        self._largest = 0
        self._dim = model.dim
        # A torch Dataset or another input of the user's may not bear two readers at once.
        is_ours = isinstance(source, ImageInput | ImageArrayInput | TextInput)
        self._reading = contextlib.nullcontext() if is_ours else threading.Lock()

    def encode(self, rows: Sequence[int]) -> Shard:
        """Return the features of some rows, in their order; unreadable ones are zeros with a reason."""
        unreadable: dict[int, str] = {}
        found: list[tuple[list[int], CountedBatch]] = []
        for positions, samples in self._readable(rows, unreadable):
            found.append((positions, self._encode_batch(samples)))
        features = np.zeros((len(rows), self._known_dim()), dtype=np.float32)
        for positions, batch in found:
            features[positions] = batch.features
        broken = ~np.isfinite(features).all(axis=1)
        for position in np.flatnonzero(broken):
            unreadable[int(position)] = f"encoder {self._model.name!r} gave a number that is not finite"
        features[broken] = 0.0
        return Shard(features, unreadable, sum(batch.n_cut for _, batch in found))

    def learn_dim(self, rows: Sequence[int]) -> bool:
        """Encode the first readable sample if the encoder does not say its width; False if there is none."""
        for row in rows if self._dim is None else ():
            sample = self._read([row])[0]
            if not isinstance(sample, Unreadable):
                self._dim = self._encode_batch([sample]).features.shape[1]
                break
        return self._dim is not None

    def _known_dim(self) -> int:
        if self._dim is None:
            raise RuntimeError("learn_dim comes before encode")
        return self._dim

    def _readable(
        self, rows: Sequence[int], unreadable: dict[int, str]
    ) -> Iterator[tuple[list[int], list[Sample]]]:
        positions: list[int] = []
        samples: list[Sample] = []
        held = at = 0
        while at < len(rows):
            part = rows[at : at + self._rows_at_once()]
            for position, sample in enumerate(self._read(part), start=at):
                if isinstance(sample, Unreadable):
                    unreadable[position] = sample.reason
                    continue
                positions.append(position)
                samples.append(sample)
                size = len(sample) if isinstance(sample, str) else sample.nbytes
                self._largest = max(self._largest, size)
                held += size
            at += len(part)
            if samples and (held > self._bytes_at_once or at >= len(rows)):
                yield positions, samples
                positions, samples, held = [], [], 0

    def _read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        with self._reading:
            return self._source.read(rows)

    def _rows_at_once(self) -> int:
        allowed = self._bytes_at_once // (self._largest or _FIRST_GUESS_BYTES)
        return max(1, min(_READ_ROWS[self._source.kind], allowed))

    def _encode_batch(self, samples: list[Sample]) -> CountedBatch:
        model = self._model
        if isinstance(model, CutsLongSamples):
            batch = model.encode_counted(samples)
        else:
            batch = CountedBatch(model.encode_batch(samples), 0)
        shape = np.shape(batch.features)
        if len(shape) != 2 or shape[0] != len(samples) or self._dim not in (None, shape[1]):
            raise InputError(
                f"encoder {model.name!r} returned shape {shape} for {len(samples)} samples; it must return "
                f"({len(samples)}, {self._dim or 'd'}): one row of numbers a sample, always equally many"
            )
        return batch


def join_shards(parts: Sequence[Shard]) -> Shard:
    """Return pieces one below the other.

    Examples
    --------
    >>> one = Shard(np.zeros((2, 1), dtype=np.float32), {1: "truncated"})
    >>> join_shards([one, one]).unreadable
    {1: 'truncated', 3: 'truncated'}
    """
    unreadable: dict[int, str] = {}
    n_rows = 0
    for part in parts:
        unreadable |= {n_rows + position: reason for position, reason in part.unreadable.items()}
        n_rows += len(part.features)
    features: FloatArray = np.concatenate([part.features for part in parts])
    return Shard(features, unreadable, sum(part.n_cut for part in parts))
