"""The samples of a batch with the smallest losses: those whose labels are probably right."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.statistics.labelled_logits import refuse_nan
from tamis.statistics.schedules import refuse_rate


def smallest_losses(losses: Tensor, forget_rate: float) -> Tensor:
    """Return the rows of the ``max(1, int((1 - forget_rate) * B))`` smallest losses, rising.

    Of equal losses the earlier row comes first; an empty batch gives no row.

    Parameters
    ----------
    losses : (B,) float tensor
    forget_rate : float in [0, 1]
        Share to leave out. What remains is rounded down, but never to nothing.

    Returns
    -------
    (n,) int64 tensor, on the device of the losses

    Raises
    ------
    InputError
        A rate that is no share, or NaN among the losses.

    Examples
    --------
    >>> smallest_losses(torch.tensor([0.3, 2.0, 0.1, 0.2]), forget_rate=0.5)
    tensor([2, 3])
    """
    refuse_rate(forget_rate, "forget_rate")
    refuse_nan(losses, "losses")
    n_kept = max(1, int((1 - forget_rate) * len(losses)))
    order = losses.detach().argsort(stable=True)
    return torch.sort(order[:n_kept]).values
