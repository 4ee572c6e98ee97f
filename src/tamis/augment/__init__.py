"""Augmentation: batched tensor operations whose draws are the same for a sample in any batch.

Examples
--------
>>> import torch
>>> from tamis.augment import policy
>>> images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
>>> policy("weak")(images, torch.tensor([7, 3]), seed=0, step=0).dtype
torch.float32
"""

from tamis.augment.augmentation import Augmentation
from tamis.augment.cropping import Mirror, ShiftedCrop
from tamis.augment.draws import normals, permutation, uniforms, unit_interval
from tamis.augment.erasing import Cutout, RandomErasing
from tamis.augment.jitter import ColorJitter, Grey
from tamis.augment.noise import FeatureDropout, FeatureNoise, PixelNoise
from tamis.augment.normalizing import Normalize, channel_statistics
from tamis.augment.policies import POLICIES, ImageSettings, policy
from tamis.augment.rand_augment import RandAugment
from tamis.augment.separable import GaussianBlur, ResizedCrop
from tamis.augment.stages import Draws, Stage

__all__ = [
    "POLICIES",
    "Augmentation",
    "ColorJitter",
    "Cutout",
    "Draws",
    "FeatureDropout",
    "FeatureNoise",
    "GaussianBlur",
    "Grey",
    "ImageSettings",
    "Mirror",
    "Normalize",
    "PixelNoise",
    "RandAugment",
    "RandomErasing",
    "ResizedCrop",
    "ShiftedCrop",
    "Stage",
    "channel_statistics",
    "normals",
    "permutation",
    "policy",
    "uniforms",
    "unit_interval",
]
