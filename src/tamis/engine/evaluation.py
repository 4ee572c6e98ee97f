"""Predictions of a finished or running method for rows that are not its training set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.backbones.classifier import Outputs
from tamis.engine.examples import Examples
from tamis.engine.feeding import Feeder
from tamis.engine.scanning import Autocast, blocks_of, evaluating
from tamis.methods.base import Method


@dataclass(frozen=True)
class Evaluation:
    """Labelled rows that are not trained on.

    Attributes
    ----------
    examples : Examples
    labels : (m,) int64 tensor
        On the device; rows of -1 are left out.
    """

    examples: Examples
    labels: Tensor


def predicted(
    method: Method, examples: Examples, feeder: Feeder, autocast: Autocast, block_size: int = 512
) -> Iterator[Outputs]:
    """Yield the outputs of a method for block after block of ``examples``, in order, in float32."""
    view = feeder.view("none")
    device = feeder.labels.device
    pieces = blocks_of(examples.n_samples, block_size, device)
    for number, index in enumerate(pieces):
        if number + 1 < len(pieces):
            examples.prefetch(pieces[number + 1])
        with evaluating(method), torch.no_grad(), autocast():
            outputs = method(view(examples.fetch(index), index, seed=0, step=0, view=0))
        yield Outputs(outputs.logits.float(), outputs.features.float(), None)


def measured(method: Method, evaluation: Evaluation, feeder: Feeder, autocast: Autocast) -> dict[str, float]:
    """Return the figures by which a method measures itself on rows that are not trained on."""
    return method.measure(predicted(method, evaluation.examples, feeder, autocast), evaluation.labels)
