"""Small data sets in memory and a cheap encoder that counts what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tamis.data.dataset import Dataset, Unreadable
from tamis.data.digests import content_digest, digest_array


class FakeImages:
    """Images in memory; a string in their place is the reason why it cannot be read."""

    kind = "image"

    def __init__(self, images: Sequence[np.ndarray | str]) -> None:
        self._images = list(images)
        self.n_read = 0

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows):
        self.n_read += len(rows)
        found = [self._images[row] for row in rows]
        return [
            Unreadable(row, image) if isinstance(image, str) else image
            for row, image in zip(rows, found, strict=True)
        ]

    def digests(self):
        return digest_array(
            bytes(16) if isinstance(image, str) else content_digest(image.tobytes() + bytes(image.shape))
            for image in self._images
        )


class CountingEncoder:
    """Three sums per image; counts the images it encodes and can stop the run."""

    name = "counting"
    kind = "image"
    dim = 3
    notes = ()
    is_thread_safe = False

    def __init__(self, version: str = "1", stop_after: int | None = None) -> None:
        self.n_encoded = 0
        self.version = version
        self.stop_after = stop_after

    def fingerprint(self) -> str | None:
        return f"counting {self.version}"

    def encode_batch(self, samples):
        if self.stop_after is not None and self.n_encoded >= self.stop_after:
            raise KeyboardInterrupt
        self.n_encoded += len(samples)
        return np.array([image.sum(axis=(0, 1)) for image in samples], dtype=np.float32)


@pytest.fixture
def counting() -> type[CountingEncoder]:
    return CountingEncoder


@pytest.fixture
def noise_images() -> Callable[..., list[np.ndarray]]:
    def make(n: int, side: int = 8, seed: int = 0) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return list(generator.integers(0, 256, size=(n, side, side, 3), dtype=np.uint8))

    return make


@pytest.fixture
def as_dataset() -> Callable[..., Dataset]:
    def make(samples, **options) -> Dataset:
        source = FakeImages(samples) if isinstance(samples, list) else samples
        n = len(source)
        table = pa.table(
            {
                "id": pa.array([str(row) for row in range(n)], pa.string()),
                "label": pa.array([0] * n, pa.int32()),
                "split": pa.nulls(n, pa.string()),
                "group": pa.nulls(n, pa.string()),
            }
        )
        return Dataset(table, ("a", "b"), inputs={source.kind: source}, **options)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
