"""Suspicion: the sample is not more like its own class than like others, on average over their members."""

from __future__ import annotations

from tamis.detectors.base import DETECTORS, Verdict
from tamis.detectors.streamed import CLASS_BLOCK, Judge, StreamedDetector
from tamis.registry import Facts
from tamis.statistics.average_similarity import average_similarity_posterior
from tamis.statistics.class_sums import ClassSums
from tamis.types import FloatArray, IntArray


@DETECTORS.register(
    "average_similarity",
    Facts(
        title="Average similarity",
        inputs=("features",),
        year=2021,
        paper="Liu et al.: Noise-resistant Deep Metric Learning with Ranking-based Instance Selection, CVPR",
    ),
)
class AverageSimilarity(StreamedDetector[ClassSums]):
    """Clean score = softmax, at the given label, of the mean cosines with the members of each class.

    PRISM's score without its training loop: every sample is compared with the means of all classes, its own
    class without it. Two passes over the rows and memory for one vector a class, however many rows; any
    number of classes. For embeddings whose classes are single clumps of similar spread; a class of many kinds
    has a short mean and looks doubtful throughout. Wrong labels drag the means along where they are many.

    Parameters
    ----------
    memory_budget : str, int or None, default="2GiB"
        Memory for blocks of rows beside the features and class sums.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in (0, 1]
        To rank by: always near 1/K for K classes. 1 where the class has no other member: nothing is known.
    suggested_labels_ : (n,) array in the type of ``y``
        The class with the largest mean cosine; the given one where it has no other member.
    classes_ : (K,) array
    state_ : tamis.statistics.class_sums.ClassSums
    n_features_in_ : int

    References
    ----------
    .. [1] Liu, Yu, Li, Shen, Gao, Ren, Xie, Cui, Miao. "Noise-resistant Deep Metric Learning with
       Ranking-based Instance Selection", CVPR 2021.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0], [0.1, 1.0], [0.0, 0.9]]
    >>> detector = AverageSimilarity().fit(X, ["cat", "cat", "cat", "dog", "dog", "dog"])
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[2]
    (np.int64(2), np.str_('dog'))
    """

    def __init__(self, *, memory_budget: str | int | None = "2GiB") -> None:
        self.memory_budget = memory_budget

    def _empty(self, n_classes: int, n_features: int) -> ClassSums:
        return ClassSums(n_classes, n_features)

    def _judge(self, *, seen: bool) -> Judge:
        def judge(features: FloatArray, labels: IntArray) -> Verdict:
            posterior = average_similarity_posterior(
                features, labels, self.state_, leave_one_out=seen, class_block=CLASS_BLOCK
            )
            return Verdict(posterior.log_given.exp().numpy(), posterior.best.numpy())

        return judge
