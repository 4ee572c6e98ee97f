"""A linear classifier on features."""

from __future__ import annotations

from torch import nn

from tamis.backbones.building import BACKBONES
from tamis.backbones.classifier import Classifier
from tamis.registry import Facts


@BACKBONES.register("linear", Facts("Linear classifier", inputs=("features",)))
def linear(input_shape: tuple[int, ...], n_classes: int, *, seed: int = 0) -> Classifier:
    """Return logistic regression on features: hard to beat on good features, and slow to fit wrong labels.

    Parameters
    ----------
    input_shape : (D,)
    n_classes : int
    seed : int

    Examples
    --------
    >>> sum(weight.numel() for weight in linear((256,), 10).parameters())
    2570
    """
    return Classifier(nn.Identity(), input_shape[0], n_classes, seed=seed)
