"""Average cosine similarity to the members of each class, as a softmax over the classes."""

from __future__ import annotations

import math

import torch

from tamis.statistics.class_sums import ClassSums, as_codes, as_rows, unit_rows
from tamis.statistics.given_posterior import GivenPosterior, given_posterior, unfit_rows
from tamis.statistics.probabilities import ArrayLike


@torch.no_grad()
def average_similarities(embeddings: ArrayLike, sums: ClassSums) -> torch.Tensor:
    """Return the mean cosine of every row with all members of every class.

    It equals one dot product with the mean unit vector of the class, whose length is part of it: a diffuse
    class has smaller similarities.

    Parameters
    ----------
    embeddings : (n, d) float
    sums : ClassSums of K classes

    Returns
    -------
    (n, K) tensor in [-1, 1], in the dtype and on the device of ``sums``; 0 for a class without members

    Examples
    --------
    >>> sums = ClassSums(2, 2).partial_fit([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]], [0, 0, 1])
    >>> average_similarities([[0.0, 5.0]], sums)
    tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    return unit_rows(as_rows(embeddings, sums)) @ sums.means.T


@torch.no_grad()
def average_similarity_posterior(
    embeddings: ArrayLike,
    labels: ArrayLike,
    sums: ClassSums,
    *,
    leave_one_out: bool = False,
    absent_in_denominator: bool = False,
    class_block: int = 4096,
) -> GivenPosterior:
    """Return the log of the clean probability of PRISM's average similarity, and the most similar class.

    ``P = exp T[given] / sum of exp T[k]`` over the classes that have members, T from `average_similarities`.
    A score to rank by, always near 1/K where there are many classes; never to be cut at a fixed value.

    Parameters
    ----------
    embeddings : (n, d) float
        Rows of zeros have similarity 0 to every class; rows with NaN or infinity get log P = -inf.
    labels : (n,) int codes 0..K-1
    sums : ClassSums of K classes
    leave_one_out : bool
        The rows are among those in ``sums``: each is taken out of its own class before it is scored.
    absent_in_denominator : bool
        Parity with the authors' code: classes without members add exp(0) each to the denominator.
    class_block : int
        Classes at a time; changes no result by more than rounding.

    Returns
    -------
    GivenPosterior
        log P = 0 where no (other) member of the given class is known.

    Raises
    ------
    InputError
        Shapes do not fit, or a label is outside 0..K-1.

    References
    ----------
    .. [1] Liu et al. "Noise-resistant Deep Metric Learning with Ranking-based Instance Selection",
       CVPR 2021, equations of section 3.

    Examples
    --------
    >>> x, y = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], [0, 0, 1, 1, 0]
    >>> sums = ClassSums(2, 2).partial_fit(x, y)
    >>> average_similarity_posterior(x, y, sums, leave_one_out=True).log_given.exp()
    tensor([0.6225, 0.6225, 0.6608, 0.6608, 0.2689], dtype=torch.float64)
    """
    rows = as_rows(embeddings, sums)
    codes = as_codes(labels, len(rows), sums.n_classes, device=rows.device)
    units, means, is_present = unit_rows(rows), sums.means, sums.is_present

    # T(i, given): the row's own product leaves sum and count alike.
    self_product = units.square().sum(dim=1) if leave_one_out else 0.0
    n_members = sums.counts[codes] - int(leave_one_out)
    own = ((units * sums.sums[codes]).sum(dim=1) - self_product) / n_members.clamp(min=1)
    own = torch.where(n_members > 0, own, -math.inf)

    def logits_of(start: int, stop: int) -> torch.Tensor:
        similar = units @ means[start:stop].T  # (n, stop - start)
        return similar.masked_fill_(~is_present[start:stop], -math.inf)

    n_absent = int((~is_present).sum()) if absent_in_denominator else 0
    posterior = given_posterior(
        logits_of, codes, own, sums.n_classes, n_extra=n_absent, class_block=class_block
    )
    return unfit_rows(posterior, rows, codes)
