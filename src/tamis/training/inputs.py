"""Raw inputs of a network, all rows of a data set: on the device if they fit, else decoded by the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tamis.backbones import InputKind, tokenize
from tamis.data.dataset import Input, Unreadable
from tamis.encoders.squares import to_square
from tamis.engine import DecodedExamples, Examples, ResidentExamples
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget
from tamis.progress import track
from tamis.types import FloatArray, IntArray

_LOOKED_AT = 64
_SMALL_SIDE, _USUAL_SIDE = 64, 128
_BLOCK = 256
_LENGTH = 4.0
"""Of a row of features, as the root of the mean square."""
_COMPARABLE = 30.0
"""Standard deviations above the usual one by more than this factor are of columns of another scale."""
_FEATURE_BLOCK = 65_536


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
    tokenizer : str or None
        Folder or hub name of the model whose tokens texts become.
    """

    kind: InputKind
    shape: tuple[int, ...]
    mean: FloatArray | None = None
    std: FloatArray | None = None
    tokenizer: str | None = None


class Gathered(NamedTuple):
    """Inputs of every row of a data set.

    Attributes
    ----------
    examples : Examples
        A row that cannot be read is zero, grey or an empty text.
    unreadable : mapping of row to reason
        Rows that turned out so now.
    """

    examples: Examples
    unreadable: Mapping[int, str]


def features_form(features: FloatArray, rows: IntArray) -> InputForm:
    """Return the form of features: mean 0 over ``rows``, one scale for all columns, rows of length 4.

    One scale keeps what an encoder's columns say by their size: on CIFAR-10N worse a perceptron reached
    74.5 % this way and 69.9 % with every column standardised. Columns of wholly different scales, as in
    tables of measurements, are standardised all the same. Columns that hardly vary are centred only, so that
    rounding is not blown up. The length is fixed so that one learning rate suits any number of columns.
    """
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for start in range(0, len(rows), _FEATURE_BLOCK):
        part = features[rows[start : start + _FEATURE_BLOCK]].astype(np.float64)
        total += part.sum(axis=0)
    mean = total / len(rows)
    for start in range(0, len(rows), _FEATURE_BLOCK):
        part = features[rows[start : start + _FEATURE_BLOCK]].astype(np.float64) - mean
        squares += (part * part).sum(axis=0)
    std = np.sqrt(squares / len(rows))
    # Against the size of the values, too: what is left of a constant column is the rounding of its mean.
    is_flat = (std <= 1e-6 * float(std.max(initial=0.0))) | (std <= 1e-6 * np.abs(mean)) | (std == 0)
    scale = _scales(std[~is_flat])
    std[is_flat] = 1.0
    std[~is_flat] = scale
    return InputForm("features", (features.shape[1],), mean.astype(np.float32), std.astype(np.float32))


def _scales(std: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what columns of these standard deviations are divided by."""
    if not len(std):
        return std
    is_comparable = std.max() <= _COMPARABLE * np.median(std)
    scale = np.full(len(std), np.sqrt((std * std).mean())) if is_comparable else std
    divisors: npt.NDArray[np.float64] = scale * np.sqrt(len(std)) / _LENGTH
    return divisors


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


def text_form(tokenizer: str) -> InputForm:
    """Return the form of texts: rows of tokens of one length, which the model behind ``tokenizer`` knows."""
    return InputForm("text", tuple(tokenize(tokenizer, [""]).shape[1:]), tokenizer=tokenizer)


def gather_features(features: FloatArray, form: InputForm, device: torch.device) -> Gathered:
    """Return features, scaled, on the device.

    Raises
    ------
    InputError
        They have another width than those of the form.
    """
    if features.shape[1:] != form.shape:
        raise InputError(f"the data have {features.shape[1]} features, the model takes {form.shape[0]}")
    assert form.mean is not None and form.std is not None  # of features
    scaled = torch.empty(len(features), *form.shape)
    for start in range(0, len(features), _FEATURE_BLOCK):
        part = np.asarray(features[start : start + _FEATURE_BLOCK], dtype=np.float32)
        scaled[start : start + len(part)] = torch.from_numpy((part - form.mean) / form.std)
    return Gathered(ResidentExamples(scaled, device), {})


def gather_images(
    images: Input, form: InputForm, device: torch.device, memory_budget: str | int | None
) -> Gathered:
    """Return images as bytes: on the device if they fit the budget, else decoded when they are needed.

    Every image is decoded once at the start, to know which cannot be.
    """
    decode = _Decoder(images, form.shape[1])
    budget = parse_memory_budget(memory_budget)
    fits = budget is None or len(images) * int(np.prod(form.shape)) <= budget
    pixels = torch.empty((len(images) if fits else 0, *form.shape), dtype=torch.uint8)
    with track("reading", total=len(images), unit="images") as advance:
        for start in range(0, len(images), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(images)))
            found = decode(block)
            if fits:
                pixels[start : start + len(block)] = torch.from_numpy(found)
            advance(len(block))
    examples = ResidentExamples(pixels, device) if fits else DecodedExamples(decode, len(images), device)
    return Gathered(examples, dict(decode.unreadable))


def gather_texts(texts: Input, form: InputForm, device: torch.device) -> Gathered:
    """Return texts as rows of tokens."""
    assert form.tokenizer is not None  # of texts
    pieces: list[torch.Tensor] = []
    unreadable: dict[int, str] = {}
    for start in range(0, len(texts), _FEATURE_BLOCK):
        rows = list(range(start, min(start + _FEATURE_BLOCK, len(texts))))
        samples = texts.read(rows)
        unreadable |= {
            row: sample.reason
            for row, sample in zip(rows, samples, strict=True)
            if isinstance(sample, Unreadable)
        }
        pieces.append(
            tokenize(form.tokenizer, [sample if isinstance(sample, str) else "" for sample in samples])
        )
    return Gathered(ResidentExamples(torch.cat(pieces), device), unreadable)


class _Decoder:
    """Squares of one size, by row; remembers what could not be decoded."""

    def __init__(self, images: Input, side: int) -> None:
        self._images, self._side = images, side
        self.unreadable: dict[int, str] = {}

    def __call__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        samples = self._images.read([int(row) for row in rows])
        found = np.full((len(samples), 3, self._side, self._side), 127, dtype=np.uint8)
        for place, sample in enumerate(samples):
            if isinstance(sample, Unreadable):
                self.unreadable[int(rows[place])] = sample.reason
            elif not isinstance(sample, str):
                found[place] = to_square(sample, self._side).transpose(2, 0, 1)
        return found
