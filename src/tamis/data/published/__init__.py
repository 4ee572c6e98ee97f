"""Published data sets with wrong labels, read from their files as published.

`tamis.read` takes their names as ``format``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tamis.data.dataset import Dataset
from tamis.data.published.animal10n import read_animal10n
from tamis.data.published.cifar_n import read_cifar_n
from tamis.data.published.clothing1m import read_clothing1m
from tamis.data.published.food101n import read_food101n
from tamis.data.published.image_lists import read_image_list
from tamis.data.published.red_mini_imagenet import read_red_mini_imagenet
from tamis.data.published.webvision import read_webvision
from tamis.errors import InputError

__all__ = [
    "FORMATS",
    "read_animal10n",
    "read_cifar_n",
    "read_clothing1m",
    "read_food101n",
    "read_image_list",
    "read_published",
    "read_red_mini_imagenet",
    "read_webvision",
]

FORMATS: dict[str, Callable[[str | Path], Dataset]] = {
    "animal10n": read_animal10n,
    "cifar_n": read_cifar_n,
    "clothing1m": read_clothing1m,
    "food101n": read_food101n,
    "image_list": read_image_list,
    "red_mini_imagenet": read_red_mini_imagenet,
    "webvision": read_webvision,
    "webvision_mini": partial(read_webvision, mini=True),
}
"""Name of each format -> its reader."""


def read_published(path: str | Path, format: str, *, label: str | None = None) -> Dataset:
    """Read a published data set by the name of its format.

    Parameters
    ----------
    path : path
        The folder in which it was unpacked, or the file that the reader of the format takes.
    format : str
        One of `FORMATS`.
    label : str, optional
        Which label set; only ``cifar_n`` has several.

    Raises
    ------
    InputError
        An unknown format, ``label`` for a format that has one label set, or what the reader raises.

    Examples
    --------
    >>> read_published(".", "cifar")
    Traceback (most recent call last):
    tamis.errors.InputError: format is 'cifar'; legal are animal10n, cifar_n, clothing1m, ...
    """
    if format not in FORMATS:
        raise InputError(f"format is {format!r}; legal are {', '.join(FORMATS)}")
    if format == "cifar_n":
        return read_cifar_n(path, label=label)
    if label is not None:
        raise InputError(f"label is {label!r}, but {format} has one set of labels; leave it out")
    return FORMATS[format](path)
