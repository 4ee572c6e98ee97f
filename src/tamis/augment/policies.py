"""Named augmentations of images, and what stands for them where inputs are features or tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from tamis.augment.augmentation import Augmentation
from tamis.augment.cropping import Mirror, ShiftedCrop
from tamis.augment.erasing import Cutout, RandomErasing
from tamis.augment.jitter import ColorJitter, Grey
from tamis.augment.noise import FeatureDropout, FeatureNoise, PixelNoise
from tamis.augment.normalizing import Normalize
from tamis.augment.rand_augment import RandAugment
from tamis.augment.separable import ResizedCrop
from tamis.augment.stages import Stage
from tamis.errors import InputError
from tamis.registry import Facts, Registry

Kind: TypeAlias = Literal["image", "features", "tokens"]

_EAC_NOISE = math.sqrt(30) / 255
"""Variance 30 where white is 255."""


@dataclass(frozen=True)
class ImageSettings:
    """What a policy is told about the images.

    Attributes
    ----------
    mean, std : tuple of float
        Of each channel, on the scale 0..1.
    flip : bool
        Whether a mirror image keeps its class; not so for digits and text.
    padding : int or None
        Pixels around the image that a crop may reach into; an eighth of the side where None.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    flip: bool = True
    padding: int | None = None

    @property
    def mirror(self) -> float:
        """Probability of a mirror image."""
        return 0.5 if self.flip else 0.0

    @property
    def normalize(self) -> Normalize:
        """The stage that every policy has."""
        return Normalize(self.mean, self.std)


Policy: TypeAlias = Callable[[ImageSettings], Sequence[Stage]]

POLICIES: Registry[Policy] = Registry("augmentation policy", package="tamis.augment")
"""Policies for images, by name."""

_IMAGE = ("image",)


@POLICIES.register("none", Facts(title="Normalisation alone", inputs=_IMAGE))
def none(images: ImageSettings) -> Sequence[Stage]:
    """Return the stages of scans and predictions."""
    return (images.normalize,)


@POLICIES.register("flip", Facts(title="Mirror images", inputs=_IMAGE))
def flip(images: ImageSettings) -> Sequence[Stage]:
    """Return a mirror image for every second draw."""
    return (Mirror(images.mirror), images.normalize)


@POLICIES.register("weak", Facts(title="Shifted crop and mirror images", inputs=_IMAGE))
def weak(images: ImageSettings) -> Sequence[Stage]:
    """Return the usual augmentation of small images."""
    return (ShiftedCrop(images.padding, mirror=images.mirror), images.normalize)


@POLICIES.register(
    "strong",
    Facts(
        title="Weak, then RandAugment and cutout",
        inputs=_IMAGE,
        year=2020,
        paper="Cubuk, Zoph, Shlens, Le: RandAugment. NeurIPS 2020. DeVries, Taylor: Cutout. 2017",
    ),
)
def strong(images: ImageSettings) -> Sequence[Stage]:
    """Return the augmentation of consistency methods."""
    return (ShiftedCrop(images.padding, mirror=images.mirror), RandAugment(), images.normalize, Cutout())


@POLICIES.register(
    "simsiam",
    Facts(
        title="Resized crop, mirror images, colour jitter, grey",
        inputs=_IMAGE,
        year=2021,
        paper="Chen, He: Exploring simple Siamese representation learning. CVPR 2021 (CIFAR settings)",
    ),
)
def simsiam(images: ImageSettings) -> Sequence[Stage]:
    """Return the augmentation of two-view methods."""
    return (ResizedCrop(mirror=images.mirror), ColorJitter(), Grey(), images.normalize)


_EAC = "Zhang, Wang, Ling, Deng: Learn from all: erasing attention consistency. ECCV 2022"


@POLICIES.register("eac", Facts(title="Pixel noise and random erasing", inputs=_IMAGE, year=2022, paper=_EAC))
def eac(images: ImageSettings) -> Sequence[Stage]:
    """Return the original branch of erasing attention consistency."""
    return (PixelNoise(_EAC_NOISE), images.normalize, RandomErasing())


@POLICIES.register(
    "eac_mirror", Facts(title="Mirror image, random erasing", inputs=_IMAGE, year=2022, paper=_EAC)
)
def eac_mirror(images: ImageSettings) -> Sequence[Stage]:
    """Return the mirrored branch: always the mirror image, erased on its own, without pixel noise."""
    if not images.flip:
        raise InputError(
            "the policy 'eac_mirror' is the mirror image, and flip=False says that mirror images change"
            " their class: pass flip=True, or use a method that needs no mirror images"
        )
    # A stream of its own: independent of the original branch even in a view of the same number.
    return (Mirror(1.0), images.normalize, RandomErasing(stream="erase mirror"))


FEATURE_STAGES: dict[str, tuple[Stage, ...]] = {
    "none": (),
    "flip": (),
    "weak": (FeatureNoise(0.1),),
    "strong": (FeatureNoise(0.25), FeatureDropout(0.2)),
    "simsiam": (FeatureNoise(0.25), FeatureDropout(0.2)),
}
"""What stands for a policy where inputs are features; a name that is missing has no analogue."""


def policy(
    name: str,
    *,
    kind: Kind = "image",
    settings: ImageSettings | None = None,
    dtype: torch.dtype | None = None,
) -> Augmentation:
    """Return a named augmentation.

    Parameters
    ----------
    name : str
        ``"none"``, ``"flip"``, ``"weak"``, ``"strong"``, ``"simsiam"``, ``"eac"``, ``"eac_mirror"``, or
        what else is registered in `POLICIES`.
    kind : {"image", "features", "tokens"}
        Features get noise and dropout instead, tokens stay as they are.
    settings : ImageSettings, optional
        Of images; values stay on the scale 0..1 and mirror images are allowed without it.
    dtype : torch.dtype, optional
        Of the result; see `Augmentation`.

    Raises
    ------
    InputError
        A name that is not known, or has no analogue for features.

    Examples
    --------
    >>> cifar = ImageSettings(mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262))
    >>> weak = policy("weak", settings=cifar)
    >>> images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    >>> weak(images, torch.arange(4), seed=0, step=0, view=0).shape
    torch.Size([4, 3, 32, 32])
    """
    make = POLICIES.get(name)
    if kind == "image":
        return Augmentation(make(settings or ImageSettings()), dtype=dtype)
    if kind == "tokens":
        return Augmentation(())
    if kind != "features":
        raise InputError(f"kind is {kind!r}; expected 'image', 'features' or 'tokens'")
    if name not in FEATURE_STAGES:
        known = ", ".join(FEATURE_STAGES)
        raise InputError(f"the policy {name!r} has no meaning for features; those that have one: {known}")
    return Augmentation(FEATURE_STAGES[name], dtype=dtype)
