"""Given labels against labels planted on purpose: which given ones look planted, and how many are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_PENALTY = 1.0
_NEWTON_STEPS = 50
_ROUNDS = 60
_MOST_WRONG = 0.9
_LEAST_WRONG = 1e-3


@dataclass(frozen=True)
class PlantedFit:
    """What comparing given with planted labels has shown.

    Attributes
    ----------
    log_odds : (n,) float64 tensor
        Log of P(right) / P(wrong) of each given label.
    wrong_share : float
        Estimated share of given labels that are like planted ones.
    """

    log_odds: torch.Tensor
    wrong_share: float

    @property
    def probabilities(self) -> torch.Tensor:
        """(n,) P(given label is right)."""
        return self.log_odds.sigmoid()


def cautious_trust(given: torch.Tensor, planted: torch.Tensor) -> torch.Tensor:
    """Return how far each given label can be told from planted ones, (n,) in [0, 1].

    A logistic regression tells given from planted labels; its odds are the ratio of their densities. The
    share of wrong labels is taken from above: twice the share of given labels below the planted median.

    Parameters
    ----------
    given : (n, f) float64 tensor
        Evidence for the given label of each row.
    planted : (n, r, f) float64 tensor
        Evidence for r labels that are surely wrong.

    Examples
    --------
    >>> given = torch.tensor([[2.0], [2.1], [1.9], [0.0]], dtype=torch.float64)
    >>> planted = torch.tensor([[0.0], [0.1], [-0.1], [0.2]], dtype=torch.float64)[:, None]
    >>> cautious_trust(given, planted).argmin()
    tensor(3)
    """
    design, wrong = _designs(given, planted)
    weights = _fit(design, wrong, torch.ones(len(design), dtype=torch.float64), None)
    odds, median = design @ weights, (wrong @ weights).median()
    share = (2 * (odds < median).double().mean()).clamp(0.02, 0.5)
    return (1 - share * torch.exp(-odds.clamp(-30, 30))).clamp(0.0, 1.0)


def fit_against_planted(given: torch.Tensor, planted: torch.Tensor) -> PlantedFit:
    """Fit the given labels as a mixture of right ones and of ones like the planted.

    ``f_given = (1 - e) f_right + e f_planted`` with ``log f_right / f_planted`` linear in the evidence. Both
    are found by expectation maximisation: the planted labels anchor one part of the mixture, so that the
    share e can be read off without any known truth.

    Parameters
    ----------
    given : (n, f) float64 tensor
    planted : (n, r, f) float64 tensor

    Returns
    -------
    PlantedFit

    Examples
    --------
    >>> rng = torch.Generator().manual_seed(0)
    >>> planted = torch.randn(1000, 2, 1, generator=rng).double()
    >>> given = torch.randn(1000, 1, generator=rng).double()
    >>> given[200:] += 3
    >>> round(fit_against_planted(given, planted).wrong_share, 1)
    0.2
    """
    design, wrong = _designs(given, planted)
    weights = _fit(design, wrong, torch.ones(len(design), dtype=torch.float64), None)
    odds = design @ weights
    right = odds.sigmoid()
    for _ in range(_ROUNDS):
        before = right
        share = 1 - right.mean().clamp(1 - _MOST_WRONG, 1 - _LEAST_WRONG)
        weights = _fit(design, wrong, right, weights)
        odds = design @ weights - right.mean().log() + (1 - share).log() - share.log()
        right = odds.sigmoid()
        if float((right - before).abs().max()) < 1e-7:
            break
    return PlantedFit(odds, float(1 - right.mean()))


def _designs(given: torch.Tensor, planted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardised evidence with a constant in front: (n, 1 + f) and (n r, 1 + f)."""
    flat = planted.flatten(0, 1)
    every = torch.cat([given, flat])
    centre, scale = every.mean(dim=0), every.std(dim=0, correction=0).clamp(min=1e-9)

    def design(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.ones_like(values[:, :1]), (values - centre) / scale], dim=1)

    return design(given), design(flat)


def _fit(
    design: torch.Tensor, wrong: torch.Tensor, right: torch.Tensor, start: torch.Tensor | None
) -> torch.Tensor:
    """Return weights of a logistic regression, rows weighted by ``right`` against all planted ones."""
    rows = torch.cat([design, wrong])
    target = torch.cat([torch.ones(len(design)), torch.zeros(len(wrong))]).double()
    mass = torch.cat([right, torch.full((len(wrong),), len(design) / len(wrong), dtype=torch.float64)])
    penalty = _PENALTY * torch.ones(rows.shape[1], dtype=torch.float64)
    penalty[0] = 1e-9
    weights = torch.zeros(rows.shape[1], dtype=torch.float64) if start is None else start
    for _ in range(_NEWTON_STEPS):
        share = (rows @ weights).sigmoid()
        slope = rows.T @ (mass * (target - share)) - penalty * weights
        curve = (rows * (mass * share * (1 - share))[:, None]).T @ rows + penalty.diag()
        step = torch.linalg.solve(curve, slope)
        # A step too long would overshoot where the two are far apart.
        step = step * min(1.0, 10.0 / max(1e-12, float(step.abs().max())))
        weights = weights + step
        if float(step.abs().max()) < 1e-9:
            break
    return weights
