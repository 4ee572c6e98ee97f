"""Suspicion: sample and label look unlike those that are known to be right."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_X_y

from tamis.detectors.base import DETECTORS, Detector, Verdict
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.registry import Facts
from tamis.statistics.class_scatter import ClassScatter
from tamis.statistics.relative_mahalanobis import Gaussians, class_distances, gaussians, usual_epsilon
from tamis.statistics.trusted_discriminator import Discriminator, Inputs, fit_discriminator
from tamis.types import BoolArray, FloatArray, IntArray

_COORDINATES = 16
"""Directions, at most, in which class means differ most; each class weighs them in its own way."""


def odds_weights(logits: torch.Tensor, max_weight: float = 10.0) -> torch.Tensor:
    """Return sample weights ``clip(d / (1 - d), 0, max_weight)``, scaled to a mean of 1.

    Parameters
    ----------
    logits : (n,) float tensor
        Log odds of d, the discriminator's probability.
    max_weight : float
        Above 0; applies before the scaling.

    Examples
    --------
    >>> odds_weights(torch.tensor([0.0, 1.0, 9.0]), max_weight=2.0)
    tensor([0.6000, 1.2000, 1.2000])
    """
    if not max_weight > 0:
        raise InputError(f"max_weight is {max_weight}; expected a number above 0")
    weights = logits.clamp(max=float(np.log(max_weight))).exp()
    mean = weights.mean()
    return weights / mean if bool(mean > 0) else torch.ones_like(weights)


@DETECTORS.register(
    "trusted_weights",
    Facts(
        title="Weights from a trusted set",
        inputs=("features", "trusted"),
        year=2017,
        paper="Kiryo et al.: Positive-Unlabeled Learning with Non-Negative Risk Estimator, NeurIPS",
    ),
)
class TrustedWeights(Detector):
    """Clean score = probability, by a positive-unlabelled discriminator, of being like the trusted rows.

    A few rows are known to be right; of the others a share is. The discriminator sees how far the sample is
    from the class it carries (`RelativeMahalanobis`, without the sample itself), and where it lies among the
    class means. For weights in training rather than for a ranking: it ranks no better than the distances
    alone. The trusted rows must be drawn like right rows: a class that is rare among them gets low weights
    throughout. Not for fewer than some hundred trusted rows.

    Parameters
    ----------
    prior : float, default=0.5
        Share of the untrusted rows whose labels are right, a guess from below: too high makes the
        discriminator sure of everything.
    max_weight : float, default=10
        Odds are cut here before they are scaled to a mean of 1.
    pooling : float, default=300
        How many trusted rows it takes before classes go their own ways.
    shrinkage : float, default=1e-3
        As in `RelativeMahalanobis`.
    memory_budget : str, int or None, default="2GiB"
        Memory for blocks of rows beside the features and the sums.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [0, 1]
        Higher = more like the trusted rows; also for these themselves.
    weights_ : (n,) float64 array
        For training: at least 0, mean 1.
    suggested_labels_ : (n,) array in the type of ``y``
        The nearest class by `RelativeMahalanobis`; the given one of trusted rows.
    classes_ : (K,) array
    discriminator_ : tamis.statistics.trusted_discriminator.Discriminator

    References
    ----------
    .. [1] Kiryo, Niu, du Plessis, Sugiyama. "Positive-Unlabeled Learning with Non-Negative Risk Estimator",
       NeurIPS 2017.
    .. [2] Zhang et al. "Discriminator-Guided Model-Based Offline Imitation Learning", CoRL 2022. Its full
       text was not at hand: what the discriminator sees of a row is ours.

    Examples
    --------
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1], [8, 8], [8, 9], [9, 8], [9, 9], [0.5, 0.6], [0.4, 0.5]]
    >>> y = ["cat"] * 4 + ["dog"] * 5 + ["cat"]
    >>> trusted = [True, True, False, False, True, True, False, False, False, False]
    >>> TrustedWeights().fit(X, y, trusted).clean_scores_.argmin()
    np.int64(8)
    """

    weights_: FloatArray
    discriminator_: Discriminator

    def __init__(
        self,
        *,
        prior: float = 0.5,
        max_weight: float = 10.0,
        pooling: float = 300.0,
        shrinkage: float = 1e-3,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.prior = prior
        self.max_weight = max_weight
        self.pooling = pooling
        self.shrinkage = shrinkage
        self.memory_budget = memory_budget

    def fit(
        self,
        features: npt.ArrayLike,
        labels: npt.ArrayLike,
        trusted: npt.ArrayLike,
    ) -> Self:
        """Score every row.

        Parameters
        ----------
        features : (n, d) float
            n >= 2, finite.
        labels : (n,) labels
            Given labels, of any kind that can be sorted: strings, integers.
        trusted : (n,) bool
            True = the label is known to be right; some rows, and not all.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Wrong shapes or types, NaN or infinity, missing labels, no trusted rows or no others, or a
            parameter out of range.
        """
        try:
            rows, given = check_X_y(features, labels, dtype=[np.float32, np.float64], ensure_min_samples=2)
            check_classification_targets(given)
        except ValueError as error:
            raise InputError(f"TrustedWeights.fit: {error}") from error
        is_trusted = _checked_mask(trusted, len(rows))
        self.classes_, found = np.unique(given, return_inverse=True)
        codes = found.astype(np.int64)
        inputs, nearest = self._inputs(rows, codes)
        mask = torch.from_numpy(is_trusted)
        self.discriminator_ = fit_discriminator(
            Inputs(*(part[mask] for part in inputs)),
            Inputs(*(part[~mask] for part in inputs)),
            len(self.classes_),
            prior=self.prior,
            pooling=self.pooling,
        )
        logits = self.discriminator_.logits(inputs)
        self.weights_ = odds_weights(logits, self.max_weight).numpy()
        self._store(Verdict(torch.sigmoid(logits).numpy(), np.where(is_trusted, codes, nearest)))
        return self

    def _inputs(self, rows: FloatArray, codes: IntArray) -> tuple[Inputs, IntArray]:
        """Return what the discriminator sees, and the nearest class of every row."""
        step = rows_per_block(
            8 * (6 * rows.shape[1] + 4 * len(self.classes_)), parse_memory_budget(self.memory_budget)
        )
        starts = range(0, len(rows), step)
        state = ClassScatter(len(self.classes_), rows.shape[1])
        for start in starts:
            state.partial_fit(rows[start : start + step], codes[start : start + step])
        epsilon = usual_epsilon(state, self.shrinkage)
        inside, around = gaussians(state, epsilon), gaussians(state, epsilon, pooled=True)
        axes = _axes(inside)
        blocks = [
            _evidence(rows[start : start + step], codes[start : start + step], inside, around, axes)
            for start in starts
        ]
        shared, by_class, nearest = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        scale = shared.square().mean(dim=0).sqrt()
        shared = shared / torch.where(scale > 0, scale, 1.0)
        return Inputs(shared, by_class, torch.from_numpy(codes)), nearest.numpy()


def _axes(inside: Gaussians) -> torch.Tensor:
    """Return (d, q) directions, in whitened coordinates, in which the class means differ most."""
    weighted = inside.white_means * inside.counts.double().sqrt()[:, None]
    _, strength, directions = torch.linalg.svd(weighted, full_matrices=False)
    kept = min(_COORDINATES, len(inside.counts) - 1, int((strength > 1e-9 * strength.max()).sum()))
    axes: torch.Tensor = directions[:kept].T
    return axes


def _evidence(
    rows: FloatArray, codes: IntArray, inside: Gaussians, around: Gaussians, axes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (b, 2) distances against rivals and background, (b, q) coordinates, (b,) nearest classes."""
    to = class_distances(rows, codes, inside, around, leave_one_out=True)
    given = torch.where(torch.isfinite(to.given), to.given, to.background)  # a lone member: nothing known
    margin = torch.minimum(to.rival, to.background) - given
    shared = torch.stack([margin, to.background - given], dim=1)
    place = inside.whitened(torch.from_numpy(rows.astype(np.float64))) @ axes * inside.count**0.5
    labels = torch.from_numpy(codes)
    return shared, place, torch.where(to.rival < given, to.rival_class, labels)


def _checked_mask(trusted: npt.ArrayLike, n_rows: int) -> BoolArray:
    mask = np.asarray(trusted)
    if mask.shape != (n_rows,) or mask.dtype != np.bool_:
        raise InputError(
            f"trusted has shape {mask.shape} and dtype {mask.dtype}; expected ({n_rows},) bool, "
            "True where the label is known to be right"
        )
    if mask.all() or not mask.any():
        raise InputError(
            f"trusted is True for {int(mask.sum())} of {n_rows} rows; expected some rows and not all"
        )
    return mask
