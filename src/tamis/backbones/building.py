"""Backbones by name: the registry, the factory, and the choice where none was made."""

from __future__ import annotations

import inspect
from typing import Literal, NamedTuple, Protocol, TypeAlias

import torch

from tamis.backbones.classifier import Classifier
from tamis.errors import InputError
from tamis.registry import Registry

InputKind: TypeAlias = Literal["features", "image", "text"]
Option: TypeAlias = str | int | float | bool | tuple[int, ...] | None
"""What an option of a backbone may be."""

_LARGEST_SMALL_SIDE = 64
_FEW_SAMPLES = 2000
_DROPOUT = 0.5

# What every backbone is given; its other parameters are its options.
_GIVEN = frozenset({"input_shape", "n_classes", "seed"})


class BackboneFactory(Protocol):
    """Makes a classifier for inputs of one shape; further keyword arguments are its options."""

    def __call__(
        self,
        input_shape: tuple[int, ...],
        n_classes: int,
        *,
        seed: int,
        **options: Option,
    ) -> Classifier:
        """Return a classifier with first weights decided by ``seed``."""


BACKBONES: Registry[BackboneFactory] = Registry("backbone", package="tamis.backbones")
"""Every backbone by name; ``Facts.inputs`` is ``("features",)``, ``("image",)`` or ``("text",)``."""


class BackboneChoice(NamedTuple):
    """A backbone that suits some inputs: its name and the options that differ from its defaults."""

    name: str
    options: dict[str, Option]


def build_backbone(
    name: str, *, input_shape: tuple[int, ...], n_classes: int, seed: int, **options: Option
) -> Classifier:
    """Return a classifier by the name of its backbone.

    Parameters
    ----------
    name : str
        One of ``BACKBONES.names()``; `choose_backbone` names a suitable one.
    input_shape : tuple of int
        Of one sample: ``(D,)`` features, ``(C, H, W)`` images, ``(L,)`` tokens of a text.
    n_classes : int
        At least 2.
    seed : int
        Decides all first weights that are not pretrained.
    **options
        Of this backbone, such as ``hidden=(256,)``; see its own page.

    Returns
    -------
    Classifier
        In training mode, float32, on the processor.

    Raises
    ------
    InputError
        The name, the shape or an option is not legal for this backbone.
    MissingExtraError
        The package with its weights is not installed.

    Examples
    --------
    >>> network = build_backbone("mlp", input_shape=(20,), n_classes=3, seed=0, hidden=(8,))
    >>> network(torch.zeros(5, 20)).features.shape
    torch.Size([5, 8])
    """
    entry = BACKBONES.entry(name)
    found = inspect.signature(entry.target).parameters
    legal = [option for option in found if option not in _GIVEN]
    if unknown := sorted(set(options) - set(legal)):
        raise InputError(
            f"backbone {name!r} has no option {', '.join(map(repr, unknown))}; "
            f"its options: {', '.join(legal) or 'none'}"
        )
    if missing := [option for option in legal if option not in options and _is_needed(found[option])]:
        raise InputError(f"backbone {name!r} needs the option {', '.join(map(repr, missing))}")
    return entry.target(
        check_shape(name, input_shape, entry.facts.inputs[0]), n_classes, seed=seed, **options
    )


def choose_backbone(
    kind: InputKind, input_shape: tuple[int, ...], *, n_samples: int, device: str = "cpu"
) -> BackboneChoice:
    """Return the backbone that ``"auto"`` stands for; a function of its arguments alone.

    Features get a multilayer perceptron with dropout; without dropout it fits wrong labels. Images of at
    most 64 px get networks trained from scratch: a small convolutional one on a processor, PreAct ResNet-18
    elsewhere. Larger images get EfficientNet-Lite0 with its ImageNet weights, fine-tuned where there is an
    accelerator and at least 2,000 samples, else frozen. Texts get frozen MiniLM.

    Parameters
    ----------
    kind : {"features", "image", "text"}
    input_shape : tuple of int
        Of one sample, as in `build_backbone`.
    n_samples : int
    device : str
        As torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...

    Raises
    ------
    InputError
        The kind is unknown, or the shape is not of this kind.

    Examples
    --------
    >>> choose_backbone("features", (256,), n_samples=50_000)
    BackboneChoice(name='mlp', options={'dropout': 0.5})
    >>> choose_backbone("image", (3, 32, 32), n_samples=50_000, device="cuda").name
    'preact_resnet18'
    """
    shape = check_shape("auto", input_shape, kind)
    has_accelerator = torch.device(device).type != "cpu"
    if kind == "text":
        return BackboneChoice("minilm", {"frozen": True})
    if kind == "features":
        return BackboneChoice("mlp", {"dropout": _DROPOUT})
    if max(shape[1:]) > _LARGEST_SMALL_SIDE:
        return BackboneChoice(
            "efficientnet_lite0", {"frozen": not (has_accelerator and n_samples >= _FEW_SAMPLES)}
        )
    return BackboneChoice("preact_resnet18" if has_accelerator else "small_cnn", {})


def check_shape(name: str, shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
    """Return the shape of one sample if it is one of its kind.

    Raises
    ------
    InputError
        Wrong number of axes, or an axis shorter than 1.

    Examples
    --------
    >>> check_shape("linear", (256,), "features")
    (256,)
    """
    forms = {"features": "(D,)", "image": "(C, H, W)", "text": "(L,)"}
    if kind not in forms:
        raise InputError(f"kind of inputs {kind!r} is unknown; use {', '.join(map(repr, forms))}")
    if len(shape) != (3 if kind == "image" else 1) or min(shape) < 1:
        raise InputError(
            f"backbone {name!r} takes samples of shape {forms[kind]} ({kind}), but input_shape is {shape}; "
            "pass the shape of one sample, without the batch"
        )
    return tuple(shape)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty
