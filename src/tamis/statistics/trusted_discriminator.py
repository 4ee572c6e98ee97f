"""A discriminator between trusted and mixed rows that knows part of the mixed ones to be like the trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import softplus

from tamis.errors import InputError

_SHARED_PENALTY = 1e-3
_LEAST_SHARE = 1e-3
"""Of the part that the clip can switch off: with nothing of it the offset would grow for ever."""

_NEARLY_ZERO = 1e-7
_SAME_PLACE = 1e-9
_STEPS = 15


class Inputs(NamedTuple):
    """What the discriminator sees of every row, all float64 and of about unit scale.

    Attributes
    ----------
    shared : (n, p) tensor
        Evidence that means the same in every class.
    by_class : (n, q) tensor
        Features that every class weighs in its own way.
    labels : (n,) int64 tensor
        Codes of the given labels.
    """

    shared: torch.Tensor
    by_class: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Discriminator:
    """``d(x, y) = sigmoid(v's + b + w_y'z + b_y)``, with s the shared features and z those by class.

    Attributes
    ----------
    shared : (p + 1,) float64 tensor
        v and b.
    by_class : (K, q + 1) float64 tensor
        w_y and b_y; zero for a class without trusted rows.
    clipped : float
        The term of the objective that is not let below 0.
    """

    shared: torch.Tensor
    by_class: torch.Tensor
    clipped: float

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """Return the (n,) log odds of d."""
        return _logits(self.shared, self.by_class, inputs)


def fit_discriminator(
    trusted: Inputs, mixed: Inputs, n_classes: int, *, prior: float, pooling: float = 300.0
) -> Discriminator:
    """Fit a positive-unlabelled discriminator: trusted rows are positive, of the mixed ones a share is.

    Minimises ``prior E_trusted[-log d] + max(0, E_mixed[-log(1-d)] - prior E_trusted[-log(1-d)])`` and
    ``prior`` times a penalty. The minimum is the global one, and does not depend on the order of rows.

    Parameters
    ----------
    trusted, mixed : Inputs
        At least one row each.
    n_classes : int
    prior : float in (0, 1)
        Share of the mixed rows that are like the trusted ones.
    pooling : float
        Above 0. How many trusted rows it takes before classes go their own ways: the penalty on ``w_y`` and
        ``b_y`` is ``pooling / number of trusted rows``.

    Raises
    ------
    InputError
        A parameter is out of range, or one of the sets is empty.

    Notes
    -----
    Without the maximum the objective is convex, because ``log d - log(1-d)`` is linear in the parameters.
    Where its minimum has a negative clipped term, the weight of that term is lowered from 1 until the
    minimum has a term of 0: by duality this is a global minimum of the objective with the maximum.

    References
    ----------
    .. [1] Kiryo, Niu, du Plessis, Sugiyama. "Positive-Unlabeled Learning with Non-Negative Risk Estimator",
       NeurIPS 2017.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [0.1], [-0.1], [0.0], [3.0]], dtype=torch.float64)
    >>> nothing, codes = torch.zeros(5, 0, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    >>> rows = Inputs(x, nothing, codes)
    >>> model = fit_discriminator(Inputs(*(part[:3] for part in rows)), rows, 1, prior=0.5)
    >>> model.logits(rows).argmin()
    tensor(4)
    """
    if not 0 < prior < 1:
        raise InputError(f"prior is {prior}; expected a share above 0 and below 1")
    if not pooling > 0:
        raise InputError(f"pooling is {pooling}; expected a number above 0, such as 100")
    if len(trusted.labels) == 0 or len(mixed.labels) == 0:
        raise InputError(
            f"there are {len(trusted.labels)} trusted rows and {len(mixed.labels)} others; "
            "at least one of each is needed"
        )
    problem = _Problem(trusted, mixed, n_classes, prior, pooling)
    full = problem.solve(1.0, None)
    if full.clipped >= 0:
        return full
    return _at_zero(problem, full)


def _at_zero(problem: _Problem, full: Discriminator) -> Discriminator:
    """Return the minimum for the weight at which the clipped term is 0; it falls as its weight grows."""
    low, high = math.log(_LEAST_SHARE), 0.0
    found = problem.solve(_LEAST_SHARE, full)
    above, below = found.clipped, full.clipped
    if above <= 0:
        return found
    # Ridders' method on the logarithm of the weight.
    for _ in range(_STEPS):
        middle = (low + high) / 2
        at_middle = problem.solve(math.exp(middle), found)
        slope = at_middle.clipped / math.sqrt(at_middle.clipped**2 - above * below)
        place = middle + (high - low) / 2 * slope
        found = problem.solve(math.exp(place), at_middle)
        for where, value in ((middle, at_middle.clipped), (place, found.clipped)):
            if value > 0 and where > low:
                low, above = where, value
            elif value <= 0 and where < high:
                high, below = where, value
        if abs(found.clipped) < _NEARLY_ZERO or high - low < _SAME_PLACE:
            break
    return found


class _Problem:
    """The objective for one pair of sets."""

    def __init__(self, trusted: Inputs, mixed: Inputs, n_classes: int, prior: float, pooling: float) -> None:
        self.trusted, self.mixed, self.prior = trusted, mixed, prior
        self.class_penalty = pooling / len(trusted.labels)
        counts = torch.bincount(trusted.labels, minlength=n_classes)
        self.has_trusted = (counts > 0)[:, None]  # (K, 1)

    def clipped_term(self, at_trusted: torch.Tensor, at_mixed: torch.Tensor) -> torch.Tensor:
        """Return E_mixed[-log(1-d)] - prior E_trusted[-log(1-d)] from the logits."""
        return softplus(at_mixed).mean() - self.prior * softplus(at_trusted).mean()

    def solve(self, share: float, start: Discriminator | None) -> Discriminator:
        """Minimise with the clipped term weighted by ``share``; convex for any share up to 1."""
        n_classes = len(self.has_trusted)
        shared = torch.zeros(self.mixed.shared.shape[1] + 1, dtype=torch.float64)
        by_class = torch.zeros(n_classes, self.mixed.by_class.shape[1] + 1, dtype=torch.float64)
        shared[-1] = math.log(self.prior / (1 - self.prior))
        if start is not None:
            shared, by_class = start.shared.clone(), start.by_class.clone()
        shared.requires_grad_()
        by_class.requires_grad_()
        solver = torch.optim.LBFGS(
            [shared, by_class],
            max_iter=300,
            history_size=20,
            tolerance_grad=1e-8,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def objective() -> torch.Tensor:
            own = by_class * self.has_trusted
            at_trusted, at_mixed = _logits(shared, own, self.trusted), _logits(shared, own, self.mixed)
            penalty = _SHARED_PENALTY * shared[:-1].square().sum() + self.class_penalty * own.square().sum()
            # Divided by the prior, so that the penalty means the same for every prior.
            clipped = share * self.clipped_term(at_trusted, at_mixed) / self.prior
            return softplus(-at_trusted).mean() + clipped + penalty / 2

        def closure() -> float:
            solver.zero_grad()
            value = objective()
            value.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            return float(value.detach())

        solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
        shared, own = shared.detach(), (by_class * self.has_trusted).detach()
        logits = _logits(shared, own, self.trusted), _logits(shared, own, self.mixed)
        return Discriminator(shared, own, float(self.clipped_term(*logits)))


def _logits(shared: torch.Tensor, by_class: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    own = by_class[inputs.labels]  # (n, q + 1)
    of_class = (own[:, :-1] * inputs.by_class).sum(dim=1) + own[:, -1]
    return inputs.shared @ shared[:-1] + shared[-1] + of_class
