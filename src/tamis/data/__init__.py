"""Data sets: reading them from anywhere, safely and without keeping pixels."""

from __future__ import annotations

from tamis.data.arrays import from_arrays
from tamis.data.dataset import Dataset, Image, Input, LabelName, Unreadable
from tamis.data.digests import feature_digests
from tamis.data.inputs import ImageArrayInput, ImageInput, TextInput
from tamis.data.reading import read
from tamis.data.unlabelled import read_unlabelled

__all__ = [
    "Dataset",
    "Image",
    "ImageArrayInput",
    "ImageInput",
    "Input",
    "LabelName",
    "TextInput",
    "Unreadable",
    "feature_digests",
    "from_arrays",
    "read",
    "read_unlabelled",
]
