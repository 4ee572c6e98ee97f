"""SimSiam: learn features without labels by predicting one view of a sample from another."""

from __future__ import annotations

import torch
from torch import nn

from tamis.errors import InputError
from tamis.losses.cosine import cosines, unit_rows
from tamis.losses.reduction import reduced

_LEAST_SPREAD = 0.1


def negative_cosine(predictions: torch.Tensor, projections: torch.Tensor) -> torch.Tensor:
    """Return minus the mean cosine between predictions and projections; the projections get no gradient.

    Parameters
    ----------
    predictions : (B, D) float tensor
    projections : (B, D) float tensor
        Of the other view.

    Returns
    -------
    scalar tensor
        In [-1, 1]; -1 where all rows point the same way, 0 for an empty batch.

    Raises
    ------
    InputError
        The shapes differ, or a tensor is no matrix of floats.

    Examples
    --------
    >>> negative_cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]]))
    tensor(-0.6000)
    """
    return -reduced(cosines(predictions, projections.detach()), "mean")


def simsiam_loss(
    predictions1: torch.Tensor,
    predictions2: torch.Tensor,
    projections1: torch.Tensor,
    projections2: torch.Tensor,
) -> torch.Tensor:
    """Return the symmetrised negative cosine of two views: each prediction against the other projection.

    Parameters
    ----------
    predictions1, predictions2 : (B, D) float tensor
        Of the predictor, for the first and the second view.
    projections1, projections2 : (B, D) float tensor
        Of the encoder with its projector. Gradients stop here.

    Returns
    -------
    scalar tensor
        In [-1, 1].

    Raises
    ------
    InputError
        The shapes differ, or a tensor is no matrix of floats.

    References
    ----------
    .. [1] X. Chen, K. He. Exploring Simple Siamese Representation Learning. CVPR 2021, equations 1 to 4.

    Examples
    --------
    >>> view1, view2 = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> simsiam_loss(view1, view2, projections1=view2, projections2=view1)
    tensor(-1.)
    """
    first = negative_cosine(predictions1, projections2)
    second = negative_cosine(predictions2, projections1)
    return first / 2 + second / 2


class SimSiamLoss(nn.Module):
    """Symmetrised negative cosine of SimSiam as a module; the arithmetic is `simsiam_loss`.

    Labels are not used, so wrong ones do no harm. Watch `feature_spread` of the projections: it falls to 0
    when the network maps every sample to the same point, and the loss, near -1 then, does not tell.

    References
    ----------
    .. [1] X. Chen, K. He. Exploring Simple Siamese Representation Learning. CVPR 2021.

    Examples
    --------
    >>> encoder, predictor, loss = nn.Linear(4, 3), nn.Linear(3, 3), SimSiamLoss()
    >>> view1, view2 = torch.ones(2, 4), torch.ones(2, 4) + 0.1
    >>> z1, z2 = encoder(view1), encoder(view2)
    >>> loss(predictor(z1), predictor(z2), z1, z2).backward()
    """

    def forward(
        self,
        predictions1: torch.Tensor,
        predictions2: torch.Tensor,
        projections1: torch.Tensor,
        projections2: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of two views, a scalar in [-1, 1]."""
        return simsiam_loss(predictions1, predictions2, projections1, projections2)


def feature_spread(features: torch.Tensor) -> torch.Tensor:
    """Return how far apart the directions of feature rows are: 0 where all are the same.

    The standard deviation of the normalised features (root of its mean square over dimensions) times the
    root of the number of dimensions: 1 for rows spread evenly over the sphere, however many dimensions.

    Parameters
    ----------
    features : (B, D) float tensor

    Returns
    -------
    scalar tensor
        In [0, 1]; no gradient.

    Raises
    ------
    InputError
        ``features`` is no matrix of floats, or has no rows.

    Examples
    --------
    >>> feature_spread(torch.tensor([[1.0, 0.0], [-5.0, 0.0]])), feature_spread(torch.ones(4, 3))
    (tensor(1.), tensor(0.))
    """
    unit = unit_rows(features.detach())
    if not len(unit):
        raise InputError("features hold no rows; a spread needs at least 1")
    return unit.var(dim=0, correction=0).sum().sqrt()


def check_not_collapsed(features: torch.Tensor) -> None:
    """Raise where feature rows all point the same way, as those of a failed SimSiam encoder do.

    Their relations say nothing, and distilling them would make a student forget its own. Read back from the
    device: meant for now and then, not for every step.

    Parameters
    ----------
    features : (B, D) float tensor
        At least a batch of different samples.

    Raises
    ------
    InputError
        The standard deviation per dimension of the normalised rows is under 0.1 / sqrt(D), or not a number.

    Examples
    --------
    >>> check_not_collapsed(torch.eye(3))
    >>> check_not_collapsed(torch.ones(3, 2))
    Traceback (most recent call last):
    tamis.errors.InputError: 3 feature rows all point nearly the same way: ...
    """
    spread = float(feature_spread(features))
    if spread >= _LEAST_SPREAD:
        return
    if spread != spread:
        row = int((~torch.isfinite(features).all(dim=1)).nonzero()[0, 0])
        raise InputError(
            f"features hold NaN or infinity, first in row {row}; the encoder must give finite numbers"
        )
    raise InputError(
        f"{len(features)} feature rows all point nearly the same way: their standard deviation per dimension "
        f"is {spread:.3g} / sqrt(D), expected at least {_LEAST_SPREAD} / sqrt(D). The encoder has collapsed "
        "(train it with another learning rate or batch size, or use a pretrained one), or all rows are one "
        "sample"
    )
