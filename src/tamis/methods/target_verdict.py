"""A verdict from the table of targets that a method kept for every sample."""

from __future__ import annotations

from torch import Tensor

from tamis.methods.base import Verdict, given_class_scores


def verdict_of_targets(targets: Tensor, is_known: Tensor, probabilities: Tensor, labels: Tensor) -> Verdict:
    """Return what a table believes, and what the network says of rows that the table does not know.

    Parameters
    ----------
    targets : (n, K) float tensor
        Weights of the classes, at least 0; a known row sums to more than 0.
    is_known : (n,) bool tensor
        Rows that training has written.
    probabilities : (n, K) float tensor
        Of the network.
    labels : (n,) int64 tensor
        Given labels; -1 has no clean score.

    Examples
    --------
    >>> import torch
    >>> targets, network = torch.tensor([[0.1, 0.3], [0.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    >>> verdict_of_targets(targets, targets.sum(dim=1) > 0, network, torch.tensor([1, 1])).clean_scores
    tensor([0.7500, 0.1000])
    """
    shares = targets / targets.sum(dim=1, keepdim=True).clamp(min=1e-12)
    beliefs = shares.to(probabilities.dtype).where(is_known.unsqueeze(1), probabilities)
    return Verdict(given_class_scores(beliefs, labels), beliefs)
