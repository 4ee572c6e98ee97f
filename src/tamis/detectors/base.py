"""What every detector is: given labels and evidence in, clean scores and suggested labels out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tamis.errors import InputError, NotFittedError
from tamis.registry import Registry
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.types import FloatArray, IntArray


class Verdict(NamedTuple):
    """What a detector's arithmetic returns for every row.

    Attributes
    ----------
    clean_scores : (n,) float array
        Any monotone scale, higher = cleaner.
    suggested : (n,) int array
        Code of the label that the detector would put; the given one where it has no better.
    """

    clean_scores: FloatArray
    suggested: IntArray


class Detector(ABC):
    """Base of all detectors; ``fit`` sets the attributes below.

    Attributes
    ----------
    clean_scores_ : (n,) float array
        One a row, higher = cleaner; the scale is the detector's own.
    suggested_labels_ : (n,) array
        In the type of the given labels; the given label where nothing fits better.
    classes_ : (K,) array
        The classes, in the order of their codes.
    """

    clean_scores_: FloatArray
    suggested_labels_: npt.NDArray[np.generic]
    classes_: npt.NDArray[np.generic]

    def __getattr__(self, name: str) -> object:
        """Say what is missing where a result is read before ``fit``."""
        is_result = name.endswith("_") and not name.startswith("_")
        if is_result and "clean_scores_" not in vars(self):
            raise NotFittedError(f"{type(self).__name__}.{name} is a result; call fit first")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _store(self, verdict: Verdict) -> None:
        self.clean_scores_ = verdict.clean_scores
        self.suggested_labels_ = self.classes_[verdict.suggested]


# scikit-learn comes without types.
class FeatureDetector(Detector, BaseEstimator):  # type: ignore[misc]
    """Detector on features and labels; a scikit-learn estimator.

    A subclass stores its parameters in a keyword-only constructor and implements `_assess`.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen by ``fit``.
    """

    n_features_in_: int

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:  # noqa: N803 (scikit-learn's name)
        """Score every row.

        Parameters
        ----------
        X : (n, d) float
            Features, n >= 2, finite.
        y : (n,) labels
            Given labels, of any kind that can be sorted: strings, integers.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Wrong shapes, NaN or infinity in ``X``, fewer than two rows, missing labels, or labels that are
            not classes (real numbers).
        """
        try:
            features, labels = validate_data(self, X, y, dtype=[np.float32, np.float64], ensure_min_samples=2)
            check_classification_targets(labels)
        except ValueError as error:
            raise InputError(f"{type(self).__name__}.fit: {error}") from error
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._store(self._assess(features, codes.astype(np.int64), len(self.classes_)))
        return self

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that labels are needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @abstractmethod
    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        """Return the verdict on (n, d) features with (n,) label codes."""


class ProbabilityDetector(Detector):
    """Detector on given labels and out-of-sample predicted probabilities.

    A subclass implements `_assess` on tensors.
    """

    def fit(self, labels: ArrayLike, pred_probs: ArrayLike) -> Self:
        """Score every row.

        Parameters
        ----------
        labels : (n,) int
            Class codes 0..K-1: label ``k`` belongs to column ``k``.
        pred_probs : (n, K) float
            Out of sample (cross-validated); rows sum to 1 within 1e-3 and are renormalised.

        Returns
        -------
        self

        Raises
        ------
        InputError
            See `tamis.statistics.probabilities.labelled_probabilities`.
        """
        codes, probs = labelled_probabilities(labels, pred_probs)
        self.classes_ = np.arange(probs.shape[1])
        self._store(self._assess(codes, probs))
        return self

    @abstractmethod
    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        """Return the verdict on checked label codes (n,) and probabilities (n, K)."""


DETECTORS: Registry[type[Detector]] = Registry("detector", package="tamis.detectors")
"""Every detector of the package, and of others through the entry point group ``tamis.detectors``."""


def most_likely(labels: torch.Tensor, weights: torch.Tensor) -> IntArray:
    """Return the class with the largest weight in every row; the given label wins a tie.

    Parameters
    ----------
    labels : (n,) int64 tensor
    weights : (n, K) float tensor

    Examples
    --------
    >>> most_likely(torch.tensor([1, 1]), torch.tensor([[0.5, 0.5], [0.6, 0.4]]))
    array([1, 0])
    """
    best = weights.amax(dim=1)
    given = weights.gather(1, labels[:, None])[:, 0]
    suggested: IntArray = torch.where(given >= best, labels, weights.argmax(dim=1)).cpu().numpy()
    return suggested
