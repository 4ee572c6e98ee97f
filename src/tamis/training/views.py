"""Augmentations by the names that methods ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from tamis.augment import ImageSettings, policy
from tamis.augment.policies import FEATURE_STAGES, POLICIES
from tamis.backbones import InputKind, Normalisation
from tamis.engine import View
from tamis.errors import InputError

Augmentation = Literal["auto", "none", "weak", "strong"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Views(Mapping[str, View]):
    """Makes an augmentation when it is first asked for.

    Parameters
    ----------
    kind : {"features", "image", "text"}
    flip : bool
        Whether a mirror image keeps its class.
    augmentation : {"auto", "none", "weak", "strong"}
        What stands for the name ``"weak"``, which most methods train on. "auto": crop and mirror images for
        images, nothing for features and texts.
    normalisation : Normalisation, optional
        Of the backbone; ImageNet's where it has none.
    """

    def __init__(
        self,
        kind: InputKind,
        *,
        flip: bool = True,
        augmentation: Augmentation = "auto",
        normalisation: Normalisation | None = None,
    ) -> None:
        legal = ("auto", "none", "weak", "strong")
        if augmentation not in legal:
            raise InputError(f"augmentation is {augmentation!r}; expected one of {', '.join(legal)}")
        self._kind = kind
        self._weak = augmentation
        if augmentation == "auto":
            self._weak = "weak" if kind == "image" else "none"
        mean, std = normalisation or Normalisation(_MEAN, _STD)
        self._settings = ImageSettings(mean=mean, std=std, flip=flip)
        self._made: dict[str, View] = {}

    def __getitem__(self, name: str) -> View:
        """Return the augmentation called ``name``; `KeyError` where there is none for these inputs."""
        if name not in self:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(self._weak if name == "weak" else name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is an augmentation of this name for these inputs."""
        return name in (FEATURE_STAGES if self._kind == "features" else POLICIES)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(FEATURE_STAGES if self._kind == "features" else POLICIES.names())

    def __len__(self) -> int:
        """Return the number of names."""
        return len(list(iter(self)))

    def _make(self, name: str) -> View:
        if self._kind == "features":
            return policy(name, kind="features")
        if self._kind == "text":
            return policy(name, kind="tokens")
        made = policy(name, settings=self._settings)
        return _ChannelsLast(made)


class _ChannelsLast:
    """Images in the memory layout in which convolutions are fastest, in half precision most of all."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __call__(self, inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int) -> Tensor:
        made = self._view(inputs, index, seed=seed, step=step, view=view)
        return made.contiguous(memory_format=torch.channels_last)
