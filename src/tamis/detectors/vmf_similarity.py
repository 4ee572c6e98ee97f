"""Suspicion: by direction and spread of the classes, the sample belongs to another one."""

from __future__ import annotations

from tamis.detectors.base import DETECTORS, Verdict
from tamis.detectors.streamed import CLASS_BLOCK, Judge, StreamedDetector
from tamis.registry import Facts
from tamis.statistics.class_sums import ClassSums
from tamis.statistics.vmf_similarity import ConcentrationRule, vmf_classes, vmf_posterior
from tamis.statistics.von_mises_fisher import KAPPA_MAX
from tamis.types import FloatArray, IntArray


@DETECTORS.register(
    "vmf_similarity",
    Facts(
        title="Von Mises-Fisher similarity",
        inputs=("features",),
        year=2021,
        paper="Liu et al.: Noise-Resistant Deep Metric Learning with Probabilistic Instance Filtering, arXiv",
    ),
)
class VmfSimilarity(StreamedDetector[ClassSums]):
    """Clean score = log probability of the given label with one von Mises-Fisher distribution a class.

    Like `AverageSimilarity`, but a class has a concentration beside its direction, so that tight and loose
    classes are told apart. Every sample is scored without itself: its class's direction and concentration
    are those of the other members. Two passes over the rows, memory for one vector a class, any number of
    classes.

    Parameters
    ----------
    min_count : int, default=3
        At least 2. A class with fewer members, not counting the sample itself, takes the median
        concentration of the classes that have as many.
    kappa_min, kappa_max : float, default=0 and 1e5
        Concentrations are cut to this range.
    unbiased : bool, default=False
        Correct the mean resultant length for what random directions would reach. For classes of a few
        members: without it the smaller classes look the tighter ones.
    memory_budget : str, int or None, default="2GiB"
        Memory for blocks of rows beside the features and class sums.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array, at most 0
        Log probabilities, far too sure of themselves in high dimension: to rank by. 0 where the class has no
        other member: nothing is known.
    suggested_labels_ : (n,) array in the type of ``y``
        The most probable class; the given one where it has no other member.
    classes_ : (K,) array
    state_ : tamis.statistics.class_sums.ClassSums
    n_features_in_ : int

    References
    ----------
    .. [1] Liu et al. "Noise-Resistant Deep Metric Learning with Probabilistic Instance Filtering",
       arXiv 2108.01431, 2021. Its formulas were not at hand; these are derived from the distribution.
    .. [2] Banerjee, Dhillon, Ghosh, Sra. "Clustering on the Unit Hypersphere using von Mises-Fisher
       Distributions", JMLR 6, 2005.

    Examples
    --------
    >>> X = [[3, 0], [3, 1], [3, -1], [3, 0.5], [0, 3], [1, 3], [-1, 3], [0.5, 3], [0, 2]]
    >>> detector = VmfSimilarity().fit(X, ["cat"] * 4 + ["dog"] * 4 + ["cat"])
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[8]
    (np.int64(8), np.str_('dog'))
    """

    def __init__(
        self,
        *,
        min_count: int = 3,
        kappa_min: float = 0.0,
        kappa_max: float = KAPPA_MAX,
        unbiased: bool = False,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.min_count = min_count
        self.kappa_min = kappa_min
        self.kappa_max = kappa_max
        self.unbiased = unbiased
        self.memory_budget = memory_budget

    def _rule(self) -> ConcentrationRule:
        return ConcentrationRule(self.min_count, self.kappa_min, self.kappa_max, self.unbiased)

    def _empty(self, n_classes: int, n_features: int) -> ClassSums:
        self._rule()  # refuses illegal parameters before any rows are read
        return ClassSums(n_classes, n_features)

    def _judge(self, *, seen: bool) -> Judge:
        classes = vmf_classes(self.state_, self._rule())

        def judge(features: FloatArray, labels: IntArray) -> Verdict:
            posterior = vmf_posterior(features, labels, classes, leave_one_out=seen, class_block=CLASS_BLOCK)
            return Verdict(posterior.log_given.numpy(), posterior.best.numpy())

        return judge
