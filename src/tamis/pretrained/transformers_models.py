"""Models of the ``transformers`` library by folder or hub name: safetensors weights, no remote code."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tamis.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import torch


class Tokenizer(Protocol):
    """What is used of a ``transformers`` tokenizer."""

    def __call__(
        self,
        text: list[str],
        *,
        truncation: bool,
        max_length: int,
        return_overflowing_tokens: bool,
        return_attention_mask: bool,
        return_token_type_ids: bool,
    ) -> dict[str, list[list[int]]]:
        """Return ``input_ids``, one list per window, and ``overflow_to_sample_mapping``."""


@dataclass(frozen=True)
class Pretrained:
    """A model and what its configuration says.

    Attributes
    ----------
    source : str
        Folder or hub name.
    model : torch.nn.Module
        In evaluation mode, float32, on the processor.
    config : mapping
        Its ``config.json``.
    missing : frozenset of str
        Parameters that the weights file lacks; they are random.
    """

    source: str
    model: torch.nn.Module
    config: Mapping[str, object]
    missing: frozenset[str]

    @property
    def is_vision_language(self) -> bool:
        """Whether images and texts share one space, as in CLIP and SigLIP."""
        has_both = "vision_config" in self.config and "text_config" in self.config
        return has_both and hasattr(self.model, "get_image_features")

    @property
    def takes_texts(self) -> bool:
        """Whether the model has a text encoder."""
        return self.is_vision_language or "vocab_size" in self.config

    @property
    def takes_images(self) -> bool:
        """Whether the model has an image encoder."""
        return self.is_vision_language or not self.takes_texts

    def number(self, name: str, *, part: str | None = None) -> int | None:
        """Return a positive whole number of the configuration or of one part of it, else None."""
        holder = self.config if part is None else self.config.get(part)
        value = holder.get(name) if isinstance(holder, Mapping) else None
        return value if isinstance(value, int) and value > 0 else None

    def weights_digest(self) -> str:
        """Return a hash of all weights that came from the file; the missing ones are random."""
        import torch

        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            if name in self.missing:
                continue
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_pretrained(source: str) -> Pretrained:
    """Load a model by folder or hub name.

    Raises
    ------
    MissingExtraError
        ``transformers`` is not installed.
    InputError
        There is no such folder, the hub cannot be reached, the weights are no safetensors or do not fit.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise MissingExtraError(
            f'model {source!r} needs the transformers library; run: pip install "tamis[hub]"'
        ) from error
    with _quiet(), _explained(source, "a model"):
        config = AutoConfig.from_pretrained(
            source, local_files_only=_is_folder(source), trust_remote_code=False
        )
        model, report = AutoModel.from_pretrained(
            source,
            config=config,
            local_files_only=_is_folder(source),
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            torch_dtype="float32",
        )
    if getattr(config, "is_encoder_decoder", False):
        model = model.get_encoder()
    # Text heads that only the training task needed ("pooler") are not used here; see the readouts.
    missing = frozenset(name for name in report["missing_keys"] if ".pooler." not in f".{name}")
    if missing:
        raise InputError(
            f"model {source!r} lacks {len(missing)} of its weights, e.g. {min(missing)!r}; the folder "
            "holds another kind of model than its config.json says: save the whole model with save_pretrained"
        )
    return Pretrained(source, model.eval(), config.to_dict(), frozenset(report["missing_keys"]))


def load_tokenizer(source: str) -> Tokenizer:
    """Load the tokenizer that stands beside a model; raises `InputError` where there is none."""
    from transformers import AutoTokenizer

    with _quiet(), _explained(source, "a tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=_is_folder(source), trust_remote_code=False, use_fast=True
        )
    if not tokenizer.is_fast:
        raise InputError(
            f"model {source!r} has a tokenizer without tokenizer.json; "
            "load it once with AutoTokenizer and save_pretrained it beside the model"
        )
    return cast(Tokenizer, tokenizer)


def load_image_settings(source: str) -> Mapping[str, object]:
    """Return the settings of the model's image processor; raises `InputError` where there are none."""
    from transformers.image_processing_base import ImageProcessingMixin

    with _quiet(), _explained(source, "preprocessor_config.json"):
        settings, _ = ImageProcessingMixin.get_image_processor_dict(
            source, local_files_only=_is_folder(source)
        )
    return cast(Mapping[str, object], settings)


def read_settings(source: str, file: str) -> Mapping[str, object]:
    """Return a JSON object that may stand beside a model; empty where the file is missing or no object.

    Examples
    --------
    >>> read_settings("no/such/folder", "1_Pooling/config.json")
    {}
    """
    if _is_folder(source):
        path: Path | None = Path(source) / file
    else:
        path = _cached(source, file)
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_folder(source: str) -> bool:
    return Path(source).is_dir()


def _cached(source: str, file: str) -> Path | None:
    try:
        from transformers.utils import cached_file

        with _quiet():
            found = cached_file(source, file, _raise_exceptions_for_missing_entries=False)
    except (ImportError, OSError, ValueError):
        return None
    return None if found is None else Path(found)


@contextlib.contextmanager
def _explained(source: str, what: str) -> Iterator[None]:
    try:
        yield
    # Loading fails in many ways (OSError, ValueError, KeyError, errors of safetensors and tokenizers).
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        place = "this folder" if _is_folder(source) else "the hub or its cache (no folder has this name)"
        raise InputError(
            f"model {source!r}: {what} cannot be loaded from {place}: {reason}. Pass a folder made by "
            "save_pretrained with safetensors weights, or a hub name while there is a network"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
