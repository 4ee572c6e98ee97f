"""The transition matrix and clean prior whose label consensus comes nearest to the observed one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from tamis.errors import InputError, TamisWarning
from tamis.statistics.clusterability import Consensus, hoc_objective
from tamis.types import FloatArray

N_STEPS = 1500
N_STEPS_MANY_CLASSES = 301
"""Evaluations for 100 classes and more, where each costs the fourth power of the number of classes."""

_MANY_CLASSES = 100
_DIAGONAL, _OFF_DIAGONAL = 4.0, -1.0
_PRIOR_SPREAD = 0.1
_PEAKED_AFTER = 100
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_MODEL_KEY = 0x484F43  # a word of the generator's key, so that no other model shares the draws


class TransitionFit(NamedTuple):
    """What `fit_transition` found; leading axes where the shares had them.

    Attributes
    ----------
    transition : (..., K, K) float64 tensor
        ``T[i, j] = P(label j | true class i)``, rows sum to 1.
    prior : (..., K) float64 tensor
        ``P(true class i)``.
    loss : (...) float64 tensor
        Smallest value of the objective among all steps.
    transition_logits, prior_logits : float64 tensors
        The solution before the softmax, to start another fit from.
    """

    transition: torch.Tensor
    prior: torch.Tensor
    loss: torch.Tensor
    transition_logits: torch.Tensor
    prior_logits: torch.Tensor


def fit_transition(
    c1: FloatArray | torch.Tensor,
    c2: FloatArray | torch.Tensor,
    c3: FloatArray | torch.Tensor,
    *,
    transition_logits: FloatArray | torch.Tensor | None = None,
    prior_logits: FloatArray | torch.Tensor | None = None,
    n_steps: int | None = None,
    learning_rate: float = 0.1,
    decay_from: float = 0.5,
    keep: Literal["best", "last"] = "best",
    is_local: bool = False,
    random_state: int = 0,
) -> TransitionFit:
    """Fit the transition matrix and the clean prior to shares of label singles, pairs and triples.

    Adam on the logits of both, started near the identity, which also picks among the solutions that differ
    only by an order of the true classes: the labels must be right more often than wrong. The objective is not
    smooth at its minimum, so a constant learning rate ends in steps around it; here the rate falls to zero.

    Parameters
    ----------
    c1, c2, c3 : (..., K), (..., K, K) and (..., K, K, K) float
        Observed shares, each summing to 1; leading axes are fitted independently, side by side.
    transition_logits, prior_logits : (..., K, K) and (..., K) float, optional
        Start, not changed; by default 4 on the diagonal and -1 off it, and ``1/K + 0.1 u``, ``u`` uniform.
    n_steps : int, optional
        Evaluations of the objective, one more than updates; 1500 by default, 301 from 100 classes on.
    learning_rate : float
    decay_from : float in [0, 1]
        Share of the steps after which the rate falls linearly to zero; 1 keeps it constant, as the authors'
        code does.
    keep : {"best", "last"}
        Return the step with the smallest objective, or the last one (what the authors' code returns).
    is_local : bool
        Push the prior towards few classes after 100 steps (not with 100 classes and more), for the labels of
        a neighbourhood.
    random_state : int
        For the start of the prior. The draws go to the classes in order of ``c1``, so that the numbering of
        classes has no part in them.

    Returns
    -------
    TransitionFit

    Raises
    ------
    InputError
        Shapes that do not fit, shares that do not sum to 1, an option out of its range.

    Warns
    -----
    TamisWarning
        A class never occurs among the labels: its column is zero whatever the truth.

    Notes
    -----
    The learning rate that falls, and the copy of the best step, are changes to the authors' code.

    References
    ----------
    .. [1] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> from tamis.statistics.clusterability import population_consensus
    >>> shares = population_consensus(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0.4, 0.6]))
    >>> fit_transition(*shares, n_steps=300).transition.round(decimals=2)
    tensor([[0.9000, 0.1000],
            [0.3000, 0.7000]], dtype=torch.float64)
    """
    observed = _checked(c1, c2, c3)
    n_classes = observed.c1.shape[-1]
    if n_steps is None:
        n_steps = N_STEPS if n_classes < _MANY_CLASSES else N_STEPS_MANY_CLASSES
    _check_options(n_steps, learning_rate, decay_from, keep)
    u = _start(transition_logits, "transition_logits", _diagonal_start(observed.c2))
    v = _start(prior_logits, "prior_logits", _prior_start(observed.c1, random_state))
    adam = _Adam([u, v])
    best = torch.full(observed.c1.shape[:-1], torch.inf, dtype=torch.float64, device=u.device)
    best_u, best_v = u.detach().clone(), v.detach().clone()
    for step in range(n_steps):
        is_peaked = is_local and step > _PEAKED_AFTER and n_classes < _MANY_CLASSES
        loss = hoc_objective(u, v, observed, is_peaked=is_peaked)
        # Each fit of a batch keeps its own best step. The peaked objective is another one: start anew.
        restart = is_peaked and step == _PEAKED_AFTER + 1
        is_better = torch.ones_like(best, dtype=torch.bool) if restart else loss.detach() < best
        best = torch.where(is_better, loss.detach(), best)
        best_u = torch.where(is_better[..., None, None], u.detach(), best_u)
        best_v = torch.where(is_better[..., None], v.detach(), best_v)
        if step < n_steps - 1:
            rate = learning_rate * _falling(step / n_steps, decay_from)
            adam.step(torch.autograd.grad(loss.sum(), [u, v]), rate)
    if keep == "last":
        best_u, best_v = u.detach(), v.detach()
    return TransitionFit(best_u.softmax(dim=-1), best_v.softmax(dim=-1), best, best_u, best_v)


class _Adam:
    """Adam (Kingma and Ba 2015); `torch.optim` takes seconds to load its compiler at the first step."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        self._parameters = parameters
        self._first = [torch.zeros_like(each) for each in parameters]
        self._second = [torch.zeros_like(each) for each in parameters]
        self._n_steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], rate: float) -> None:
        """Move the parameters, in place."""
        self._n_steps += 1
        bias1, bias2 = 1 - _BETA1**self._n_steps, 1 - _BETA2**self._n_steps
        for each, gradient, first, second in zip(
            self._parameters, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1 - _BETA1)
            second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
            each.addcdiv_(first, (second.sqrt() / math.sqrt(bias2)).add_(_EPSILON), value=-rate / bias1)


def _falling(progress: float, decay_from: float) -> float:
    return 1.0 if progress <= decay_from else (1.0 - progress) / (1.0 - decay_from)


def _diagonal_start(c2: torch.Tensor) -> torch.Tensor:
    eye = torch.eye(c2.shape[-1], dtype=torch.float64, device=c2.device)
    return (_OFF_DIAGONAL + (_DIAGONAL - _OFF_DIAGONAL) * eye).expand_as(c2)


def _prior_start(c1: torch.Tensor, seed: int) -> torch.Tensor:
    n_classes = c1.shape[-1]
    key = np.array([seed, _MODEL_KEY], dtype=np.uint64)
    draws = torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).random(n_classes))
    rank = c1.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    return 1.0 / n_classes + _PRIOR_SPREAD * draws.to(c1.device)[rank]


def _start(given: FloatArray | torch.Tensor | None, name: str, default: torch.Tensor) -> torch.Tensor:
    """Return a tensor of its own that Adam may change."""
    start = default if given is None else torch.as_tensor(given, dtype=torch.float64, device=default.device)
    if start.shape != default.shape or not bool(torch.isfinite(start).all()):
        raise InputError(
            f"{name} has shape {tuple(start.shape)}; expected {tuple(default.shape)} finite numbers"
        )
    return start.detach().clone().requires_grad_()


def _checked(
    c1: FloatArray | torch.Tensor, c2: FloatArray | torch.Tensor, c3: FloatArray | torch.Tensor
) -> Consensus:
    shares = Consensus(*(torch.as_tensor(each, dtype=torch.float64) for each in (c1, c2, c3)))
    batch, k = shares.c1.shape[:-1], shares.c1.shape[-1] if shares.c1.ndim else 0
    for n_axes, (name, each) in enumerate(zip(shares._fields, shares, strict=True), start=1):
        wanted = (*batch, *(k,) * n_axes)
        if k < 2 or tuple(each.shape) != wanted:
            raise InputError(
                f"{name} has shape {tuple(each.shape)}; c1, c2 and c3 of K >= 2 classes have shapes (K,), "
                "(K, K) and (K, K, K), after the same leading axes"
            )
        total = each.sum(dim=tuple(range(-n_axes, 0)))
        if not bool(((total - 1).abs() <= 1e-3).all()) or bool((each < 0).any()):
            raise InputError(
                f"{name} sums to {total.flatten()[0].item():.6g}; expected shares of 0 or more that sum to "
                "1: divide counts by their sum"
            )
    if not batch and bool((shares.c1 == 0).any()):
        never = (shares.c1 == 0).nonzero()[:, 0].tolist()
        message = f"no sample is labelled {never}: what P(label | true class) is for these cannot be seen"
        warnings.warn(message, TamisWarning, stacklevel=3)
    return shares


def _check_options(n_steps: int, learning_rate: float, decay_from: float, keep: str) -> None:
    if n_steps < 1:
        raise InputError(f"n_steps is {n_steps}; at least 1 evaluation is needed")
    if not learning_rate > 0 or not np.isfinite(learning_rate):
        raise InputError(f"learning_rate is {learning_rate}; it must be above 0 (0.1 by default)")
    if not 0 <= decay_from <= 1:
        raise InputError(f"decay_from is {decay_from}; it is a share of the steps, from 0 to 1")
    if keep not in ("best", "last"):
        raise InputError(f"keep is {keep!r}; choose 'best' or 'last'")
