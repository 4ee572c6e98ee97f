"""Suspicion: another class, or the data set at large, lies nearer to the sample than its own class."""

from __future__ import annotations

import torch

from tamis.detectors.base import DETECTORS, Verdict
from tamis.detectors.streamed import CLASS_BLOCK, Judge, StreamedDetector
from tamis.registry import Facts
from tamis.statistics.class_scatter import ClassScatter
from tamis.statistics.relative_mahalanobis import class_distances, gaussians, usual_epsilon
from tamis.types import FloatArray, IntArray


@DETECTORS.register(
    "relative_mahalanobis",
    Facts(
        title="Relative Mahalanobis distance",
        inputs=("features",),
        year=2021,
        paper="Ren et al.: A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, arXiv",
    ),
)
class RelativeMahalanobis(StreamedDetector[ClassScatter]):
    """Clean score = distance to the nearest rival of the given class, less the distance to that class.

    Every class is a Gaussian, all with the same covariance; rivals are the other classes and the background,
    a Gaussian over the whole data set, which catches samples of no class at all. Distances are squared
    Mahalanobis distances. Every sample is measured without itself, in closed form. Two passes over the rows,
    and a memory of one vector a class and two square matrices. Not for features with more columns than rows,
    where covariances are mostly shrinkage.

    Parameters
    ----------
    shrinkage : float, default=1e-3
        At least 0: this share of the mean variance is added to the diagonals of both covariances.
    memory_budget : str, int or None, default="2GiB"
        Memory for blocks of rows beside the features and the sums.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array
        Positive = nearer to the given class than to any rival. 0 where the class has no other member:
        nothing is known.
    suggested_labels_ : (n,) array in the type of ``y``
        The nearest class; the given one where it has no other member.
    classes_ : (K,) array
    state_ : tamis.statistics.class_scatter.ClassScatter
    n_features_in_ : int

    See Also
    --------
    tamis.statistics.relative_mahalanobis.relative_mahalanobis : Rows without labels against trusted data and
        a background; with ``state_`` as trusted data it ranks samples of no class.

    References
    ----------
    .. [1] Ren, Fort, Liu, Roy, Padhy, Lakshminarayanan. "A Simple Fix to Mahalanobis Distance for Improving
       Near-OOD Detection", arXiv 2106.09022, 2021. Its score takes the nearest class; as a score of given
       labels it is ours.

    Examples
    --------
    >>> X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.1], [8.0, 8.0], [8.0, 9.0], [9.0, 8.1], [1.0, 0.5]]
    >>> detector = RelativeMahalanobis().fit(X, ["cat"] * 4 + ["dog"] * 4)
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[7]
    (np.int64(7), np.str_('cat'))
    """

    def __init__(self, *, shrinkage: float = 1e-3, memory_budget: str | int | None = "2GiB") -> None:
        self.shrinkage = shrinkage
        self.memory_budget = memory_budget

    def _empty(self, n_classes: int, n_features: int) -> ClassScatter:
        state = ClassScatter(n_classes, n_features)
        usual_epsilon(state, self.shrinkage)  # refuses an illegal share before any rows are read
        return state

    def _judge(self, *, seen: bool) -> Judge:
        epsilon = usual_epsilon(self.state_, self.shrinkage)
        inside, around = gaussians(self.state_, epsilon), gaussians(self.state_, epsilon, pooled=True)

        def judge(features: FloatArray, labels: IntArray) -> Verdict:
            to = class_distances(
                features, labels, inside, around, leave_one_out=seen, class_block=CLASS_BLOCK
            )
            is_known = torch.isfinite(to.given)
            score = torch.where(is_known, torch.minimum(to.rival, to.background) - to.given, 0.0)
            codes = torch.from_numpy(labels)
            nearest = torch.where(is_known & (to.rival < to.given), to.rival_class, codes)
            return Verdict(score.numpy(), nearest.numpy())

        return judge
