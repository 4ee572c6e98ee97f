"""What a method may know of the training set before its first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.backbones.classifier import Outputs
from tamis.errors import InputError

Forward = Callable[[Tensor], Outputs]
"""A network, or anything that maps inputs to outputs."""


@dataclass(frozen=True)
class ScanBlock:
    """What a network says about some rows of the training set, unaugmented.

    Attributes
    ----------
    index : (b,) int64 tensor
    labels : (b,) int64 tensor
        Given labels, -1 where there is none.
    outputs : Outputs
        Logits and features in float32.
    """

    index: Tensor
    labels: Tensor
    outputs: Outputs

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of the given labels, (b,) float32; 0 where there is none."""
        return cross_entropy(self.outputs.logits, self.labels, ignore_index=-1, reduction="none")


class Scan(Protocol):
    """The training set, unaugmented, in order, in blocks; networks are in evaluation mode meanwhile."""

    n_samples: int

    def blocks(self, forward: Forward | None = None) -> Iterator[ScanBlock]:
        """Yield block after block under ``forward``; the method itself where it is None."""
        ...

    def losses(self, forward: Forward | None = None) -> Tensor:
        """Return the cross-entropy of every row, (n,) float32."""
        ...

    def probabilities(self, forward: Forward | None = None) -> Tensor:
        """Return class probabilities of every row, (n, K) float32."""
        ...


def _unknown_rate() -> float:
    raise InputError(
        "the noise rate is not known: pass it, e.g. params={'noise_rate': 0.2}, "
        "or let tamis.train estimate it"
    )


def _no_features() -> Tensor:
    raise InputError(
        "there are no frozen features of these inputs; give some to tamis.train, or name an encoder"
    )


@dataclass(frozen=True)
class Material:
    """What is known of the training set beside its inputs.

    Attributes
    ----------
    labels : (n,) int64 tensor
        Given labels, -1 where a row has none.
    n_classes : int
    seed : int
        Of the run.
    batch_size : int
        Of the recipe.
    selected : (n,) bool tensor, optional
        Rows that are taken for rightly labelled: the initial selection.
    label_scores : (n,) float tensor, optional
        Probability that a given label is right, from an audit.
    features : callable
        Frozen features of all rows, (n, d) float: the inputs themselves, or of an encoder. May take long.
    has_features : bool
        Whether they are there already, and no encoder has to be run.
    noise_rate : callable
        Estimated share of wrong labels; may take long, so it is asked for only where it is needed.
    """

    labels: Tensor
    n_classes: int
    seed: int = 0
    batch_size: int = 128
    selected: Tensor | None = None
    label_scores: Tensor | None = None
    features: Callable[[], Tensor] = _no_features
    has_features: bool = False
    noise_rate: Callable[[], float] = _unknown_rate

    def __post_init__(self) -> None:
        n = len(self.labels)
        for name in ("selected", "label_scores"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise InputError(f"{name} has {len(value)} rows, labels {n}; expected one for each label")
        if self.selected is not None and not bool(self.selected.any()):
            raise InputError("the initial selection is empty; loosen its rule, or train without it")

    @property
    def usable(self) -> Tensor:
        """Rows to train on, (m,) int64: labelled, and selected where there is a selection."""
        is_usable = self.labels >= 0
        if self.selected is not None:
            is_usable = is_usable & self.selected
        return torch.nonzero(is_usable).flatten()

    @property
    def labelled(self) -> Tensor:
        """All rows with a label, (m,) int64."""
        return torch.nonzero(self.labels >= 0).flatten()
