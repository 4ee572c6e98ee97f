"""Suspicion: a vision-language model or a linear classifier on its features doubts the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from tamis.detectors.base import DETECTORS, Detector, Verdict, most_likely
from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.clip_rules import ClipScores, Fill, clip_scores, fill_empty_classes, four_rules
from tamis.detectors.visual_probabilities import visual_probabilities
from tamis.registry import Facts
from tamis.statistics.probabilities import ArrayLike, label_tensor
from tamis.statistics.zero_shot import TEMPERATURE, feature_matrix, zero_shot_probabilities
from tamis.types import BoolArray, FloatArray

_TINY = np.finfo(np.float64).tiny


@DETECTORS.register(
    "clipcleaner",
    Facts(
        title="CLIPCleaner selection",
        inputs=("image_features", "text_features"),
        year=2024,
        paper="Feng, Tzimiropoulos, Patras: CLIPCleaner, ACM Multimedia 2024",
    ),
)
class CLIPCleaner(Detector):
    """Keep the samples that a frozen vision-language model believes, by four rules at once.

    Two estimates of the class, one from prompts without any label, one learned from the given labels on the
    same image features, are each asked twice: does the loss belong to the cleaner of two heaps of its class,
    and is the label nearly as likely as the likeliest? Not where the model does not know the classes, and not
    to count errors: it keeps too little rather than too much.

    Parameters
    ----------
    temperature : float, default=0.07
        Of the prompts.
    theta_gmm, theta_cons : float, default=0.5, 0.8
        Least posterior of the cleaner heap, least relative probability; 0 switches the rule off.
    lr_cv : int or None, default=None
        Folds of the logistic regression; None scores it on its own training rows, as published.
    n_init : int, default=1
        Starts of each mixture; 5 is steadier where classes have fewer than 100 samples.
    random_state : int, default=0
    fill : {"highest", "official"}, keyword of the golden cases, default="highest"
        Classes of which nothing is kept get their samples of highest zero-shot score; the authors' code
        takes the lowest.

    Attributes
    ----------
    keep_ : (n,) bool array
        The selected samples.
    is_issue_ : (n,) bool array
        The others.
    clean_scores_ : (n,) float64 array in [0, 1]
        Probability of the given label under the product of both estimates.
    suggested_labels_ : (n,) int array
        Its most likely class.
    probs_zero_, probs_lr_ : (n, K) float64 array
    scores_ : ClipScores
    is_filled_ : (n,) bool array
        Kept only because nothing else of their class was.
    classes_ : (K,) int array

    References
    ----------
    .. [1] Feng, Tzimiropoulos, Patras. "CLIPCleaner: Cleaning Noisy Labels with CLIP", ACM Multimedia 2024.

    Examples
    --------
    >>> images = [[1.0, 0.1], [0.9, 0.2], [0.1, 1.0], [0.2, 0.9], [1.0, 0.0], [0.0, 1.0]]
    >>> prompts = [[[1.0, 0.0]], [[0.0, 1.0]]]
    >>> CLIPCleaner().fit([0, 0, 1, 1, 1, 0], images, prompts).keep_
    array([ True,  True,  True,  True, False, False])
    """

    keep_: BoolArray
    is_issue_: BoolArray
    is_filled_: BoolArray
    probs_zero_: FloatArray
    probs_lr_: FloatArray
    scores_: ClipScores

    def __init__(
        self,
        *,
        temperature: float = TEMPERATURE,
        theta_gmm: float = 0.5,
        theta_cons: float = 0.8,
        lr_cv: int | None = None,
        n_init: int = 1,
        random_state: int = 0,
        fill: Fill = "highest",
    ) -> None:
        self.temperature = temperature
        self.theta_gmm = theta_gmm
        self.theta_cons = theta_cons
        self.lr_cv = lr_cv
        self.n_init = n_init
        self.random_state = random_state
        self.fill = fill

    def fit(
        self, labels: ArrayLike, image_features: npt.ArrayLike, text_features: Sequence[npt.ArrayLike]
    ) -> Self:
        """Score and select every row.

        Parameters
        ----------
        labels : (n,) int
            Class codes 0..K-1, of the classes of ``text_features``.
        image_features : (n, d) float
            Embeddings of the images, of any length.
        text_features : sequence of K arrays (m_c, d) float
            Embeddings of the prompts of each class, at least one a class.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Shapes do not match, labels without prompts, NaN or infinity, or a parameter out of range.
        """
        images = feature_matrix(image_features, "image_features")
        n_classes = len(text_features)
        probs_zero = zero_shot_probabilities(images, text_features, temperature=self.temperature)
        given = label_tensor(labels, n_samples=len(images), n_classes=n_classes)
        codes = given.numpy()
        probs_lr = visual_probabilities(images, codes, n_classes, cv=self.lr_cv)
        self.scores_ = clip_scores(probs_zero, probs_lr, codes)
        kept = four_rules(
            self.scores_,
            codes,
            n_classes,
            theta_gmm=self.theta_gmm,
            theta_cons=self.theta_cons,
            n_init=self.n_init,
            random_state=self.random_state,
        )
        self.keep_ = fill_empty_classes(
            kept,
            codes,
            self.scores_.zero_loss,
            n_classes,
            fill=self.fill,
            order=canonical_order(images, codes, n_classes).rows,
        )
        self.is_filled_, self.is_issue_ = self.keep_ & ~kept, ~self.keep_
        self.probs_zero_, self.probs_lr_ = probs_zero, probs_lr
        both = _product(probs_zero, probs_lr)
        self.classes_ = np.arange(n_classes)
        clean = both[np.arange(len(codes)), codes]
        self._store(Verdict(clean, most_likely(given, torch.from_numpy(both))))
        return self


def _product(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the normalised product of two tables of probabilities; the first where it vanishes."""
    logs = np.log(np.maximum(one, _TINY)) + np.log(np.maximum(other, _TINY))
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    product: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return product
