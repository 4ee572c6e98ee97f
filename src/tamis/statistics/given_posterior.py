"""Softmax over many classes of which only the given one and the best are wanted: block after block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch


class GivenPosterior(NamedTuple):
    """What a softmax over the classes says about the given labels.

    Attributes
    ----------
    log_given : (n,) float tensor
        Log probability of the given label, at most 0. Exactly 0 where its class is unknown; -inf where the
        row is not finite.
    best : (n,) int64 tensor
        The most probable class; the given one in a tie, or where it is unknown.
    """

    log_given: torch.Tensor
    best: torch.Tensor


@torch.no_grad()
def given_posterior(
    logits_of: Callable[[int, int], torch.Tensor],
    labels: torch.Tensor,
    own_logits: torch.Tensor,
    n_classes: int,
    *,
    n_extra: int = 0,
    class_block: int = 4096,
) -> GivenPosterior:
    """Return the log probability of the given label and the most probable class.

    Parameters
    ----------
    logits_of : callable
        ``logits_of(start, stop)`` returns the (n, stop - start) logits of a range of classes, -inf for
        classes that take no part. The tensor is changed in place.
    labels : (n,) int64 tensor
    own_logits : (n,) float tensor
        Logit of the given label, put in the place of what ``logits_of`` says; -inf = class unknown.
    n_classes : int
    n_extra : int
        Classes beside these that add ``exp(0)`` each to the denominator.
    class_block : int
        Classes at a time; changes no result by more than rounding.

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 2.0], [0.0, 1.0]]).log()
    >>> labels, own = torch.tensor([0, 1]), torch.tensor([0.0, 0.0])
    >>> posterior = given_posterior(lambda start, stop: logits[:, start:stop].clone(), labels, own, 2)
    >>> posterior.log_given.exp(), posterior.best
    (tensor([0.3333, 1.0000]), tensor([1, 1]))
    """
    total = torch.full_like(own_logits, math.log(n_extra) if n_extra else -math.inf)
    top, best = own_logits.clone(), labels.clone()
    for start in range(0, n_classes, class_block):
        stop = min(start + class_block, n_classes)
        logits = logits_of(start, stop)  # (n, stop - start)
        inside = ((labels >= start) & (labels < stop)).nonzero()[:, 0]
        logits[inside, labels[inside] - start] = own_logits[inside]
        total = torch.logaddexp(total, logits.logsumexp(dim=1))
        value, place = logits.max(dim=1)
        is_better = value > top
        top, best = torch.where(is_better, value, top), torch.where(is_better, place + start, best)
    is_unknown = own_logits == -math.inf
    log_given = torch.where(is_unknown, 0.0, (own_logits - total).clamp(max=0.0))
    return GivenPosterior(log_given, torch.where(is_unknown, labels, best))


def unfit_rows(posterior: GivenPosterior, rows: torch.Tensor, labels: torch.Tensor) -> GivenPosterior:
    """Give rows of ``rows`` with NaN or infinity the lowest score, -inf, and keep their label."""
    is_fit = torch.isfinite(rows).all(dim=1)
    return GivenPosterior(
        torch.where(is_fit, posterior.log_given, -math.inf), torch.where(is_fit, posterior.best, labels)
    )
