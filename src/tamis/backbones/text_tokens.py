"""Texts as rows of tokens: what text backbones take for inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tamis.errors import InputError
from tamis.pretrained.transformers_models import load_tokenizer

NO_TOKEN = -1
"""Fills the rows of shorter texts."""

# Characters per token that are surely enough; what lies behind them is not even split into tokens.
_CHARACTERS_PER_TOKEN = 64
_BLOCK_ROWS = 4096


def tokenize(source: str, texts: Sequence[str], *, max_tokens: int = 128) -> torch.Tensor:
    """Return the tokens of texts for the model of ``source``.

    Parameters
    ----------
    source : str
        Folder or hub name of a model with its tokenizer.
    texts : sequence of str
    max_tokens : int
        What lies behind it is not read; the model's own limit counts where it is lower.

    Returns
    -------
    (n, L) int32 tensor
        L is ``max_tokens`` or the model's limit, whatever the texts; rows are filled with -1. Backbones
        do not compute on what is empty in a whole batch.

    Raises
    ------
    InputError
        ``max_tokens`` is below 2, an entry is no text, or there is no tokenizer.
    MissingExtraError
        ``transformers`` is not installed.

    Examples
    --------
    >>> from tamis.pretrained.minilm import model_folder
    >>> tokenize(model_folder(), ["a cat", "two cats asleep"], max_tokens=6).tolist()
    [[101, 1037, 4937, 102, -1, -1], [101, 2048, 8870, 6680, 102, -1]]
    """
    if max_tokens < 2:
        raise InputError(f"max_tokens is {max_tokens}; a text needs at least 2, for its begin and its end")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"texts row {row} is {type(text).__name__}, expected str; leave rows without a text out"
            )
    tokenizer = load_tokenizer(source)
    length = min(max_tokens, int(getattr(tokenizer, "model_max_length", max_tokens)))
    tokens = torch.full((len(texts), length), NO_TOKEN, dtype=torch.int32)
    for start in range(0, len(texts), _BLOCK_ROWS):
        block = texts[start : start + _BLOCK_ROWS]
        encoded = tokenizer(
            [text[: length * _CHARACTERS_PER_TOKEN] for text in block],
            truncation=True,
            max_length=length,
            return_overflowing_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        for row, found in enumerate(encoded["input_ids"], start):
            tokens[row, : len(found)] = torch.tensor(found, dtype=torch.int32)
    return tokens
