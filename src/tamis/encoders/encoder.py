"""What an encoder is: a frozen pretrained model that turns samples into rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from tamis.data.dataset import Image
from tamis.types import FloatArray

SampleKind: TypeAlias = Literal["image", "text"]
Sample: TypeAlias = Image | str
"""An image as (height, width, 3) uint8 RGB, or a text."""


@runtime_checkable
class Encoder(Protocol):
    """A frozen model; the same sample always gives the same row, whatever stands beside it.

    An encoder may also have ``is_thread_safe = True``: then several batches are encoded at the same time,
    each in a thread of its own with one torch thread.
    """

    @property
    def name(self) -> str:
        """How reports and messages call it."""

    @property
    def kind(self) -> SampleKind:
        """Which samples it takes."""

    @property
    def dim(self) -> int | None:
        """Number of features per sample; None where only the first batch tells."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader of a report, e.g. the precision that was chosen."""

    def fingerprint(self) -> str | None:
        """Return text that changes whenever the features would: weights, transform, precision, versions.

        None means that nothing can be said; features are then never reused by a later run.
        """

    def encode_batch(self, samples: Sequence[Sample]) -> FloatArray:
        """Return (len(samples), dim) float32."""


class CountedBatch(NamedTuple):
    """Features of a batch and how many of its samples were too long to be read to their end."""

    features: FloatArray
    n_cut: int


@runtime_checkable
class CutsLongSamples(Protocol):
    """An encoder that reads only the beginning of long samples, and counts them."""

    def encode_counted(self, samples: Sequence[Sample]) -> CountedBatch:
        """Return what ``encode_batch`` returns, and the number of samples that were cut."""

    def describe_cut(self, n_cut: int, n_samples: int) -> str:
        """Return the sentence for a report that says how many samples were cut, and where."""
