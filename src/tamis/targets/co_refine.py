"""Co-refinement of DivideMix: the given label and the network's prediction, by how clean the label seems."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import can_read_values, checked_logits
from tamis.targets.one_hot import one_hot
from tamis.targets.sharpen import sharpen


def co_refine(
    probs1: Tensor, probs2: Tensor, labels: Tensor, prob_clean: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """Return targets for samples whose label is believed.

    Parameters
    ----------
    probs1, probs2 : (B, K) float, rows sum to 1
        Predictions of the network that is trained, on two augmentations of the samples.
    labels : (B,) int
        Given labels; -1 (unlabelled) takes the prediction alone.
    prob_clean : (B,) float in [0, 1]
        How far each label is believed, from the **other** network's losses
        (`tamis.statistics.co_divide.co_divide`).
    temperature : float, default=0.5
        Of `sharpen`; at 1 the refined probabilities come out as they are.

    Returns
    -------
    (B, K) float, rows sum to 1, without gradient

    Raises
    ------
    InputError
        Shapes do not match, or labels or ``prob_clean`` out of range.

    References
    ----------
    .. [1] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020,
       equations 3 and 4.

    Examples
    --------
    >>> probs = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    >>> co_refine(probs, probs, torch.tensor([0, 0]), torch.tensor([1.0, 0.5]), temperature=1.0)
    tensor([[1.0000, 0.0000],
            [0.7500, 0.2500]])
    """
    first = checked_logits(probs1, "probs1").detach()
    second = checked_logits(probs2, "probs2").detach()
    shapes = {"probs2": second.shape, "labels": labels.shape, "prob_clean": prob_clean.shape}
    expected = {"probs2": first.shape, "labels": first.shape[:1], "prob_clean": first.shape[:1]}
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise InputError(
                f"{name} has shape {tuple(shape)}, probs1 {tuple(first.shape)}; expected"
                f" {tuple(expected[name])}"
            )
    mean = (first + second) / 2
    given = one_hot(labels, first.shape[1], dtype=mean.dtype)
    # A sample without a label has no loss either: its belief may be anything.
    belief = torch.where(labels >= 0, prob_clean.detach().to(mean.dtype), 0.0)[:, None]
    if can_read_values() and not bool(((belief >= 0) & (belief <= 1)).all()):
        raise InputError("prob_clean holds NaN or numbers outside [0, 1]; expected posteriors of co_divide")
    return sharpen(belief * given + (1 - belief) * mean, temperature)
