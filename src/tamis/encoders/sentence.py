"""The built-in text encoder: all-MiniLM-L6-v2 with the weights of an installed package, never the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tamis.encoders.encoder import CountedBatch, Sample, SampleKind
from tamis.encoders.text_model import MAX_WINDOWS
from tamis.encoders.transformers_model import TransformersEncoder
from tamis.pretrained.minilm import model_folder
from tamis.types import FloatArray


class SentenceEncoder:
    """Sentence embeddings of all-MiniLM-L6-v2, 384 numbers of length 1 per text.

    For English texts up to a few hundred words; for other languages load a multilingual model with
    `TransformersEncoder`. Up to four windows of 128 tokens of a text are read and their tokens averaged.

    Parameters
    ----------
    max_windows : int, default 4
    precision : {"auto", "float32", "bfloat16"}
    device : str

    Raises
    ------
    MissingExtraError
        The package with the weights is not installed.

    References
    ----------
    .. [1] N. Reimers, I. Gurevych. Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks.
       EMNLP 2019.
    .. [2] W. Wang et al. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
       Pre-Trained Transformers. NeurIPS 2020.
    """

    is_thread_safe = True
    kind: SampleKind = "text"
    name = "all-minilm-l6-v2"

    def __init__(
        self, *, max_windows: int = MAX_WINDOWS, precision: str = "auto", device: str = "auto"
    ) -> None:
        self._model = TransformersEncoder(
            model_folder(), kind="text", precision=precision, device=device, max_windows=max_windows
        )
        self.dim = self._model.dim

    @property
    def notes(self) -> tuple[str, ...]:
        """What ran: precision and device."""
        return (f"texts were encoded in {self._model.precision} on {self._model.device}",)

    def fingerprint(self) -> str:
        """Return weights, windows, precision and versions as one line."""
        return f"unit length, {self._model.fingerprint()}"

    def encode_batch(self, samples: Sequence[Sample]) -> FloatArray:
        """Return (b, 384) float32 rows of length 1."""
        return self.encode_counted(samples).features

    def encode_counted(self, samples: Sequence[Sample]) -> CountedBatch:
        """Return the features and how many texts were longer than what is read."""
        raw, n_cut = self._model.encode_counted(samples)
        length = np.sqrt(np.square(raw, dtype=np.float64).sum(axis=1, keepdims=True))
        return CountedBatch((raw / np.where(length > 0, length, 1.0)).astype(np.float32), n_cut)

    def describe_cut(self, n_cut: int, n_samples: int) -> str:
        """Return the sentence that says how many texts were cut."""
        return self._model.describe_cut(n_cut, n_samples)
