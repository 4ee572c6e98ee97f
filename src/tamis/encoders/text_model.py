"""The text side of a pretrained model: windows of tokens in, one row of numbers per text out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from tamis.encoders.encoder import CountedBatch
from tamis.encoders.token_windows import TokenBatch, batches, split_texts
from tamis.pretrained.transformers_models import Pretrained, load_tokenizer, read_settings

if TYPE_CHECKING:
    import torch

Readout: TypeAlias = Literal["mean", "first", "joint"]
"""Mean over tokens, the first token, or the joint space of a vision-language model."""

# Sentence models learn from short texts: several windows of 128 tokens serve better than one long one.
WINDOW_TOKENS, MAX_WINDOWS = 128, 4
_BATCH_ROWS = {"cpu": 16, "other": 64}


class TextLimits(NamedTuple):
    """How much of a text is read: ``windows`` pieces of ``tokens`` tokens, special tokens included."""

    tokens: int
    windows: int


class TextModel:
    """Computes text features; several threads may use it.

    Parameters
    ----------
    loaded : Pretrained
    device : str
        Where ``loaded.model`` is.
    max_windows : int
        Windows of long texts; always 1 for vision-language models.
    """

    def __init__(self, loaded: Pretrained, *, device: str, max_windows: int = MAX_WINDOWS) -> None:
        self._model = loaded.model
        self._device = device
        self._tokenizer = load_tokenizer(loaded.source)
        self.readout: Readout = _readout(loaded)
        self.limits = _limits(loaded, self._tokenizer, max_windows)
        self._pad_token = int(getattr(self._tokenizer, "pad_token_id", None) or 0)
        inputs = getattr(self._tokenizer, "model_input_names", ["input_ids", "attention_mask"])
        # SigLIP learned from padded texts without a mask; its tokenizer says so.
        self._has_mask = self.readout != "joint" or "attention_mask" in inputs
        self._batch_rows = _BATCH_ROWS["cpu" if device == "cpu" else "other"]
        # A fast tokenizer keeps its truncation as state and refuses two callers at once.
        self._lock = threading.Lock()

    def describe(self) -> str:
        """Return what decides the features, beside the weights, as one line."""
        return f"{self.readout} {self.limits.windows}x{self.limits.tokens} batch-{self._batch_rows}"

    def encode(self, texts: Sequence[str]) -> CountedBatch:
        """Return (len(texts), d) float32 features and how many texts were cut."""
        import torch

        tokens, windows = self.limits
        with self._lock:
            split = split_texts(self._tokenizer, texts, max_tokens=tokens, max_windows=windows)
        sums: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None
        weights = np.zeros(len(texts), dtype=np.float32)
        shapes = batches(
            split,
            rows=self._batch_rows,
            max_tokens=tokens,
            pad_token=self._pad_token,
            is_padded_fully=self.readout == "joint",
        )
        with torch.inference_mode():
            for batch in shapes:
                rows, counts = self._read(batch)
                if sums is None:
                    sums = np.zeros((len(texts), rows.shape[1]), dtype=np.float32)
                # Windows of one text arrive in an order that its own length decides.
                np.add.at(sums, batch.owner, rows[: len(batch.owner)].cpu().numpy())
                np.add.at(weights, batch.owner, counts[: len(batch.owner)].cpu().numpy())
        if sums is None:
            sums = np.zeros((len(texts), 0), dtype=np.float32)
        return CountedBatch(sums / np.maximum(weights, 1.0)[:, None], split.n_cut)

    def _read(self, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        tokens = torch.from_numpy(batch.tokens).to(self._device)
        mask = torch.from_numpy(batch.mask).to(self._device)
        inputs = {"input_ids": tokens} | ({"attention_mask": mask} if self._has_mask else {})
        if self.readout == "joint":
            joint = self._model.get_text_features(**inputs)  # type: ignore[operator]  # a method of the model
            rows = joint if isinstance(joint, torch.Tensor) else joint.pooler_output
            return rows.float(), torch.ones(len(rows))
        # (rows, length, d)
        hidden = self._model(**inputs).last_hidden_state.float()
        if self.readout == "first":
            return hidden[:, 0], torch.ones(len(hidden))
        return (hidden * mask[:, :, None]).sum(dim=1), mask.sum(dim=1).float()


def _readout(loaded: Pretrained) -> Readout:
    if loaded.is_vision_language:
        return "joint"
    pooling = read_settings(loaded.source, "1_Pooling/config.json")
    return "first" if pooling.get("pooling_mode_cls_token") is True else "mean"


def _limits(loaded: Pretrained, tokenizer: object, max_windows: int) -> TextLimits:
    part = "text_config" if loaded.is_vision_language else None
    found = [
        loaded.number("max_position_embeddings", part=part),
        getattr(tokenizer, "model_max_length", None),
    ]
    found.append(_whole(read_settings(loaded.source, "sentence_bert_config.json").get("max_seq_length")))
    longest = min((int(limit) for limit in found if limit), default=WINDOW_TOKENS)
    return TextLimits(longest, 1) if part else TextLimits(min(longest, WINDOW_TOKENS), max_windows)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
