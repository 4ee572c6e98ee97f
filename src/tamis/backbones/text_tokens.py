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
        L is the longest of these texts; shorter ones are filled with -1.

    Raises
    ------
    InputError
        ``max_tokens`` is below 2, an entry is no text, or there is no tokenizer.
    MissingExtraError
        ``transformers`` is not installed.

    Examples
    --------
    >>> from tamis.pretrained.minilm import model_folder
    >>> tokenize(model_folder(), ["a cat", "two cats asleep"]).shape
    torch.Size([2, 5])
    """
    if max_tokens < 2:
        raise InputError(f"max_tokens is {max_tokens}; a text needs at least 2, for its begin and its end")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"texts row {row} is {type(text).__name__}, expected str; leave rows without a text out"
            )
    if not texts:
        return torch.full((0, 1), NO_TOKEN, dtype=torch.int32)
    tokenizer = load_tokenizer(source)
    length = min(max_tokens, int(getattr(tokenizer, "model_max_length", max_tokens)))
    encoded = tokenizer(
        [text[: length * _CHARACTERS_PER_TOKEN] for text in texts],
        truncation=True,
        max_length=length,
        return_overflowing_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    rows = [torch.tensor(row, dtype=torch.int32) for row in encoded["input_ids"]]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN)
