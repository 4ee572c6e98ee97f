"""Multi-Similarity loss with its mining, of a batch or against a memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.pair_loss import Normalize, PairLoss
from tamis.losses.reduction import Reduction


class MultiSimilarityLoss(PairLoss):
    """Weigh pairs by their similarity and by how it compares with the anchor's other pairs.

    For each anchor, over its mined positives P and negatives N:
    ``log(1 + sum_P exp(-alpha (s - base))) / alpha + log(1 + sum_N exp(beta (s - base))) / beta``. Mined are
    positives less similar than the nearest negative plus ``epsilon`` and negatives more similar than the
    farthest positive minus ``epsilon``. Hard pairs weigh most, and among hard pairs are the wrong labels: put
    a filter before it.

    Parameters
    ----------
    alpha, beta : float, default=2, 40
        Above 0. ``beta=50`` is in the paper, 40 in the authors' code.
    base : float, default=0.5
        The similarity at which a pair begins to weigh.
    epsilon : float or None, default=0.1
        Margin of the mining, at least 0; None takes all pairs.
    normalize : {"both", "anchors", "none"}, default="both"
        ``"anchors"``: the references have unit length already. ``"none"``: dot products.
    reduction : {"mean", "none"}, default="mean"
        Mean over the anchors, those without pairs included, or a loss for each.

    Raises
    ------
    InputError
        A parameter out of its range.

    Notes
    -----
    Equal to ``MultiSimilarityLoss(alpha, beta, base)`` of pytorch-metric-learning on the pairs of
    ``MultiSimilarityMiner(epsilon)``, except that a single pair counts here (there it gives 0). A given
    ``indices_tuple`` is not mined again.

    References
    ----------
    .. [1] X. Wang et al. "Multi-similarity loss with general pair weighting for deep metric learning",
       CVPR 2019, equations 7, 8 and 15.

    Examples
    --------
    >>> network, loss = torch.nn.Linear(4, 2), MultiSimilarityLoss()
    >>> loss(network(torch.eye(4)), torch.tensor([0, 0, 1, 1])).backward()
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 40.0,
        base: float = 0.5,
        *,
        epsilon: float | None = 0.1,
        normalize: Normalize = "both",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(normalize=normalize, reduction=reduction)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0.0 < value < float("inf"):
                raise InputError(f"{name} is {value}; expected a number above 0")
        if epsilon is not None and not epsilon >= 0.0:
            raise InputError(f"epsilon is {epsilon}; expected at least 0, or None for all pairs")
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def terms(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of the anchors and the gradient of the positives; see `PairLoss.terms`."""
        if self.epsilon is not None:
            nearest = negatives.amax(dim=1, keepdim=True)
            farthest = positives.masked_fill(~is_positive, torch.inf).amin(dim=1, keepdim=True)
            # Negated comparisons: NaN stays and makes the loss NaN.
            is_positive = is_positive & ~(positives - self.epsilon >= nearest)
            easiest = (farthest - self.epsilon).clamp_(max=torch.finfo(farthest.dtype).max)
            # Three passes without a mask, which are several times faster than one with it.
            functional.threshold(negatives.sub_(easiest), 0.0, -torch.inf, inplace=True).add_(easiest)
        return self.terms_of_given(positives, is_positive, negatives, is_rounded)

    def terms_of_given(
        self, positives: Tensor, is_positive: Tensor, negatives: Tensor, is_rounded: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the same without mining; see `PairLoss.terms_of_given`."""
        pulls = (positives - self.base).mul_(-self.alpha).masked_fill_(~is_positive, -torch.inf)
        pulled = log_one_plus_sum(pulls)
        pushed = log_one_plus_sum(negatives.sub_(self.base).mul_(self.beta))
        return pulled / self.alpha + pushed / self.beta, pulls.neg_()


def log_one_plus_sum(exponents: Tensor) -> Tensor:
    """Return ``log(1 + sum exp(x))`` of each row, and write its gradient over the exponents.

    Parameters
    ----------
    exponents : (b, n) float tensor
        n at least 1; minus infinity where there is none. Overwritten.

    Returns
    -------
    (b,) tensor

    Examples
    --------
    >>> exponents = torch.tensor([[0.0, 0.0, -torch.inf]])
    >>> log_one_plus_sum(exponents), exponents
    (tensor([1.0986]), tensor([[0.3333, 0.3333, 0.0000]]))
    """
    # exp(0) = 1 is a term of the sum like the others.
    shift = exponents.amax(dim=1, keepdim=True).clamp_(min=0.0)
    sums = exponents.sub_(shift).exp_().sum(dim=1, keepdim=True)
    exponents.div_(sums + (-shift).exp())
    # Small sums keep their digits: log1p(x) where the shift is 0.
    return (shift + (sums + (-shift).expm1()).log1p()).squeeze(1)
