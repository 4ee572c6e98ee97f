"""Sharpening: a power of predicted probabilities, so that targets are surer than the network."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import checked_logits


def sharpen(probs: Tensor, temperature: float = 0.5) -> Tensor:
    """Return ``probs ** (1 / temperature)``, each row divided by its sum.

    Parameters
    ----------
    probs : (B, K) float, at least 0, some entry of each row positive
        float64 stays float64, all else comes out as float32.
    temperature : float, default=0.5
        At least 0. 1 changes nothing, below 1 the largest entry gains, 0 gives it everything (the first of
        equal ones).

    Returns
    -------
    (B, K) float, rows sum to 1
        Without gradient: targets are constants. The order of the entries stays.

    Raises
    ------
    InputError
        ``probs`` is no float matrix, or ``temperature`` negative or not finite.

    References
    ----------
    .. [1] Berthelot et al. "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019, eq. 7.
    .. [2] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020.

    Examples
    --------
    >>> sharpen(torch.tensor([[0.6, 0.2, 0.2]]), temperature=0.5).round(decimals=3)
    tensor([[0.8180, 0.0910, 0.0910]])
    """
    values = checked_logits(probs, "probs").detach()
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature is {temperature}; expected a number of at least 0, 1 changes nothing")
    if temperature == 0:
        columns = torch.arange(values.shape[1], device=values.device)
        return (values.argmax(dim=1, keepdim=True) == columns).to(values.dtype)
    # Relative to the largest entry no power underflows for all of a row.
    powers = (values / values.amax(dim=1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)
