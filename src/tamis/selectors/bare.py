"""BARE: trust a label whose posterior stands out from the mini-batch."""

from __future__ import annotations

import math
import warnings
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError, TamisWarning
from tamis.selectors.selection import Selection, Selector, logits_of
from tamis.statistics.labelled_logits import labelled_logits, refuse_nan, widest

BatchStatistics: TypeAlias = Literal["all", "same_label"]
Fallback: TypeAlias = Literal["full", "skip"]

_CLAMP = 1e-8
_TIE = 1e-12  # a posterior equal to its threshold is kept, whatever the rounding
_ABSENT = -1.0  # threshold of a class without samples: below every posterior


def bare_selection(
    logits: Tensor,
    labels: Tensor,
    kappa: float = 1.0,
    *,
    stats: BatchStatistics = "all",
    fallback: Fallback = "full",
) -> Selection:
    """Keep the samples whose posterior for the given label is high for this batch.

    The threshold of a class is the mean plus ``kappa`` standard deviations of its posterior in the batch.
    No noise rate, no clean data, no state. Not for two balanced classes with ``kappa >= 1``: there it keeps
    nothing.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    kappa : float
        Higher keeps fewer.
    stats : {"all", "same_label"}
        Whose posteriors the statistics are taken over. "all": every sample of the batch, unbiased
        deviation, as in the authors' code. "same_label": samples given the class, biased deviation, as in
        the paper's equations; it can never keep more than half of a class at ``kappa=1``.
    fallback : {"full", "skip"}
        `Selection.weight` where no sample is kept: 1 for all, or 0 for all.

    Returns
    -------
    Selection
        ``clean_scores`` = posterior of the given label minus the threshold of its class, in [-inf, 2];
        ``threshold`` (K,). Both float64. A class without samples has threshold -1 in "same_label".

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, logits with NaN, ``kappa`` not finite.

    Warns
    -----
    TamisWarning
        Two classes with ``stats="all"`` and ``kappa >= 1``.

    Notes
    -----
    A deviation over one sample counts as 0, so that a batch of one is kept. Statistics run in float64.

    References
    ----------
    .. [1] D. Patel, P. S. Sastry. "Adaptive sample selection for robust learning under label noise",
       WACV 2023, and the authors' code.

    Examples
    --------
    >>> logits = 6.0 * torch.eye(3).repeat(2, 1)  # sure of classes 0, 1, 2, 0, 1, 2
    >>> bare_selection(logits, torch.tensor([0, 1, 2, 0, 1, 0])).keep
    tensor([ True,  True,  True,  True,  True, False])
    """
    _refuse_parameters(kappa, stats, fallback)
    logits, labels = labelled_logits(logits, labels)
    return _select(logits.detach(), labels, kappa, stats, fallback)


def bare_loss(
    logits: Tensor,
    labels: Tensor,
    kappa: float = 1.0,
    *,
    stats: BatchStatistics = "all",
    fallback: Fallback = "full",
) -> Tensor:
    """Return the mean cross-entropy of the samples that `bare_selection` keeps, a scalar.

    Where it keeps none: the mean over the whole batch (``fallback="full"``, as in the authors' code), or 0
    (``"skip"``). An empty batch gives 0. The selection passes no gradient.

    Parameters
    ----------
    logits, labels, kappa, stats, fallback
        As in `bare_selection`.

    Raises
    ------
    InputError
        As `bare_selection`.

    Examples
    --------
    >>> logits = 6.0 * torch.eye(3).repeat(2, 1)
    >>> round(float(bare_loss(logits, torch.tensor([0, 1, 2, 0, 1, 0]))), 4)
    0.0049
    """
    _refuse_parameters(kappa, stats, fallback)
    logits, labels = labelled_logits(logits, labels)
    selection = _select(logits.detach(), labels, kappa, stats, fallback)
    return selection.weighted_mean(functional.cross_entropy(logits, labels, reduction="none"))


class BareSelector(Selector):
    """`bare_selection` with its parameters.

    Parameters
    ----------
    kappa : float, default=1.0
    stats : {"all", "same_label"}, default="all"
    fallback : {"full", "skip"}, default="full"

    Raises
    ------
    InputError
        ``kappa`` not finite, or another word than those above.

    Examples
    --------
    >>> selector = BareSelector()
    >>> logits = (6.0 * torch.eye(3).repeat(2, 1)).requires_grad_()
    >>> labels = torch.tensor([0, 1, 2, 0, 1, 0])
    >>> losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    >>> selector.select(logits, labels).weighted_mean(losses).backward()
    """

    def __init__(
        self,
        *,
        kappa: float = 1.0,
        stats: BatchStatistics = "all",
        fallback: Fallback = "full",
    ) -> None:
        super().__init__()
        _refuse_parameters(kappa, stats, fallback)
        self.kappa = kappa
        self.stats: BatchStatistics = stats
        self.fallback: Fallback = fallback

    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Judge a batch; see `bare_selection`. ``index`` is not used."""
        logits = logits_of(outputs)
        return bare_selection(logits, labels, self.kappa, stats=self.stats, fallback=self.fallback)


def _select(
    logits: Tensor, labels: Tensor, kappa: float, stats: BatchStatistics, fallback: Fallback
) -> Selection:
    if logits.shape[1] == 2 and stats == "all" and kappa >= 1:
        warnings.warn(
            f"kappa is {kappa} with 2 classes: of a balanced batch BARE then keeps nothing. "
            "Take a lower kappa, such as 0",
            TamisWarning,
            stacklevel=3,
        )
    posterior = widest(logits).softmax(dim=1)  # (B, K)
    refuse_nan(posterior, "logits")
    posterior = posterior.clamp_(_CLAMP, 1.0 - _CLAMP)
    given = posterior.gather(1, labels[:, None])[:, 0]  # (B,)
    if stats == "all":
        threshold = _threshold_of_all(posterior, kappa)
    else:
        threshold = _threshold_of_same_label(given, labels, logits.shape[1], kappa)
    clean_scores = given - threshold[labels]
    keep = clean_scores >= -_TIE
    used = keep | ~keep.any() if fallback == "full" else keep
    return Selection(keep, used.to(logits.dtype), clean_scores, threshold)


def _threshold_of_all(posterior: Tensor, kappa: float) -> Tensor:
    n_samples, n_classes = posterior.shape
    if n_samples == 0:
        return posterior.new_full((n_classes,), _ABSENT)
    if n_samples == 1:
        return posterior[0]
    deviation, mean = torch.std_mean(posterior, dim=0)
    return mean + kappa * deviation


def _threshold_of_same_label(given: Tensor, labels: Tensor, n_classes: int, kappa: float) -> Tensor:
    zeros = given.new_zeros(n_classes)
    counts = zeros.index_add(0, labels, torch.ones_like(given))
    n = counts.clamp(min=1)
    mean = zeros.index_add(0, labels, given) / n
    deviation = (zeros.index_add(0, labels, (given - mean[labels]) ** 2) / n).sqrt()
    return torch.where(counts > 0, mean + kappa * deviation, _ABSENT)


def _refuse_parameters(kappa: float, stats: str, fallback: str) -> None:
    if not math.isfinite(kappa):
        raise InputError(
            f"kappa is {kappa}; expected a finite number (1 keeps what stands out, 0 about half)"
        )
    for name, given, known in (("stats", stats, BatchStatistics), ("fallback", fallback, Fallback)):
        if given not in get_args(known):
            raise InputError(f"{name} is {given!r}; expected one of {', '.join(map(repr, get_args(known)))}")
