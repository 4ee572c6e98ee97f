"""The share of wrong labels a method is told, or asks for."""

from __future__ import annotations

from typing import Literal, TypeAlias

from tamis.errors import InputError
from tamis.methods.material import Material

NoiseRate: TypeAlias = float | Literal["estimate"]


def refuse_noise_rate(value: NoiseRate) -> None:
    """Raise `InputError` where a value is neither "estimate" nor a rate in [0, 1)."""
    is_rate = isinstance(value, int | float) and 0 <= value < 1
    if not (value == "estimate" or is_rate):
        raise InputError(
            f"noise_rate is {value!r}; expected a share of at least 0 and below 1 (0.2 for 20 %), "
            "or 'estimate'"
        )


def resolved_noise_rate(value: NoiseRate, material: Material) -> float:
    """Return the rate among the rows that are trained on.

    A number stands as it is. ``"estimate"`` is the mean doubt about the selected rows, where there are a
    selection and scores of an audit, else the estimate for the whole training set.

    Examples
    --------
    >>> import torch
    >>> material = Material(torch.tensor([0, 1, 1]), n_classes=2, noise_rate=lambda: 0.25)
    >>> resolved_noise_rate(0.4, material), resolved_noise_rate("estimate", material)
    (0.4, 0.25)
    """
    if value != "estimate":
        return float(value)
    if material.selected is None or material.label_scores is None:
        return float(material.noise_rate())
    scores = material.label_scores[material.usable]
    doubts = 1 - scores[~scores.isnan()].double()
    return float(doubts.mean()) if len(doubts) else float(material.noise_rate())
