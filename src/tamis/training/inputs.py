"""Raw inputs of a network: on the device where they fit, else decoded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tamis.backbones import InputKind
from tamis.data.dataset import Input, Unreadable
from tamis.encoders.squares import to_square
from tamis.engine import DecodedExamples, Examples, ResidentExamples
from tamis.errors import InputError
from tamis.memory import parse_memory_budget
from tamis.progress import track
from tamis.types import FloatArray, IntArray

_LOOKED_AT = 64
_SMALL_SIDE, _USUAL_SIDE = 64, 128
_BLOCK = 256


class Tokenizer(Protocol):
    """Turns texts into rows of token numbers."""

    def __call__(self, texts: list[str]) -> Tensor:
        """Return (b, length) int64, padded in the way its network knows."""
        ...


@dataclass(frozen=True)
class InputForm:
    """What every sample is brought to before a network sees it; saved with the model.

    Attributes
    ----------
    kind : {"features", "image", "text"}
    shape : tuple of int
        Of one sample: (d,), (3, side, side) or (length,).
    mean, std : (d,) float32 arrays or None
        Features are centred and scaled with these.
    """

    kind: InputKind
    shape: tuple[int, ...]
    mean: FloatArray | None = None
    std: FloatArray | None = None


def features_form(features: FloatArray, rows: IntArray, block: int = 65_536) -> InputForm:
    """Return the form of features: every column with mean 0 and standard deviation 1 over ``rows``.

    Columns that hardly vary are centred only, so that rounding is not blown up.
    """
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for start in range(0, len(rows), block):
        part = features[rows[start : start + block]].astype(np.float64)
        total += part.sum(axis=0)
    mean = total / len(rows)
    for start in range(0, len(rows), block):
        part = features[rows[start : start + block]].astype(np.float64) - mean
        squares += (part * part).sum(axis=0)
    std = np.sqrt(squares / len(rows))
    is_flat = std <= 1e-6 * max(1e-30, float(std.max(initial=0.0)))
    std[is_flat] = 1.0
    return InputForm("features", (features.shape[1],), mean.astype(np.float32), std.astype(np.float32))


def image_form(images: Input, side: int | None = None) -> InputForm:
    """Return the form of images: squares of their own size where they are small and alike, else of 128 px."""
    if side is not None:
        if side < 1:
            raise InputError(f"image_size is {side}; expected at least 1 pixel")
        return InputForm("image", (3, side, side))
    step = max(1, len(images) // _LOOKED_AT)
    samples = images.read(list(range(0, len(images), step))[:_LOOKED_AT])
    sides = {max(sample.shape[:2]) for sample in samples if isinstance(sample, np.ndarray)}
    is_small = len(sides) == 1 and max(sides) <= _SMALL_SIDE
    found = sides.pop() if is_small else _USUAL_SIDE
    return InputForm("image", (3, found, found))


def feature_examples(features: FloatArray, rows: IntArray, form: InputForm, device: torch.device) -> Examples:
    """Return rows of features, scaled, on the device."""
    assert form.mean is not None and form.std is not None  # of features
    scaled = torch.empty(len(rows), *form.shape)
    for start in range(0, len(rows), _BLOCK * 256):
        part = np.asarray(features[rows[start : start + _BLOCK * 256]], dtype=np.float32)
        scaled[start : start + len(part)] = torch.from_numpy((part - form.mean) / form.std)
    return ResidentExamples(scaled, device)


def image_examples(
    images: Input, rows: IntArray, form: InputForm, device: torch.device, memory_budget: str | int | None
) -> Examples:
    """Return rows of images as bytes: on the device if they fit the budget, else decoded when needed.

    An image that cannot be read is grey.
    """
    decode = _Decoder(images, rows, form.shape[1])
    budget = parse_memory_budget(memory_budget)
    n_bytes = len(rows) * int(np.prod(form.shape))
    if budget is not None and n_bytes > budget:
        return DecodedExamples(decode, len(rows), device)
    pixels = torch.empty((len(rows), *form.shape), dtype=torch.uint8)
    with track("reading", total=len(rows), unit="images") as advance:
        for start in range(0, len(rows), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(rows)))
            pixels[start : start + len(block)] = torch.from_numpy(decode(block))
            advance(len(block))
    return ResidentExamples(pixels, device)


def text_examples(
    texts: Input, rows: IntArray, tokenizer: Tokenizer, device: torch.device
) -> tuple[Examples, InputForm]:
    """Return rows of texts as token numbers; what cannot be read is an empty text."""
    pieces = []
    for start in range(0, len(rows), _BLOCK):
        samples = texts.read([int(row) for row in rows[start : start + _BLOCK]])
        pieces.append(tokenizer([sample if isinstance(sample, str) else "" for sample in samples]))
    tokens = torch.cat(pieces)
    return ResidentExamples(tokens, device), InputForm("text", (tokens.shape[1],))


class _Decoder:
    """Squares of one size, by position among the chosen rows."""

    def __init__(self, images: Input, rows: IntArray, side: int) -> None:
        self._images, self._rows, self._side = images, rows, side

    def __call__(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        samples = self._images.read([int(self._rows[position]) for position in positions])
        found = np.full((len(samples), 3, self._side, self._side), 127, dtype=np.uint8)
        for place, sample in enumerate(samples):
            if not isinstance(sample, Unreadable | str):
                found[place] = to_square(sample, self._side).transpose(2, 0, 1)
        return found
