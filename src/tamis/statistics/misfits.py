"""Members that do not belong, in classes of few members: prototypes cleaned by what planted labels show."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tamis.statistics.membership import (
    ClassPrototypes,
    best_classes,
    class_prototypes,
    mean_cosine,
    membership_features,
)
from tamis.statistics.planted_labels import PlantedFit, cautious_trust, fit_against_planted

_PASSES = 5
_N_PLANTED = 10
_LEAST_TRUST = 0.02
_FEWEST_FOR_OPEN = 4  # classes: with fewer, ruling out two leaves no other


@dataclass(frozen=True)
class Misfits:
    """What is known of every row; rows in the order given.

    Attributes
    ----------
    fit : PlantedFit
    gain : float
        By how many standard errors the cosine with the given class exceeds that with planted ones, in the
        first pass, where nothing has been learned yet.
    features : (n, 3) float64 tensor
        Cosine with the given class's prototype, spread of that class, cosine with the best other class.
    other : (n,) int64 tensor
        The best other class.
    further : (n,) int64 tensor
        The next best; -1 where there are only two classes.
    trust : (n,) float64 tensor
        Weights of the prototypes of the last pass.
    prototypes : ClassPrototypes
        Of the last pass.
    """

    fit: PlantedFit
    gain: float
    features: torch.Tensor
    other: torch.Tensor
    further: torch.Tensor
    trust: torch.Tensor
    prototypes: ClassPrototypes

    @property
    def spreads(self) -> torch.Tensor:
        """(C,) mean cosine (its root) between members of each class."""
        sums = self.prototypes
        return mean_cosine(sums.sums.square().sum(1), sums.weights, sums.squares)


@torch.no_grad()
def find_misfits(
    units: torch.Tensor,
    codes: torch.Tensor,
    n_classes: int,
    *,
    groups: torch.Tensor | None = None,
    row_block: int = 4096,
    class_block: int = 4096,
) -> Misfits:
    """Say how probably each row belongs to its class.

    Every row is compared with the prototype of its class without it, and with labels planted on purpose:
    ten other classes that it surely does not carry, evenly spaced in class order. What tells given from
    planted labels becomes the trust in each row; prototypes are made again with it, five times in all. The
    last comparison is a mixture of right and planted-like labels, so its probabilities are calibrated
    without any known truth. For half of the planted labels the row's own class is taken away from the
    others: as if its true class were none of the classes.

    Parameters
    ----------
    units : (n, d) float64 tensor
        Centred rows of length 1.
    codes : (n,) int64 tensor
        0..C-1; every class has a row.
    n_classes : int
        At least 2. The order of classes decides which are planted.
    groups : (n,) int64 tensor, optional
        Rows with the same number 0..G-1 never vouch for each other; not shared between classes.
    row_block, class_block : int
        Rows and classes at a time; they change no result by more than rounding.

    Returns
    -------
    Misfits

    Examples
    --------
    >>> rng = torch.Generator().manual_seed(0)
    >>> codes = torch.arange(60) % 6
    >>> x = torch.eye(8)[codes].double() + 0.1 * torch.randn(60, 8, generator=rng).double()
    >>> codes[0] = 3
    >>> x = x - x.mean(0)
    >>> found = find_misfits(x / x.norm(dim=1, keepdim=True), codes, 6)
    >>> found.fit.log_odds.argmin(), found.other[0]
    (tensor(0), tensor(0))
    """
    alone = torch.arange(len(units)) if groups is None else groups
    looked_at, is_open = _planted(codes, n_classes)
    trust = torch.ones(len(units), dtype=torch.float64)
    gain = 0.0
    for number in range(_PASSES):
        used = trust
        prototypes = class_prototypes(units, codes, n_classes, used, alone)
        features, other = _look(prototypes, looked_at, is_open, row_block, class_block)
        gain = gain if number else _gain(features)
        if number < _PASSES - 1:
            trust = cautious_trust(features[:, 0], features[:, 1:]).clamp(min=_LEAST_TRUST)
    fit = fit_against_planted(features[:, 0], features[:, 1:])
    return Misfits(fit, gain, features[:, 0], other[:, 0], other[:, 1], used, prototypes)


def _gain(features: torch.Tensor) -> float:
    difference = features[:, 0, 0] - features[:, 1:, 0].mean(dim=1)
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5).clamp(min=1e-12))


def _planted(codes: torch.Tensor, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n, 1 + r) classes to look at, the given one first, and which columns are open."""
    count = min(_N_PLANTED, n_classes - 1)
    step = (n_classes - 1) // count
    shifts = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + step * torch.arange(count)])
    is_open = torch.zeros(1 + count, dtype=torch.bool)
    if n_classes >= _FEWEST_FOR_OPEN:
        is_open[1::2] = True
    return (codes[:, None] + shifts) % n_classes, is_open


def _look(
    prototypes: ClassPrototypes,
    looked_at: torch.Tensor,
    is_open: torch.Tensor,
    row_block: int,
    class_block: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n, 1 + r, 3) features and the (n, 2) best classes beside the given one, -1 = none."""
    features, others = [], []
    for start in range(0, len(looked_at), row_block):
        stop = min(start + row_block, len(looked_at))
        best = best_classes(prototypes, start, stop, class_block)
        features.append(membership_features(prototypes, start, stop, looked_at[start:stop], is_open, best))
        is_given = best[1] == prototypes.codes[start:stop, None]
        # The given class goes last, the order of the others stays.
        order = is_given.int().argsort(dim=1, stable=True)
        found = torch.where(is_given, -1, best[1]).gather(1, order)
        padded = torch.cat([found, found.new_full((len(found), 2), -1)], dim=1)
        others.append(padded[:, :2])
    return torch.cat(features), torch.cat(others)
