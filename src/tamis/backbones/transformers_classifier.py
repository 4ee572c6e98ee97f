"""Any vision or text model of the ``transformers`` library under a linear head, frozen or fine-tuned."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier, Normalisation
from tamis.backbones.freezing import Freezable
from tamis.backbones.image_size import fit_images
from tamis.backbones.initialisation import without_draws
from tamis.errors import InputError
from tamis.pretrained.minilm import model_folder
from tamis.pretrained.transformers_models import Pretrained, load_image_settings, load_pretrained
from tamis.registry import Facts

Readout: TypeAlias = Literal["mean", "cls"]
"""Mean over places or tokens, or the class token."""

# Their towers norm the class token behind the last layer, but not the tokens of the places.
_UNNORMED_PLACES = frozenset({"clip", "clip_vision_model"})


class TransformersVision(Freezable):
    """A vision model that returns maps (``"mean"``) or the features of its class token (``"cls"``).

    Parameters
    ----------
    source : str
        A folder made by ``save_pretrained``, or a hub name. Of vision-language models the vision side counts.
    readout : {"mean", "cls"}
    frozen : bool

    Attributes
    ----------
    size : (height, width) or None
        What images are resized to, where the model names a size.
    normalisation : Normalisation or None
        What the model wants done to images with values 0..1, where its folder says so.

    Raises
    ------
    InputError
        The model cannot be loaded, takes no images or has no class token.
    MissingExtraError
        ``transformers`` is not installed.
    """

    def __init__(self, source: str, *, readout: Readout = "mean", frozen: bool = False) -> None:
        super().__init__()
        loaded = _loaded(source, readout, wanted="image")
        self.model: nn.Module = getattr(loaded.model, "vision_model", loaded.model)
        self.readout = readout
        self.source = source
        side = loaded.number("image_size") or loaded.number("image_size", part="vision_config")
        self.size = (side, side) if side else None
        patch = loaded.number("patch_size") or loaded.number("patch_size", part="vision_config")
        self.patch = patch or 1
        self.normalisation = _normalisation(source)
        self.has_bare_places = loaded.config.get("model_type") in _UNNORMED_PLACES
        self.n_features = _tried(self, torch.zeros(1, 3, *(self.size or (64, 64))))
        if frozen:
            self.freeze()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C, h, w) maps or (B, C) class-token features of normalised (B, 3 or 1, H, W) images."""
        images = fit_images(inputs, self.size)
        output = self.model(pixel_values=images)
        hidden: torch.Tensor = output.last_hidden_state
        if self.readout == "cls":
            return self._class_token(hidden)
        if hidden.ndim == 4:
            return hidden
        # (B, tokens, C): class and register tokens come first.
        height, width = self._grid(hidden.shape[1], images.shape[2:])
        places = self._normed(hidden[:, hidden.shape[1] - height * width :])
        return places.transpose(1, 2).reshape(len(places), -1, height, width)

    def _class_token(self, hidden: torch.Tensor) -> torch.Tensor:
        has_token = hidden.ndim == 3 and any(
            getattr(getattr(self.model, "embeddings", None), name, None) is not None
            for name in ("cls_token", "class_embedding")
        )
        if not has_token:
            raise InputError(f"model {self.source!r} has no class token; use readout='mean'")
        return self._normed(hidden[:, 0])

    def _normed(self, tokens: torch.Tensor) -> torch.Tensor:
        if not self.has_bare_places:
            return tokens
        normed: torch.Tensor = self.model.get_submodule("post_layernorm")(tokens)
        return normed

    def _grid(self, n_tokens: int, size: torch.Size) -> tuple[int, int]:
        height, width = size[0] // self.patch, size[1] // self.patch
        if height * width <= n_tokens:
            return height, width
        # Pyramids such as Swin merge patches on the way; no class token stands before theirs.
        shrink = math.isqrt(height * width // n_tokens)
        if (height // shrink) * (width // shrink) != n_tokens:
            raise InputError(
                f"model {self.source!r} gave {n_tokens} tokens for images of {size[0]} x {size[1]} px, which "
                "are no grid of places; use readout='cls' or another model"
            )
        return height // shrink, width // shrink


class TransformersText(Freezable):
    """A text model that returns the mean over tokens or the first token.

    Parameters
    ----------
    source : str
        A folder made by ``save_pretrained``, or a hub name. Of vision-language models the text side counts.
    readout : {"mean", "cls"}
    frozen : bool

    Raises
    ------
    InputError
        The model cannot be loaded or takes no texts.
    MissingExtraError
        ``transformers`` is not installed.
    """

    def __init__(self, source: str, *, readout: Readout = "mean", frozen: bool = False) -> None:
        super().__init__()
        loaded = _loaded(source, readout, wanted="text")
        self.model: nn.Module = getattr(loaded.model, "text_model", loaded.model)
        self.readout = readout
        self.n_features = _tried(self, torch.zeros(1, 2, dtype=torch.int32))
        if frozen:
            self.freeze()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C) features of (B, L) tokens, -1 behind the end of a text; see `tokenize`.

        Raises
        ------
        InputError
            The inputs are no whole numbers.
        """
        if inputs.is_floating_point() or inputs.ndim != 2:
            raise InputError(
                f"a text model takes (B, L) whole numbers, but was given {inputs.dtype} of shape "
                f"{tuple(inputs.shape)}; make them with tamis.backbones.tokenize"
            )
        is_token = inputs >= 0
        # Columns that are empty in all rows cost as much as others.
        longest = int(is_token.sum(dim=1).max()) if len(inputs) else 0
        inputs, is_token = inputs[:, : max(longest, 1)], is_token[:, : max(longest, 1)]
        seen = is_token.clone()
        # Attention over no token at all has no meaning; the mean below still is zero there.
        seen[:, 0] = True
        output = self.model(input_ids=inputs.clamp(min=0).long(), attention_mask=seen.long())
        hidden: torch.Tensor = output.last_hidden_state
        if self.readout == "cls":
            return hidden[:, 0]
        weights = is_token[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


@BACKBONES.register("transformers_vision", Facts("Vision model of the transformers library", ("image",)))
def transformers_vision(
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    source: str,
    seed: int = 0,
    readout: Readout = "mean",
    frozen: bool = False,
) -> Classifier:
    """Return a pretrained vision model, such as ViT, DINOv2, CLIP or ResNet, under a new head.

    Parameters
    ----------
    input_shape : (C, H, W)
        C is 1 or 3; images are resized to what the model takes.
    n_classes : int
    seed : int
        Decides the first weights of the head.
    source, readout, frozen
        As in `TransformersVision`; with ``readout="mean"`` the outputs hold maps.
    """
    if input_shape[0] not in (1, 3):
        raise InputError(f"input_shape is {input_shape}; transformers_vision takes images of 1 or 3 channels")
    backbone = TransformersVision(source, readout=readout, frozen=frozen)
    return Classifier(backbone, backbone.n_features, n_classes, seed=seed)


@BACKBONES.register("transformers_text", Facts("Text model of the transformers library", ("text",)))
def transformers_text(
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    source: str,
    seed: int = 0,
    readout: Readout = "mean",
    frozen: bool = False,
) -> Classifier:
    """Return a pretrained text model, such as BERT or MiniLM, under a new head.

    Parameters
    ----------
    input_shape : (L,)
    n_classes : int
    seed : int
        Decides the first weights of the head.
    source, readout, frozen
        As in `TransformersText`.
    """
    backbone = TransformersText(source, readout=readout, frozen=frozen)
    return Classifier(backbone, backbone.n_features, n_classes, seed=seed)


@BACKBONES.register(
    "minilm",
    Facts(
        "all-MiniLM-L6-v2, the built-in text encoder",
        inputs=("text",),
        year=2020,
        paper="Wang et al. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression. NeurIPS",
    ),
)
def minilm(
    input_shape: tuple[int, ...], n_classes: int, *, seed: int = 0, frozen: bool = False
) -> Classifier:
    """Return the built-in text encoder under a new head, frozen or fine-tuned.

    Parameters
    ----------
    input_shape : (L,)
        Tokens of ``tokenize(model_folder(), texts)``, with `tamis.pretrained.minilm.model_folder`.
    n_classes : int
    seed : int
        Decides the first weights of the head.
    frozen : bool

    Raises
    ------
    MissingExtraError
        The package with the weights is not installed.
    """
    return transformers_text(input_shape, n_classes, source=model_folder(), seed=seed, frozen=frozen)


def _loaded(source: str, readout: str, *, wanted: Literal["image", "text"]) -> Pretrained:
    if readout not in get_args(Readout):
        raise InputError(f"readout {readout!r} is unknown; use {', '.join(map(repr, get_args(Readout)))}")
    with without_draws():
        # Weights that the file lacks, such as poolers, are drawn; nothing here reads them.
        torch.default_generator.manual_seed(0)
        loaded = load_pretrained(source)
    if not (loaded.takes_images if wanted == "image" else loaded.takes_texts):
        raise InputError(
            f"model {source!r} ({loaded.config.get('model_type')}) takes no {wanted}s; choose another"
        )
    return loaded


def _tried(backbone: Freezable, probe: torch.Tensor) -> int:
    """Return the number of features; weights that have no part in them are frozen."""
    backbone.eval()
    with torch.enable_grad():
        features: torch.Tensor = backbone(probe)
        features.sum().backward()  # type: ignore[no-untyped-call]  # torch's own method
    # Poolers and mask tokens of the training task: processes that train together wait for every gradient.
    for weight in backbone.parameters():
        weight.requires_grad_(weight.grad is not None)
        weight.grad = None
    backbone.train()
    return int(features.shape[1])


def _normalisation(source: str) -> Normalisation | None:
    try:
        settings = load_image_settings(source)
    except InputError:
        # A model without preprocessor_config.json; its images come as the user wants them.
        return None
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if settings.get("do_normalize", True) is False or not isinstance(mean, list) or not isinstance(std, list):
        return None
    return Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
