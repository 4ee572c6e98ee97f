"""Suspicion: annotators who are usually right here say something else than the label."""

from __future__ import annotations

from tamis.crowd.dawid_skene import confusion_model
from tamis.crowd.em import Model
from tamis.crowd.said import Said
from tamis.detectors.base import DETECTORS
from tamis.detectors.crowd_em import CrowdModelDetector
from tamis.registry import Facts


@DETECTORS.register(
    "dawid_skene",
    Facts(
        title="Dawid-Skene",
        inputs=("answers",),
        task="crowd",
        year=1979,
        paper="Dawid, Skene: Maximum likelihood estimation of observer error-rates, JRSS-C 28(1)",
    ),
)
class DawidSkene(CrowdModelDetector):
    """Crowd labels judged by one confusion matrix for each annotator.

    Annotators who confuse classes in a way of their own are corrected for it, even those who are wrong more
    often than right. Not for annotators with a handful of answers and many classes: use `OneCoin`.

    Parameters
    ----------
    gold : mapping of task to class, optional
        True classes that are known; their posteriors stay certain.
    classes : sequence, optional
        All classes in the order wanted; default: those that occur, sorted.
    n_iter : int, default=100
    tol : float, default=1e-5
        Stops when the bound on the log-likelihood grows by less, per answer.

    Attributes
    ----------
    clean_scores_ : (T,) float64 array in [0, 1]
        Probability that the given label of each task (by default the majority) is right.
    suggested_labels_, given_labels_ : (T,) arrays
    is_issue_ : (T,) bool array
    posteriors_ : (T, K) float64 array
    answer_scores_ : (n,) float64 array in [0, 1]
    worker_quality_ : (A,) float64 array in [0, 1]
    error_tensor_ : (A, K, K) float64 array
        P(label | worker, true class), by worker, label, true class.
    tasks_, workers_, classes_ : arrays

    References
    ----------
    .. [1] A. P. Dawid, A. M. Skene. "Maximum likelihood estimation of observer error-rates using the EM
       algorithm", JRSS-C 28(1), 1979.

    Examples
    --------
    >>> table = {
    ...     "task": ["t1", "t1", "t1", "t2", "t2", "t2", "t3", "t3", "t3"],
    ...     "worker": ["ann", "bob", "eve"] * 3,
    ...     "label": ["cat", "cat", "dog", "dog", "dog", "cat", "cat", "cat", "dog"],
    ... }
    >>> detector = DawidSkene().fit(table)
    >>> detector.suggested_labels_.tolist(), detector.worker_quality_.round(2).tolist()
    (['cat', 'dog', 'cat'], [1.0, 1.0, 0.0])
    """

    @staticmethod
    def _make_model(said: Said) -> Model:
        return confusion_model(said)
