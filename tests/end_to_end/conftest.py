"""Small inputs, and the command line called in this process."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from tamis.cli import main

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """The last line of standard output."""
        found: dict[str, object] = json.loads(self.out.splitlines()[-1])
        return found


Cli = Callable[..., Told]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return ``cli(*words)``: one command in this process, in a fresh folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Told:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        told = Told(code, out.getvalue(), err.getvalue())
        assert "Traceback" not in told.err
        assert "a fault in tamis" not in told.err, told.err
        return told

    return call


def blobs(n: int = 120, *, seed: int = 0, n_flipped: int = 6) -> tuple[Floats, Ints]:
    """Return (n, 8) features in three clusters and labels, the first ``n_flipped`` of them wrong."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = (random.normal(size=(3, 8))[labels] * 3 + random.normal(size=(n, 8))).astype(np.float32)
    labels[:n_flipped] = (labels[:n_flipped] + 1) % 3
    return features, labels


def save_arrays(folder: Path, **arrays: npt.NDArray[np.generic]) -> list[str]:
    """Write arrays as ``.npy`` and return the options that name them."""
    words = []
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
        words += [f"--{name.replace('_', '-')}", str(folder / f"{name}.npy")]
    return words


def save_picture(path: Path, seed: int, colour: tuple[int, int, int], size: int = 24) -> None:
    """Write a noisy picture of one colour."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3)) * 18
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray((noise + colour).clip(0, 255).astype(np.uint8)).save(path)


def picture_folder(root: Path, names: tuple[str, str], n_each: int = 8) -> None:
    """Write a folder of two classes, red and blue."""
    for code, (name, colour) in enumerate(zip(names, [(200, 60, 60), (60, 60, 200)], strict=True)):
        for index in range(n_each):
            save_picture(root / name / f"{index}.jpg", 100 * code + index, colour)


def png_that_claims(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header declares another size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
