"""The two small networks of SimSiam on top of a backbone: projector and predictor."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from tamis.backbones.initialisation import initialise, without_draws
from tamis.errors import InputError


class SimSiamOutputs(NamedTuple):
    """What SimSiam compares, for one view of a batch.

    Attributes
    ----------
    predictions : (B, n_projected) float tensor
        A guess at the projections of another view.
    projections : (B, n_projected) float tensor
        Batch-normalised: mean 0 and variance 1 in each dimension.
    """

    predictions: torch.Tensor
    projections: torch.Tensor


class SimSiamHeads(nn.Module):
    """Projector of three layers and predictor of two, with batch normalisation where SimSiam has it.

    Dropped after the first stage: only the backbone is kept.

    Parameters
    ----------
    n_features : int
        Of the backbone.
    n_projected : int
        Width of the projector's layers and of both outputs.
    n_hidden : int
        Width of the predictor's bottleneck; a quarter of ``n_projected`` in the paper.
    seed : int
        Decides the first weights.

    Raises
    ------
    InputError
        A width under 1. When called: features of another width, or a training batch of one.

    References
    ----------
    .. [1] X. Chen, K. He. Exploring Simple Siamese Representation Learning. CVPR 2021, section 3.

    Examples
    --------
    >>> heads = SimSiamHeads(4, n_projected=8, n_hidden=2)
    >>> outputs = heads(torch.eye(4))
    >>> outputs.predictions.shape, outputs.projections.shape
    (torch.Size([4, 8]), torch.Size([4, 8]))
    """

    def __init__(
        self, n_features: int, *, n_projected: int = 2048, n_hidden: int = 512, seed: int = 0
    ) -> None:
        super().__init__()
        for name, width in (("n_features", n_features), ("n_projected", n_projected), ("n_hidden", n_hidden)):
            if width < 1:
                raise InputError(f"{name} is {width}; a layer needs at least 1 feature")
        self.n_features = n_features
        with without_draws():
            # No bias before a batch norm, which would take it out again.
            self.projector = nn.Sequential(
                *_normalised_layer(n_features, n_projected),
                *_normalised_layer(n_projected, n_projected),
                nn.Linear(n_projected, n_projected, bias=False),
                nn.BatchNorm1d(n_projected, affine=False),
            )
            self.predictor = nn.Sequential(
                *_normalised_layer(n_projected, n_hidden), nn.Linear(n_hidden, n_projected)
            )
        initialise(self, seed)

    def forward(self, features: torch.Tensor) -> SimSiamOutputs:
        """Return predictions and projections of one view's (B, n_features) features."""
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise InputError(
                f"features have shape {tuple(features.shape)}; these heads take (B, {self.n_features})"
            )
        if self.training and len(features) < 2:
            raise InputError(
                f"a training batch of {len(features)} has no statistics to normalise with; SimSiam needs at "
                "least 2 samples a batch: drop the last, incomplete batch"
            )
        projections = self.projector(features)
        return SimSiamOutputs(self.predictor(projections), projections)


def _normalised_layer(n_inputs: int, n_outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Linear(n_inputs, n_outputs, bias=False),
        nn.BatchNorm1d(n_outputs),
        nn.ReLU(inplace=True),
    )
