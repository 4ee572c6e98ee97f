"""Erasing attention consistency: an image and its mirror image must draw mirrored attention."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from tamis.errors import InputError, TamisWarning
from tamis.losses.cosine import without_autocast
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.statistics.labelled_logits import at_least_float32, can_read_values, labelled_logits

_LARGEST_RATIO = 100.0
_CALLS_BETWEEN_CHECKS = 100


def class_attention_maps(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return how much every place of every image speaks for every class.

    The linear head applied to each place: averaged over places, plus the bias, this is the logit.

    Parameters
    ----------
    maps : (B, C, H, W) float tensor
        Last convolutional features, before their mean over places. Patch tokens (B, H * W, C) whose mean is
        classified become maps by ``tokens.transpose(1, 2).unflatten(2, (H, W))``.
    weight : (K, C) float tensor
        Of the linear head. No gradient.

    Returns
    -------
    (B, K, H, W) tensor
        In float32, or float64 where the maps are; any sign.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    .. [1] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba. Learning Deep Features for Discriminative
       Localization. CVPR 2016, equation 2.

    Examples
    --------
    >>> class_attention_maps(torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]]), torch.tensor([[3.0, -1.0]]))
    tensor([[[[3., 5.]]]])
    """
    _check_maps(maps, weight)
    maps = at_least_float32(maps)
    with without_autocast(maps):
        return torch.einsum("kc,bchw->bkhw", weight.detach().to(maps.dtype), maps)


def flip_consistency(maps: torch.Tensor, maps_flipped: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return for each image how far its attention maps are from the mirrored ones of its mirror image.

    Parameters
    ----------
    maps : (B, C, H, W) float tensor
        Last convolutional features of the images.
    maps_flipped : (B, C, H, W) float tensor
        Of their mirror images, as the network gives them: they are mirrored back (along W) here.
    weight : (K, C) float tensor
        Of the linear head. No gradient; both maps have one.

    Returns
    -------
    (B,) tensor
        Mean squared difference over classes and places, in float32 or better. Grows with the square of the
        scale of the features.

    Raises
    ------
    InputError
        The shapes do not fit.

    Examples
    --------
    >>> maps = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> flip_consistency(maps, maps.flip(3), torch.tensor([[2.0]]))
    tensor([0.])
    >>> flip_consistency(maps, maps, torch.tensor([[2.0]]))
    tensor([24.])
    """
    if maps.shape != maps_flipped.shape:
        raise InputError(
            f"maps and maps_flipped have shapes {tuple(maps.shape)} and {tuple(maps_flipped.shape)}; give "
            "the maps of the same images, once as they are and once mirrored"
        )
    # Attention is linear in the features, so the difference of the features gives that of the attention.
    difference = at_least_float32(maps) - at_least_float32(maps_flipped).flip(-1)
    return class_attention_maps(difference, weight).square().mean(dim=(1, 2, 3))


class EraseAttentionConsistency(nn.Module):
    """Cross-entropy on the images, plus `flip_consistency` between them and their mirror images.

    A wrong label is learned from some small region that happens to be unusual. If regions are erased at
    random, and the mirror image, erased elsewhere, must draw the same attention without seeing the label,
    such a region no longer serves. All samples are used. Not for data where a mirror image means something
    else: digits, letters, left and right.

    Parameters
    ----------
    consistency_weight : float
        At least 0; 0 is plain cross-entropy. 5 in the paper, for images of 224 pixels.
    reduction : {"mean", "none"}
        One number, or one for each image.

    Attributes
    ----------
    ratio : scalar tensor or None
        Consistency divided by cross-entropy in the last call, unweighted; None before it. No gradient.

    Raises
    ------
    InputError
        An argument is out of its range. When called: shapes do not fit, or a label is no class.

    Warns
    -----
    TamisWarning
        ``ratio`` is above 100. Looked at in the first call and every hundredth, and said once.

    Notes
    -----
    The two sets of images are made before: erase regions of the mirror image independently of the image's.

    References
    ----------
    .. [1] Y. Zhang, C. Wang, X. Ling, W. Deng. Learn From All: Erasing Attention Consistency for Noisy Label
       Facial Expression Recognition. ECCV 2022.

    Examples
    --------
    In a training loop of your own:

    >>> backbone, head = nn.Conv2d(3, 8, 3), nn.Linear(8, 2)
    >>> objective = EraseAttentionConsistency()
    >>> images, labels = torch.rand(4, 3, 6, 6), torch.tensor([0, 1, 1, 0])
    >>> maps, maps_flipped = backbone(images), backbone(images.flip(3))
    >>> logits = head(maps.mean(dim=(2, 3)))
    >>> objective(logits, labels, maps, maps_flipped, head.weight).backward()
    """

    def __init__(self, consistency_weight: float = 5.0, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        if not 0.0 <= consistency_weight < float("inf"):
            raise InputError(
                f"consistency_weight is {consistency_weight!r}; expected a finite number of at least 0"
            )
        refuse_reduction(reduction)
        self.consistency_weight = consistency_weight
        self.reduction: Reduction = reduction
        self.ratio: torch.Tensor | None = None
        self._n_calls = 0
        self._has_warned = False

    def forward(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        maps: torch.Tensor,
        maps_flipped: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        logits : (B, K) float tensor
            Of the images as they are.
        labels : (B,) int64 tensor
        maps, maps_flipped : (B, C, H, W) float tensor
            Last convolutional features of the images and of their mirror images, from one network.
        weight : (K, C) float tensor
            Of the linear head.

        Returns
        -------
        scalar or (B,) tensor
        """
        logits, labels = labelled_logits(logits, labels)
        rows = nn.functional.cross_entropy(logits, labels, reduction="none")
        if self.consistency_weight > 0.0:
            _check_sizes(logits, maps, weight)
            consistency = flip_consistency(maps, maps_flipped, weight)
            self._watch(rows.detach().mean(), consistency.detach().mean())
            rows = rows + self.consistency_weight * consistency
        return reduced(rows, self.reduction)

    def _watch(self, cross_entropy: torch.Tensor, consistency: torch.Tensor) -> None:
        self.ratio = consistency / cross_entropy
        # Now and then only: reading a number back from the device makes it wait.
        is_due = self._n_calls % _CALLS_BETWEEN_CHECKS == 0
        self._n_calls += 1
        if is_due and not self._has_warned and can_read_values() and float(self.ratio) > _LARGEST_RATIO:
            self._has_warned = True
            warnings.warn(
                f"the attention consistency is {float(self.ratio):.0f} times the cross-entropy and drowns "
                f"the labels; it grows with the square of the features: take consistency_weight well below "
                f"{self.consistency_weight:g}, or a network with normalised features",
                TamisWarning,
                stacklevel=3,
            )


def _check_maps(maps: torch.Tensor, weight: torch.Tensor) -> None:
    if maps.ndim != 4 or weight.ndim != 2 or weight.shape[1] != maps.shape[1] or not maps.is_floating_point():
        raise InputError(
            f"maps of shape {tuple(maps.shape)} and type {maps.dtype} do not fit a weight of shape "
            f"{tuple(weight.shape)}; expected (B, C, H, W) floats and (K, C): the features before their "
            "mean over places, and the linear head on that mean"
        )


def _check_sizes(logits: torch.Tensor, maps: torch.Tensor, weight: torch.Tensor) -> None:
    if len(maps) != len(logits) or len(weight) != logits.shape[1]:
        raise InputError(
            f"logits of shape {tuple(logits.shape)} do not fit maps of shape {tuple(maps.shape)} and a "
            f"weight of shape {tuple(weight.shape)}; expected (B, K), (B, C, H, W) and (K, C)"
        )
