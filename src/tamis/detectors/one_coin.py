"""Suspicion: annotators who are usually right say something else than the label."""

from __future__ import annotations

from tamis.crowd.em import Model
from tamis.crowd.one_coin import coin_model
from tamis.crowd.said import Said
from tamis.detectors.base import DETECTORS
from tamis.detectors.crowd_em import CrowdModelDetector
from tamis.registry import Facts


@DETECTORS.register(
    "one_coin",
    Facts(
        title="One-coin model of annotators",
        inputs=("answers",),
        task="crowd",
        year=2016,
        paper="Zhang, Chen, Zhou, Jordan: Spectral methods meet EM, JMLR 17",
    ),
)
class OneCoin(CrowdModelDetector):
    """Crowd labels judged by a single accuracy for each annotator.

    As `DawidSkene` with far fewer numbers to learn: for annotators with few answers, or many classes. Not
    where classes are confused in one direction.

    Parameters
    ----------
    gold : mapping of task to class, optional
    classes : sequence, optional
    n_iter : int, default=100
    tol : float, default=1e-5

    Attributes
    ----------
    clean_scores_ : (T,) float64 array in [0, 1]
        Probability that the given label of each task (by default the majority) is right.
    suggested_labels_, given_labels_ : (T,) arrays
    is_issue_ : (T,) bool array
    posteriors_ : (T, K) float64 array
    answer_scores_ : (n,) float64 array in [0, 1]
    worker_quality_ : (A,) float64 array in [0, 1]
        The accuracies.
    tasks_, workers_, classes_ : arrays

    References
    ----------
    .. [1] Y. Zhang, X. Chen, D. Zhou, M. I. Jordan. "Spectral methods meet EM", JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> detector = OneCoin().fit(np.array([[0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 0]]))
    >>> detector.suggested_labels_, detector.worker_quality_.round(2)
    (array([0, 1, 0, 1]), array([1. , 1. , 0.5]))
    """

    @staticmethod
    def _make_model(said: Said) -> Model:
        return coin_model(said)
