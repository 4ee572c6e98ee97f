"""Any vision, text or vision-language model of the ``transformers`` library as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tamis.encoders.encoder import CountedBatch, Sample, SampleKind
from tamis.encoders.image_transform import ImageTransform
from tamis.encoders.precision import Precision, check_precision, choose_precision
from tamis.encoders.text_model import MAX_WINDOWS, TextModel
from tamis.encoders.threads import resolve_device
from tamis.encoders.versions import environment
from tamis.errors import InputError
from tamis.pretrained.transformers_models import Pretrained, load_image_settings, load_pretrained
from tamis.types import FloatArray

if TYPE_CHECKING:
    import torch

_BATCH_ROWS = {"cpu": 8, "other": 64}


class TransformersEncoder:
    """A pretrained model from a folder or the hub: CLIP, SigLIP, DINOv2, ViT, BERT-like text models, ...

    Images are read out as the joint embedding (vision-language models), the model's own pooling, the class
    token or the mean over places: the first of these that the model has. Texts are read out as the joint
    embedding or the mean over tokens. Weights must be safetensors, code from the hub is never run.

    Parameters
    ----------
    source : str
        A folder made by ``save_pretrained``, or a hub name.
    kind : {"image", "text"}, optional
        Needed where the model takes both; images are the default there.
    precision : {"auto", "float32", "bfloat16"}
    device : str
    max_windows : int, default 4
        Long texts are read in up to this many windows of 128 tokens, whose tokens are averaged.

    Raises
    ------
    InputError
        The model cannot be loaded or does not take this kind of samples.
    MissingExtraError
        ``transformers`` is not installed.
    """

    is_thread_safe = True

    def __init__(
        self,
        source: str,
        *,
        kind: SampleKind | None = None,
        precision: str = "auto",
        device: str = "auto",
        max_windows: int = MAX_WINDOWS,
    ) -> None:
        if max_windows < 1:
            raise InputError(f"max_windows is {max_windows}; at least one window of a text must be read")
        choice = check_precision(precision)
        self.device = resolve_device(device)
        self.precision: Precision = choose_precision(choice, self.device)
        self._loaded = load_pretrained(source)
        self.source = source
        self.kind = _kind(self._loaded, kind)
        self._digest = self._loaded.weights_digest()
        self._move()
        self._batch_rows = _BATCH_ROWS["cpu" if self.device == "cpu" else "other"]
        self._texts: TextModel | None = None
        self._transform: ImageTransform | None = None
        if self.kind == "text" or self._loaded.is_vision_language:
            self._texts = TextModel(self._loaded, device=self.device, max_windows=max_windows)
        if self.kind == "image":
            image_size = self._loaded.number("image_size") or self._loaded.number(
                "image_size", part="vision_config"
            )
            self._transform = ImageTransform.from_settings(load_image_settings(source), image_size=image_size)
        probe: Sample = "a" if self.kind == "text" else np.zeros((8, 8, 3), dtype=np.uint8)
        self.dim = int(self.encode_batch([probe]).shape[1])

    @property
    def name(self) -> str:
        """``transformers:`` and where the model came from."""
        return f"transformers:{self.source}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What ran: model, precision, device."""
        return (f"{self.kind}s were encoded by {self.source} in {self.precision} on {self.device}",)

    def fingerprint(self) -> str:
        """Return weights, transform, precision and versions as one line."""
        text = self._texts.describe() if self._texts and self.kind == "text" else ""
        versions = environment(self.device, "torch", "pillow", "transformers")
        return (
            f"transformers {self.kind} {self._digest} {self._transform} {text} batch-{self._batch_rows} "
            f"{self.precision} {versions}"
        )

    def encode_batch(self, samples: Sequence[Sample]) -> FloatArray:
        """Return (b, dim) float32 features.

        Raises
        ------
        InputError
            A sample is of the other kind.
        """
        return self.encode_counted(samples).features

    def encode_counted(self, samples: Sequence[Sample]) -> CountedBatch:
        """Return the features and how many texts were longer than what is read."""
        if self.kind == "text":
            return self._encode_texts([_text(sample, self.name) for sample in samples])
        return CountedBatch(self._encode_images(samples), 0)

    def describe_cut(self, n_cut: int, n_samples: int) -> str:
        """Return the sentence that says how many texts were cut."""
        tokens, windows = self._texts.limits if self._texts else (0, 0)
        return cut_sentence(n_cut, n_samples, tokens * windows)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return (len(texts), dim) float32 features of texts, such as prompts, in the space of the images.

        Raises
        ------
        InputError
            The model has no text side.
        """
        return self._encode_texts(list(texts)).features

    def _encode_texts(self, texts: Sequence[str]) -> CountedBatch:
        if self._texts is None:
            raise InputError(
                f"encoder {self.name!r} takes no texts; use a vision-language model such as CLIP"
            )
        return self._texts.encode(texts)

    def _encode_images(self, samples: Sequence[Sample]) -> FloatArray:
        import torch

        if self._transform is None:
            raise InputError(f"encoder {self.name!r} was loaded for texts; pass kind='image'")
        parts = []
        shape = (self._batch_rows, 3, self._transform.height, self._transform.width)
        with torch.inference_mode():
            for start in range(0, len(samples), self._batch_rows):
                part = samples[start : start + self._batch_rows]
                # Always the same shape: features must not depend on how many images come together.
                pixels = np.zeros(shape, dtype=np.float32)
                for row, image in enumerate(part):
                    if isinstance(image, str):
                        raise InputError(
                            f"encoder {self.name!r} takes images but sample {start + row} is a text"
                        )
                    pixels[row] = self._transform(image)
                batch = torch.from_numpy(pixels).to(self.device, self._dtype)
                parts.append(image_features(self._loaded.model, batch)[: len(part)].float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)

    def _move(self) -> None:
        import torch

        self._dtype = torch.float32 if self.precision == "float32" else torch.bfloat16
        self._loaded.model.to(self.device, self._dtype)


def image_features(model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return (b, d) features of (b, 3, height, width) pixels, read out in the way that suits the model."""
    import torch

    joint = getattr(model, "get_image_features", None)
    if joint is not None:
        found = joint(pixel_values=pixels)
        features: torch.Tensor = found if isinstance(found, torch.Tensor) else found.pooler_output
        return features
    output = model(pixel_values=pixels)
    hidden: torch.Tensor = output.last_hidden_state
    pooled: torch.Tensor | None = getattr(output, "pooler_output", None)
    # A dense pooler with tanh belongs to the training task, and many weight files lack it.
    has_task_pooler = hasattr(getattr(model, "pooler", None), "dense")
    if pooled is not None and not has_task_pooler:
        return pooled.flatten(start_dim=1)
    if hidden.ndim == 4:
        return hidden.mean(dim=(2, 3))
    has_class_token = getattr(getattr(model, "embeddings", None), "cls_token", None) is not None
    return hidden[:, 0] if has_class_token else hidden.mean(dim=1)


def cut_sentence(n_cut: int, n_samples: int, n_tokens: int) -> str:
    """Return the sentence for reports about texts that were cut.

    Examples
    --------
    >>> cut_sentence(12, 7000, 512)
    '12 of 7,000 texts are longer than 512 tokens; only the beginning counts'
    """
    verb = "is" if n_cut == 1 else "are"
    return f"{n_cut:,} of {n_samples:,} texts {verb} longer than {n_tokens} tokens; only the beginning counts"


def _kind(loaded: Pretrained, wanted: SampleKind | None) -> SampleKind:
    if wanted is None:
        return "image" if loaded.takes_images else "text"
    if not (loaded.takes_images if wanted == "image" else loaded.takes_texts):
        other = "texts" if wanted == "image" else "images"
        raise InputError(
            f"encoder {loaded.source!r} ({loaded.config.get('model_type')}) takes {other}, not {wanted}s; "
            f"choose a model for {wanted}s"
        )
    return wanted


def _text(sample: Sample, name: str) -> str:
    if not isinstance(sample, str):
        raise InputError(f"encoder {name!r} takes texts but was given an image of shape {sample.shape}")
    return sample
