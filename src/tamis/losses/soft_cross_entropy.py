"""Cross-entropy with soft targets."""

from __future__ import annotations

from torch import Tensor

from tamis.errors import InputError
from tamis.losses.reduction import Reduction, reduced
from tamis.statistics.labelled_logits import checked_logits


def soft_cross_entropy(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Return minus the sum over classes of target times log-probability.

    Parameters
    ----------
    logits : (B, K) float
    targets : (B, K) float
        Mixed, refined or one-hot targets; a row of zeros adds nothing.
    reduction : {"mean", "none"}
        Mean over the rows, 0 where there are none, or one value a row.

    Returns
    -------
    scalar tensor, or (B,)
        In float32, for float64 logits in float64; also under autocast.

    Raises
    ------
    InputError
        Shapes differ, or another reduction.

    Examples
    --------
    >>> import torch
    >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]])).item()
    0.693147...
    """
    values = checked_logits(logits)
    if logits.shape != targets.shape:
        raise InputError(
            f"logits has shape {tuple(logits.shape)}, targets {tuple(targets.shape)}; expected one shape"
            " (samples, classes)"
        )
    return reduced(-(targets * values.log_softmax(dim=1)).sum(dim=1), reduction)
