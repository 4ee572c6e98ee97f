"""One von Mises-Fisher distribution a class: like average similarity, but each class has its own spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tamis.errors import InputError
from tamis.statistics.class_sums import ClassSums, as_codes, as_rows, unit_rows
from tamis.statistics.given_posterior import GivenPosterior, given_posterior, unfit_rows
from tamis.statistics.probabilities import ArrayLike
from tamis.statistics.von_mises_fisher import KAPPA_MAX, concentration, log_normaliser

_ALONE = 1.0
"""Concentration of small classes where no class is large enough to lend one: cosines as they are."""

_NO_DIRECTION = 1e3
"""A resultant shorter than this many rounding errors a member has no direction."""


@dataclass(frozen=True)
class ConcentrationRule:
    """How the concentration of a class follows from its members.

    Attributes
    ----------
    min_count : int
        At least 2. A class with fewer members takes the median concentration of the classes that have
        enough.
    kappa_min, kappa_max : float
        Concentrations are cut to this range.
    unbiased : bool
        Take the part out of the mean resultant length that random directions would have too:
        ``r^2 <- max(0, (m r^2 - 1) / (m - 1))`` for m members.
    """

    min_count: int = 3
    kappa_min: float = 0.0
    kappa_max: float = KAPPA_MAX
    unbiased: bool = False

    def __post_init__(self) -> None:
        if self.min_count < 2:
            raise InputError(
                f"min_count is {self.min_count}; expected at least 2, one vector has no spread to measure"
            )

    @property
    def alone(self) -> float:
        """Concentration of small classes where no class lends one."""
        return min(max(_ALONE, self.kappa_min), self.kappa_max)

    def kappa(self, lengths: torch.Tensor, counts: torch.Tensor, dimension: int) -> torch.Tensor:
        """Return the concentration of classes from the lengths of their sums and their member counts."""
        n = counts.clamp(min=1)
        mean_length = (lengths / n).clamp(max=1.0)
        if self.unbiased:
            square = (n * mean_length.square() - 1) / (n - 1).clamp(min=1)
            mean_length = square.clamp(0.0, 1.0).sqrt()
        return concentration(mean_length, dimension, kappa_min=self.kappa_min, kappa_max=self.kappa_max)


@dataclass(frozen=True)
class VmfClasses:
    """One von Mises-Fisher distribution for each class; `vmf_classes` makes them.

    Attributes
    ----------
    sums : ClassSums
        What they were fitted to.
    rule : ConcentrationRule
    resultant_lengths : (K,) tensor in [0, 1]
    directions : (K, d) tensor
        Unit length; zero for a class without members or with a sum of zero.
    kappa : (K,) tensor
        0 for a class without members.
    log_normalisers : (K,) tensor
    lenders : (L,) tensor
        Sorted concentrations of the classes with ``min_count`` members or more.
    """

    sums: ClassSums
    rule: ConcentrationRule
    resultant_lengths: torch.Tensor
    directions: torch.Tensor
    kappa: torch.Tensor
    log_normalisers: torch.Tensor
    lenders: torch.Tensor

    @property
    def is_small(self) -> torch.Tensor:
        """(K,) bool, classes with members, but too few for a concentration of their own."""
        return self.sums.is_present & (self.sums.counts < self.rule.min_count)


@torch.no_grad()
def vmf_classes(sums: ClassSums, rule: ConcentrationRule | None = None) -> VmfClasses:
    """Fit one von Mises-Fisher distribution to each class.

    Parameters
    ----------
    sums : ClassSums
    rule : ConcentrationRule, optional

    Examples
    --------
    >>> x = [[1.0, 0.0], [0.8, 0.6], [0.8, -0.6], [0.0, 1.0]]
    >>> vmf_classes(ClassSums(2, 2).partial_fit(x, [0, 0, 0, 1])).kappa
    tensor([4.3488, 4.3488], dtype=torch.float64)
    """
    rule = ConcentrationRule() if rule is None else rule
    length = _lengths(sums.sums, sums.counts)
    own = rule.kappa(length, sums.counts, sums.n_features)
    lenders = own[sums.counts >= rule.min_count].sort().values
    n = torch.tensor([len(lenders)], device=own.device)
    lent = (_at(lenders, (n - 1) // 2) + _at(lenders, n // 2)) / 2
    kappa = torch.where(sums.counts >= rule.min_count, own, torch.where(n > 0, lent, rule.alone))
    kappa = torch.where(sums.is_present, kappa, 0.0)
    return VmfClasses(
        sums=sums,
        rule=rule,
        resultant_lengths=length / sums.counts.clamp(min=1),
        directions=sums.sums / torch.where(length > 0, length, math.inf)[:, None],
        kappa=kappa,
        log_normalisers=log_normaliser(kappa, sums.n_features),
        lenders=lenders,
    )


@torch.no_grad()
def vmf_log_posterior(embeddings: ArrayLike, classes: VmfClasses) -> torch.Tensor:
    """Return the log probabilities of all classes, with equal prior over those that have members.

    Parameters
    ----------
    embeddings : (n, d) float
        Scaled to unit length here.
    classes : VmfClasses

    Returns
    -------
    (n, K) tensor
        Rows sum to 1 after exp; -inf for a class without members.

    Examples
    --------
    >>> x = [[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [0.2, 1.0], [0.0, 1.0], [-0.2, 1.0]]
    >>> classes = vmf_classes(ClassSums(2, 2).partial_fit(x, [0, 0, 0, 1, 1, 1]))
    >>> vmf_log_posterior([[1.0, 1.0]], classes).exp()  # the wider class has it
    tensor([[9.6011e-15, 1.0000e+00]], dtype=torch.float64)
    """
    units = unit_rows(as_rows(embeddings, classes.sums))
    logits = classes.log_normalisers + classes.kappa * (units @ classes.directions.T)
    return logits.masked_fill(~classes.sums.is_present, -math.inf).log_softmax(dim=1)


@torch.no_grad()
def vmf_posterior(
    embeddings: ArrayLike,
    labels: ArrayLike,
    classes: VmfClasses,
    *,
    leave_one_out: bool = False,
    class_block: int = 4096,
) -> GivenPosterior:
    """Return the log probability of the given label, and the most probable class.

    Parameters
    ----------
    embeddings : (n, d) float
        Rows of zeros have cosine 0 to every class; rows with NaN or infinity get log P = -inf.
    labels : (n,) int codes 0..K-1
    classes : VmfClasses
    leave_one_out : bool
        The rows are among those that ``classes`` were fitted to: each is taken out before it is scored, of
        its class's direction and concentration and of the concentration that small classes borrow.
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

    Examples
    --------
    >>> x = [[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [0.2, 1.0], [0.0, 1.0], [-0.2, 1.0], [0.0, 1.0]]
    >>> y = [0, 0, 0, 1, 1, 1, 0]
    >>> classes = vmf_classes(ClassSums(2, 2).partial_fit(x, y))
    >>> vmf_posterior(x, y, classes, leave_one_out=True).best
    tensor([0, 0, 0, 1, 1, 1, 1])
    """
    sums = classes.sums
    rows = as_rows(embeddings, sums)
    codes = as_codes(labels, len(rows), sums.n_classes, device=rows.device)
    units = unit_rows(rows)
    of_given = _without_self if leave_one_out else _with_self
    kappa, cosine, lent = of_given(units, codes, classes)
    own = log_normaliser(kappa, sums.n_features) + kappa * cosine
    own = torch.where(sums.counts[codes] > int(leave_one_out), own, -math.inf)
    lent_normaliser = log_normaliser(lent, sums.n_features)

    def logits_of(start: int, stop: int) -> torch.Tensor:
        cosines = units @ classes.directions[start:stop].T  # (n, stop - start)
        small = classes.is_small[start:stop].nonzero()[:, 0]
        of_small = lent_normaliser[:, None] + lent[:, None] * cosines[:, small]
        logits = cosines.mul_(classes.kappa[start:stop]).add_(classes.log_normalisers[start:stop])
        logits[:, small] = of_small
        return logits.masked_fill_(~sums.is_present[start:stop], -math.inf)

    posterior = given_posterior(logits_of, codes, own, sums.n_classes, class_block=class_block)
    return unfit_rows(posterior, rows, codes)


def _with_self(
    units: torch.Tensor, codes: torch.Tensor, classes: VmfClasses
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (n,) concentration and cosine of the given class, and the concentration small classes borrow."""
    small = classes.kappa[classes.is_small]
    lent = small[:1] if len(small) else small.new_zeros(1)
    return classes.kappa[codes], (units * classes.directions[codes]).sum(dim=1), lent.expand(len(units))


def _without_self(
    units: torch.Tensor, codes: torch.Tensor, classes: VmfClasses
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the same as `_with_self`, each row taken out of its class before."""
    sums, rule = classes.sums, classes.rule
    rest, n_rest = sums.sums[codes] - units, sums.counts[codes] - 1  # (n, d), (n,)
    length = _lengths(rest, n_rest)
    kappa = rule.kappa(length, n_rest, sums.n_features)
    lent = _lent_without_self(kappa, codes, classes)
    cosine = (rest * units).sum(dim=1) / torch.where(length > 0, length, math.inf)
    return torch.where(n_rest >= rule.min_count, kappa, lent), cosine, lent


def _lent_without_self(kappa: torch.Tensor, codes: torch.Tensor, classes: VmfClasses) -> torch.Tensor:
    """Return the median concentration of the lenders as it would be without each row.

    The row's class leaves the lenders with the concentration it had, and comes back, if it is still large
    enough, with ``kappa``.
    """
    rule, lenders = classes.rule, classes.lenders
    counts = classes.sums.counts[codes]
    leaves, returns = counts >= rule.min_count, counts > rule.min_count
    place = torch.searchsorted(lenders, classes.kappa[codes])  # of one with the same value

    def middle(q: torch.Tensor) -> torch.Tensor:
        # Position q among the lenders left; then, with one inserted, between its neighbours there.
        here = _at(lenders, q + (leaves & (q >= place)).long())
        before = _at(lenders, q - 1 + (leaves & (q - 1 >= place)).long())
        return torch.where(returns, torch.maximum(before, torch.minimum(kappa, here)), here)

    n = len(lenders) - leaves.long() + returns.long()
    return torch.where(n > 0, (middle((n - 1) // 2) + middle(n // 2)) / 2, rule.alone)


def _at(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return ``values[index]`` of sorted values, infinite beyond both ends."""
    ends = values.new_tensor([-math.inf, math.inf])
    padded = torch.cat([ends[:1], values, ends[1:]])
    return padded[(index + 1).clamp(0, len(values) + 1)]


def _lengths(vectors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the lengths of sums of ``counts`` unit vectors; 0 for those that are rounding errors."""
    lengths = vectors.square().sum(dim=1).sqrt()
    resolution = _NO_DIRECTION * torch.finfo(vectors.dtype).eps * counts
    return torch.where(lengths > resolution, lengths, 0.0)
