"""Texts as windows of tokens, grouped so that a model always sees the same shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tamis.pretrained.transformers_models import Tokenizer
from tamis.types import IntArray

# Lengths are rounded up to a multiple of this, so that few shapes exist and a text's own length decides its.
_LENGTH_STEP = 32
# Characters per token that are surely enough; what lies behind them is not even split into tokens.
_CHARACTERS_PER_TOKEN = 64


class Windows(NamedTuple):
    """Windows of several texts.

    Attributes
    ----------
    tokens : list of list of int
        One list a window, special tokens included.
    owner : list of int
        Text of each window.
    n_cut : int
        Texts with more windows than were kept.
    """

    tokens: list[list[int]]
    owner: list[int]
    n_cut: int


class TokenBatch(NamedTuple):
    """Windows of about one length, padded to a fixed shape.

    Attributes
    ----------
    tokens, mask : (rows, length) int64
        The mask is 1 at tokens of the text; rows that only fill the batch have one token.
    owner : (k,) int64
        Text of each of the first k rows.
    """

    tokens: IntArray
    mask: IntArray
    owner: IntArray


def split_texts(tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int, max_windows: int) -> Windows:
    """Cut each text into at most ``max_windows`` windows of at most ``max_tokens`` tokens."""
    longest = max_tokens * max_windows * _CHARACTERS_PER_TOKEN
    encoded = tokenizer(
        [text[:longest] for text in texts],
        truncation=True,
        max_length=max_tokens,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    tokens: list[list[int]] = []
    owner: list[int] = []
    is_cut = [len(text) > longest for text in texts]
    n_windows = [0] * len(texts)
    for window, text in zip(encoded["input_ids"], encoded["overflow_to_sample_mapping"], strict=True):
        index = int(np.asarray(text))
        n_windows[index] += 1
        if n_windows[index] <= max_windows:
            tokens.append(window)
            owner.append(index)
        else:
            is_cut[index] = True
    return Windows(tokens, owner, sum(is_cut))


def batches(
    windows: Windows, *, rows: int, max_tokens: int, pad_token: int, is_padded_fully: bool = False
) -> Iterator[TokenBatch]:
    """Yield all windows in batches of ``rows`` of one padded length; short windows first.

    A window's padded length follows from its own length alone and every batch of that length has the same
    shape, so what a model makes of a window does not depend on the other windows. ``is_padded_fully`` pads
    every window to ``max_tokens``.

    Examples
    --------
    >>> windows = Windows([[5, 6, 7], [8]], [0, 1], 0)
    >>> batch = next(batches(windows, rows=4, max_tokens=3, pad_token=0))
    >>> batch.tokens.tolist(), batch.owner.tolist()
    ([[5, 6, 7], [8, 0, 0], [0, 0, 0], [0, 0, 0]], [0, 1])
    """
    by_length: dict[int, list[int]] = {}
    for index, window in enumerate(windows.tokens):
        rounded = min(-(-len(window) // _LENGTH_STEP) * _LENGTH_STEP, max_tokens)
        by_length.setdefault(max_tokens if is_padded_fully else rounded, []).append(index)
    for length in sorted(by_length):
        members = by_length[length]
        for start in range(0, len(members), rows):
            part = members[start : start + rows]
            tokens = np.full((rows, length), pad_token, dtype=np.int64)
            mask = np.zeros((rows, length), dtype=np.int64)
            # A row without any token would average over nothing.
            mask[:, 0] = 1
            for row, index in enumerate(part):
                window = windows.tokens[index]
                tokens[row, : len(window)] = window
                mask[row, : len(window)] = 1
            yield TokenBatch(tokens, mask, np.array([windows.owner[index] for index in part], dtype=np.int64))
