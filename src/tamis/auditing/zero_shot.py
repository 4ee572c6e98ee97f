"""What a vision-language model says of the labels without having seen one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from tamis.data import Dataset
from tamis.errors import InputError
from tamis.runs import StageStore
from tamis.types import FloatArray

if TYPE_CHECKING:
    from tamis.auditing.rows import Rows
    from tamis.encoders import Encoder, EncoderChoice
    from tamis.encoders.prompts import Prompts

PromptChoice: TypeAlias = "Prompts | str | os.PathLike[str] | None"
"""Prompts, a file of them, or None: the class names alone."""

_LEAST_PROB = 1e-6


class ZeroShotEvidence(NamedTuple):
    """Evidence for the assessed rows, in the order of ``Rows.rows``.

    Attributes
    ----------
    log_probs : (m, C) float32
        Logarithm of the zero-shot probability of every canonical class.
    scores : mapping of name to (m,) float64
        ``zero_shot``: probability of the given label. ``clipcleaner``: 1 where that selection keeps the row.
    """

    log_probs: FloatArray
    scores: dict[str, FloatArray]


def vision_language_encoder(dataset: Dataset, encoder: EncoderChoice, device: str) -> Encoder:
    """Return the encoder that embeds images and prompts.

    Raises
    ------
    InputError
        There are no images, no encoder was named, or it has no text side.
    """
    from tamis.encoders import get_encoder
    from tamis.encoders.prompts import EncodesTexts

    if "image" not in dataset.inputs:
        raise InputError("zero_shot compares images with class names; the data hold no images: leave it out")
    if encoder is None:
        raise InputError(
            "zero_shot needs a vision-language model: name one with encoder=, a folder or a hub name such as "
            "'openai/clip-vit-base-patch32'"
        )
    model = get_encoder(encoder, "image", device=device)
    if not isinstance(model, EncodesTexts):
        raise InputError(
            f"encoder {model.name!r} takes no texts; zero_shot needs a vision-language model such as CLIP"
        )
    return model


def embed_prompts(dataset: Dataset, encoder: Encoder, prompts: PromptChoice) -> tuple[FloatArray, ...]:
    """Return (prompts, d) embeddings for each class of the data set.

    Raises
    ------
    InputError
        The file of prompts cannot be read or names what is no class, or the encoder takes no texts.
    """
    from tamis.encoders.prompts import EncodesTexts, Prompts, encode_prompts, read_prompts

    assert isinstance(encoder, EncodesTexts)  # `vision_language_encoder` has checked
    if prompts is None:
        prompts = Prompts()
    elif not isinstance(prompts, Prompts):
        prompts = read_prompts(Path(prompts))
    return tuple(encode_prompts(encoder, prompts.of(dataset.class_names)))


def weigh_zero_shot(
    features: FloatArray | None, texts: tuple[FloatArray, ...] | None, rows: Rows, store: StageStore
) -> ZeroShotEvidence | None:
    """Return what prompts tell of the assessed rows; None where there are no prompts."""
    from tamis.detectors.clipcleaner import CLIPCleaner

    if texts is None or features is None:
        return None
    kept, log_probs = store.load("clipcleaner"), store.load("zero_shot")
    if kept is None or log_probs is None:
        images, used = features[rows.rows], [texts[code] for code in rows.classes]
        cleaner = CLIPCleaner().fit(rows.codes, images, used)
        kept = cleaner.keep_.astype(np.float64)
        log_probs = np.log(np.maximum(cleaner.probs_zero_, _LEAST_PROB)).astype(np.float32)
        store.save("clipcleaner", kept)
        store.save("zero_shot", log_probs)
    own = np.exp(log_probs[np.arange(len(rows.codes)), rows.codes].astype(np.float64))
    scores = {"zero_shot": own, "clipcleaner": np.array(kept)}
    return ZeroShotEvidence(np.array(log_probs), scores)
