"""What every selector is: a batch in, and out of it the samples whose labels are trusted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from tamis.errors import InputError


class Selection(NamedTuple):
    """What a selector says about the B samples of a batch.

    Attributes
    ----------
    keep : (B,) bool tensor
        The verdict: True = the label is trusted.
    weight : (B,) float tensor
        What the loss weighs each sample with, at least 0: 1 where kept and 0 elsewhere, unless the selector
        has a rule of its own (such as training on all where none is trusted).
    clean_scores : (B,) float tensor
        Higher = cleaner; the scale is the selector's own.
    threshold : tensor, float or None
        What the evidence was compared with, where there is such a number.
    """

    keep: Tensor
    weight: Tensor
    clean_scores: Tensor
    threshold: Tensor | float | None = None

    def weighted_mean(self, losses: Tensor) -> Tensor:
        """Return the mean of (B,) losses by `weight`; 0, with zero gradient, where all weights are 0.

        Examples
        --------
        >>> import torch
        >>> keep = torch.tensor([True, False, True])
        >>> Selection(keep, keep.float(), keep.float()).weighted_mean(torch.tensor([1.0, 9.0, 3.0]))
        tensor(2.)
        """
        weight = self.weight.to(losses.dtype)
        # An infinite loss that counts for nothing must not become infinity times zero.
        counted = losses.where(weight > 0, losses.new_zeros(()))
        total = weight.sum()
        return (weight * counted).sum() / total.where(total > 0, total.new_ones(()))


class Selector(nn.Module, ABC):
    """Base of all selectors: `select` looks, `commit` remembers.

    A subclass implements `select` without side effects and without gradient. What it learns from a batch
    (memories, windows) it stores in `commit`, called after the optimiser's step.
    """

    @abstractmethod
    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Judge a batch.

        Parameters
        ----------
        outputs : (B, K) float tensor, or an object with such an attribute ``logits``
        labels : (B,) int64 tensor
            Given labels, 0..K-1.
        index : (B,) int64 tensor or None
            Rows of the data set, for selectors that remember samples.
        """

    def commit(
        self, selection: Selection, outputs: object, labels: Tensor, index: Tensor | None = None
    ) -> None:
        """Remember a batch after the optimiser's step; most selectors have nothing to remember.

        Parameters
        ----------
        selection : Selection
            What `select` said about the batch.
        outputs, labels, index
            As they were given to `select`.
        """

    def forward(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Do what `select` does."""
        return self.select(outputs, labels, index)


def logits_of(outputs: object) -> Tensor:
    """Return the logits of a network's outputs: the tensor itself, or its attribute ``logits``.

    Raises
    ------
    InputError
        Neither is a tensor.
    """
    logits = getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"outputs is a {type(outputs).__name__}; expected the logits as a tensor of shape (B, K), "
            "or an object with such an attribute 'logits'"
        )
    return logits
