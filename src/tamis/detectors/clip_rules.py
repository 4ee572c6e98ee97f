"""Rules by which class probabilities speak for or against given labels, and their fourfold intersection."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.probabilities import label_tensor
from tamis.statistics.two_gaussians import fit_two_gaussians
from tamis.statistics.zero_shot import feature_matrix
from tamis.types import BoolArray, FloatArray, IntArray

Fill: TypeAlias = Literal["highest", "official"]
"""Which end of an empty class is filled in: the likely clean, or (the authors' code) the least likely."""

_TINY = np.finfo(np.float64).tiny
_LEAST_GAP = 1e-12


class ClipScores(NamedTuple):
    """The four scores of a row, (n,) float64 each, higher = cleaner, in [0, 1].

    Attributes
    ----------
    zero_loss, visual_loss : log-likelihood of the label, from 0 to 1 within its class
    zero_consistency, visual_consistency : probability of the label relative to the largest
    """

    zero_loss: FloatArray
    zero_consistency: FloatArray
    visual_loss: FloatArray
    visual_consistency: FloatArray


def clip_scores(probs_zero: FloatArray, probs_lr: FloatArray, labels: IntArray) -> ClipScores:
    """Return the four scores of (n, K) zero-shot and visual probabilities for (n,) label codes."""
    return ClipScores(
        likelihood_in_class(probs_zero, labels),
        consistency(probs_zero, labels),
        likelihood_in_class(probs_lr, labels),
        consistency(probs_lr, labels),
    )


def log_likelihood(probs: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logarithm of the label's probability, (n,) float64 at most 0; -708 at probability 0.

    Examples
    --------
    >>> log_likelihood([[0.5, 0.5], [0.0, 1.0]], [0, 1])
    array([-0.69314718,  0.        ])
    """
    table, codes = _table(probs, labels)
    logs: npt.NDArray[np.float64] = np.log(np.maximum(table[np.arange(len(codes)), codes], _TINY))
    return logs


def likelihood_in_class(probs: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the log-likelihood mapped to [0, 1] among the rows of the same label; 1 where all are equal.

    Examples
    --------
    >>> likelihood_in_class([[0.1, 0.9], [1.0, 0.0], [0.5, 0.5]], [0, 0, 1])
    array([0., 1., 1.])
    """
    table, codes = _table(probs, labels)
    logs = log_likelihood(table, codes)
    low, high = np.full(table.shape[1], np.inf), np.full(table.shape[1], -np.inf)
    np.minimum.at(low, codes, logs)
    np.maximum.at(high, codes, logs)
    spread = (high - low)[codes]
    # Less than that is rounding, which must not decide about labels.
    is_spread = spread > _LEAST_GAP
    scores: npt.NDArray[np.float64] = np.where(
        is_spread, (logs - low[codes]) / np.where(is_spread, spread, 1.0), 1.0
    )
    return scores


def consistency(probs: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the label's probability divided by the largest, (n,) float64; 1 where no class is likelier.

    Examples
    --------
    >>> consistency([[0.2, 0.8], [0.7, 0.3]], [0, 0])
    array([0.25, 1.  ])
    """
    table, codes = _table(probs, labels)
    ratios: npt.NDArray[np.float64] = table[np.arange(len(codes)), codes] / np.maximum(
        table.max(axis=1), _TINY
    )
    return ratios


def cleaner_heap(
    scores: FloatArray, labels: IntArray, n_classes: int, *, n_init: int = 1, random_state: int = 0
) -> npt.NDArray[np.float64]:
    """Return the posterior of the higher of two Gaussians fitted to the scores of each class.

    1 where a class has fewer than two samples, equal scores, or a mixture of equal means.
    """
    posterior = np.ones(len(scores))
    for code in range(n_classes):
        rows = np.flatnonzero(labels == code)
        if len(rows) > 1 and np.ptp(scores[rows]) > 0:
            mixture = fit_two_gaussians(scores[rows], n_init=n_init, random_state=random_state)
            if mixture.is_separated(least_gap=_LEAST_GAP, least_weight=0.0):
                posterior[rows] = mixture.high_posterior(scores[rows])
    return posterior


def four_rules(
    scores: ClipScores,
    labels: IntArray,
    n_classes: int,
    *,
    theta_gmm: float = 0.5,
    theta_cons: float = 0.8,
    n_init: int = 1,
    random_state: int = 0,
) -> BoolArray:
    """Return which rows pass the loss rule and the consistency rule of both estimates, (n,) bool."""
    for name, value in (("theta_gmm", theta_gmm), ("theta_cons", theta_cons)):
        if not value >= 0:
            raise InputError(f"{name} is {value}; expected 0 (keeps all) or more")
    kept: BoolArray = np.minimum(scores.zero_consistency, scores.visual_consistency) >= theta_cons
    for losses in (scores.zero_loss, scores.visual_loss):
        kept &= cleaner_heap(losses, labels, n_classes, n_init=n_init, random_state=random_state) >= theta_gmm
    return kept


def fill_empty_classes(
    keep: BoolArray,
    labels: IntArray,
    scores: FloatArray,
    n_classes: int,
    *,
    fill: Fill = "highest",
    order: IntArray | None = None,
) -> BoolArray:
    """Return the selection with every class that has samples represented.

    A class of which nothing was kept gets as many as the smallest other class kept, at least
    ``n / n_classes^2``: those of highest score, ties by ``order`` (a permutation of the rows).
    """
    if fill not in ("highest", "official"):
        raise InputError(f"fill is {fill!r}; legal are 'highest' and 'official'")
    present = np.bincount(labels, minlength=n_classes) > 0
    n_kept = np.bincount(labels[keep], minlength=n_classes)
    empty = np.flatnonzero(present & (n_kept == 0))
    least = len(labels) // n_classes**2
    fewest = int(n_kept[n_kept > 0].min()) if keep.any() else 1
    filled = keep.copy()
    ranked = np.arange(len(labels)) if order is None else order
    ranked = ranked[np.argsort(scores[ranked] * (1 if fill == "official" else -1), kind="stable")]
    for code in empty:
        filled[ranked[labels[ranked] == code][: max(fewest, least)]] = True
    return filled


def _table(probs: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    table = feature_matrix(probs, "probs")
    if (table < 0).any() or table.shape[1] == 0:
        raise InputError(
            f"probs has shape {table.shape}, least {table.min(initial=0)}; expected (n, K), >= 0"
        )
    codes = label_tensor(labels, n_samples=len(table), n_classes=table.shape[1]).numpy()
    return table.astype(np.float64, copy=False), codes
