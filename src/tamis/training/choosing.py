"""Which network is trained, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch

from tamis.backbones import BACKBONES, InputKind, choose_backbone
from tamis.data import Dataset
from tamis.errors import InputError
from tamis.methods import METHODS
from tamis.pretrained.minilm import model_folder
from tamis.training.inputs import InputForm, image_form, text_form
from tamis.training.settings import Value, checked_options
from tamis.training.source import Source


class Asked(Protocol):
    """What the choice depends on."""

    @property
    def method(self) -> str:
        """Name of the method."""

    @property
    def backbone(self) -> str:
        """Name of the backbone, or "auto"."""

    @property
    def backbone_options(self) -> Mapping[str, Value] | None:
        """Options of the backbone."""

    @property
    def image_size(self) -> int | None:
        """Side of the squares that images are brought to."""


@dataclass(frozen=True)
class NetworkChoice:
    """A backbone, settled as far as it can be before the inputs are there.

    Attributes
    ----------
    name : str
        "auto" where it depends on the shape of the inputs.
    kind : {"features", "image", "text"}
    options : mapping or None
        As they were asked for.
    image_size : int or None
    device : torch.device
    """

    name: str
    kind: InputKind
    options: Mapping[str, Value] | None
    image_size: int | None
    device: torch.device

    def form_of(self, source: Source) -> InputForm:
        """Return the form that every image or text is brought to."""
        if self.kind == "text":
            return text_form(self._tokenizer())
        return image_form(source.dataset.inputs["image"], self.image_size)

    def _tokenizer(self) -> str:
        if self.name in {"auto", "minilm"}:
            return model_folder()
        found = (self.options or {}).get("source")
        if not isinstance(found, str):
            raise InputError(
                f"backbone {self.name!r} needs the option 'source': a model folder or hub name with tokenizer"
            )
        return found

    def settled(self, form: InputForm, n_samples: int) -> tuple[str, dict[str, Value]]:
        """Return the name of the backbone and its options."""
        if self.name != "auto":
            return self.name, checked_options(self.name, self.options)
        found = choose_backbone(form.kind, form.shape, n_samples=n_samples, device=str(self.device))
        options: dict[str, Value] = {**found.options, **checked_options(found.name, self.options)}
        return found.name, options


def choose_network(asked: Asked, dataset: Dataset, device: torch.device) -> NetworkChoice:
    """Return the network that was asked for, or what "auto" stands for.

    "auto" is a network on features: those of the data, or of a frozen encoder. A method that needs pixels
    gets a network on images.

    Raises
    ------
    InputError
        The method cannot work with such a network or such data.
    """
    kind = kind_of_network(asked, dataset)
    if asked.image_size is not None and kind != "image":
        raise InputError(
            f"image_size is {asked.image_size}, but the network takes {kind} (backbone {asked.backbone!r}); "
            "name a backbone that takes images, such as 'small_cnn', or leave it out"
        )
    return NetworkChoice(asked.backbone, kind, asked.backbone_options, asked.image_size, device)


def kind_of_network(asked: Asked, dataset: Dataset) -> InputKind:
    """Return what the network takes; see `choose_network`."""
    needs = METHODS.facts(asked.method).inputs
    if asked.backbone == "auto":
        kind = "image" if needs == ("image",) else "features"
    else:
        kind = BACKBONES.facts(asked.backbone).inputs[0]
    if needs == ("image",) and (kind != "image" or "image" not in dataset.inputs):
        raise InputError(
            f"method {asked.method!r} looks at images: it needs pixels and a backbone that takes them, "
            f"and here are {', '.join([*dataset.inputs, *dataset.features])} and backbone {asked.backbone!r}"
        )
    return cast(InputKind, kind)
