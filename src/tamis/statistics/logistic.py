"""Multinomial logistic regression on hard or soft targets, cross-validated, in float64 blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from tamis.errors import InputError
from tamis.progress import track
from tamis.types import FloatArray, IntArray

# Sums over blocks of a fixed size: the memory budget cannot change a single bit.
_BLOCK_ROWS = 4096
_BLOCK_CELLS = 2**21
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Compared on the first fold."""

_USUAL_PASSES = 100  # over the rows; of the progress bar only


@dataclass(frozen=True)
class LogisticModel:
    """Coefficients of one fit.

    Attributes
    ----------
    weights : (d + 1, K) float64 tensor
        The last row is the intercept.
    """

    weights: torch.Tensor

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return (n, K) float64 logits of (n, d) features."""
        return features.double() @ self.weights[:-1] + self.weights[-1]


def fit_logistic(
    features: Sequence[torch.Tensor],
    targets: Sequence[torch.Tensor],
    *,
    penalty: float,
    start: torch.Tensor | None = None,
    max_iter: int = 100,
) -> LogisticModel:
    """Fit by L-BFGS: mean cross-entropy + ``penalty`` / 2 * squared norm of the weights (intercept free).

    Parameters
    ----------
    features : sequence of (n_i, d) tensors
        Pieces of the training rows, standardised; together they are the training set.
    targets : sequence of (n_i, K) tensors
        Rows sum to 1.
    penalty : float
        Positive: the optimum is then unique.
    start : (d + 1, K) tensor, optional
        Weights to start from.
    max_iter : int

    Returns
    -------
    LogisticModel

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> model = fit_logistic([x], [torch.eye(2)], penalty=0.1)
    >>> model.logits(x).argmax(1).tolist()
    [0, 1]
    """
    blocks = [
        _Block(x, t, 0)
        for piece, target in zip(features, targets, strict=True)
        for x, t in zip(torch.split(piece, _BLOCK_ROWS), torch.split(target, _BLOCK_ROWS), strict=True)
    ]
    starts = None if start is None else start[:, None]
    return _fit_together(blocks, [_Problem(-1, penalty)], starts, max_iter)[0]


class _Block(NamedTuple):
    features: torch.Tensor  # (b, d)
    targets: torch.Tensor  # (b, K)
    fold: int


class _Problem(NamedTuple):
    """One regression: trained on all folds but one."""

    held_out: int
    penalty: float


def _fit_together(
    blocks: list[_Block],
    problems: list[_Problem],
    start: torch.Tensor | None,
    max_iter: int = 100,
    on_pass: Callable[[int], None] = lambda count: None,
) -> list[LogisticModel]:
    """Solve several regressions on nearly the same rows as one: a pass over the rows serves them all."""
    shape = (blocks[0].features.shape[1] + 1, len(problems), blocks[0].targets.shape[1])
    zeros = torch.zeros(shape, dtype=torch.float64)
    weights = (zeros if start is None else start.expand(shape).clone()).requires_grad_()
    solver = torch.optim.LBFGS(
        [weights],
        max_iter=max_iter,
        max_eval=2 * max_iter,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        on_pass(1)
        value, weights.grad = _objective(weights.detach(), blocks, problems)
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return [LogisticModel(weights.detach()[:, place].clone()) for place in range(len(problems))]


def _objective(
    weights: torch.Tensor, blocks: list[_Block], problems: list[_Problem]
) -> tuple[float, torch.Tensor]:
    """Return the sum of all objectives and its gradient, (d + 1, P, K)."""
    n_problems = len(problems)
    held_out = torch.tensor([problem.held_out for problem in problems])
    penalty = torch.tensor([problem.penalty for problem in problems], dtype=torch.float64)
    n_rows = torch.zeros(n_problems, dtype=torch.float64)
    loss = torch.zeros(n_problems, dtype=torch.float64)
    gradient = torch.zeros_like(weights)
    flat = weights.flatten(1)  # (d + 1, P * K)
    for x, t, fold in blocks:
        used = (held_out != fold).double()  # (P,)
        x, t = x.double(), t.double()[:, None]
        logits = torch.addmm(flat[-1], x, flat[:-1]).view(-1, *weights.shape[1:])  # (b, P, K)
        log_sum = torch.logsumexp(logits, 2, keepdim=True)
        loss += used * (log_sum[..., 0].sum(0) - (t * logits).sum((0, 2)))
        error = (torch.exp(logits - log_sum) - t) * used[:, None]
        gradient[:-1] += (x.T @ error.flatten(1)).view(-1, *weights.shape[1:])
        gradient[-1] += error.sum(0)
        n_rows += used * len(x)
    loss, gradient = loss / n_rows, gradient / n_rows[:, None]
    gradient[:-1] += penalty[:, None] * weights[:-1]
    squares = (weights[:-1] ** 2).sum((0, 2))  # (P,)
    return float((loss + penalty / 2 * squares).sum()), gradient


class CrossValidatedLogistic:
    """Out-of-sample logits by cross-validation; later calls start from the weights of earlier ones.

    Parameters
    ----------
    features : (n, d) float32 tensor
        Standardised rows.
    folds : (n,) int array
        Fold of each row; -1 = never trained on, predicted by the mean over the folds' models.

    Notes
    -----
    The penalty is chosen at the first call among `PENALTIES`, by the cross-entropy on the first fold.
    """

    def __init__(self, features: torch.Tensor, folds: IntArray) -> None:
        if len(features) != len(folds):
            raise InputError(f"features has {len(features)} rows and folds {len(folds)}; they must match")
        self._n_folds = int(folds.max(initial=-1)) + 1
        if self._n_folds < 2:
            raise InputError("folds holds fewer than 2 folds; scores out of sample need at least 2")
        # Rows are laid fold by fold: training sets are then views, never copies.
        self._order = torch.from_numpy(np.argsort(folds, kind="stable"))
        self._features = features[self._order]
        edges = np.searchsorted(np.sort(folds), np.arange(-1, self._n_folds + 1))
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(edges[1:])]
        self._outside = slice(0, int(edges[1]))
        self._start: torch.Tensor | None = None  # (d + 1, folds or 1, K)
        self.penalty: float | None = None

    def logits(self, targets: FloatArray, label: str = "probes") -> torch.Tensor:
        """Return (n, K) float32 out-of-sample logits for (n, K) targets, rows summing to 1."""
        ordered = torch.from_numpy(np.asarray(targets, dtype=np.float32))[self._order]
        blocks = self._blocks(ordered)
        with track(label, total=_USUAL_PASSES, unit="passes") as advance:
            if self.penalty is None:
                self._choose_penalty(blocks, ordered, advance)
            assert self.penalty is not None  # just chosen
            problems = [_Problem(fold, self.penalty) for fold in range(self._n_folds)]
            models = _fit_together(blocks, problems, self._start, on_pass=advance)
        self._start = torch.stack([model.weights for model in models], dim=1)
        result = torch.zeros(ordered.shape, dtype=torch.float32)
        for fold, model in enumerate(models):
            result[self._slices[fold]] = self._predict(model, self._slices[fold])
            result[self._outside] += self._predict(model, self._outside) / self._n_folds
        back = torch.empty_like(result)
        back[self._order] = result
        return back

    def _blocks(self, targets: torch.Tensor) -> list[_Block]:
        # Logits of a block are (b, folds, K): many classes want smaller blocks.
        size = max(256, min(_BLOCK_ROWS, _BLOCK_CELLS // (self._n_folds * targets.shape[1])))
        blocks = []
        for fold, rows in enumerate(self._slices):
            pieces = zip(
                torch.split(self._features[rows], size), torch.split(targets[rows], size), strict=True
            )
            blocks += [_Block(x, t, fold) for x, t in pieces]
        return blocks

    def _choose_penalty(
        self, blocks: list[_Block], targets: torch.Tensor, advance: Callable[[int], None]
    ) -> None:
        """Compare penalties by the cross-entropy on the first fold; start from the winner's weights."""
        held_out = targets[self._slices[0]].double()
        models = _fit_together(blocks, [_Problem(0, penalty) for penalty in PENALTIES], None, on_pass=advance)
        losses = []
        for model in models:
            log_probs = torch.log_softmax(self._predict(model, self._slices[0]).double(), 1)
            losses.append(-float((held_out * log_probs).sum()))
        best = int(np.argmin(losses))
        self.penalty, self._start = PENALTIES[best], models[best].weights[:, None]

    def _predict(self, model: LogisticModel, rows: slice) -> torch.Tensor:
        blocks = torch.split(self._features[rows], _BLOCK_ROWS)
        pieces = [model.logits(block).float() for block in blocks]
        return torch.cat(pieces) if pieces else torch.zeros(0, model.weights.shape[1])


def standardise(features: FloatArray) -> torch.Tensor:
    """Return the rows with mean 0 and standard deviation 1 per column, float32; constant columns become 0.

    Parameters
    ----------
    features : (n, d) float

    Examples
    --------
    >>> standardise(np.array([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    rows = torch.from_numpy(np.asarray(features))
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for block in torch.split(rows, _BLOCK_ROWS):
        total += block.double().sum(0)
    mean = total / max(1, len(rows))
    squares = torch.zeros_like(mean)
    for block in torch.split(rows, _BLOCK_ROWS):
        squares += ((block.double() - mean) ** 2).sum(0)
    std = (squares / max(1, len(rows))).sqrt()
    # A column whose spread is rounding noise beside its size says nothing.
    scale = torch.where(std > 1e-6 * (mean.abs() + std) + 1e-30, 1 / std, torch.zeros_like(std))
    result = torch.empty(rows.shape, dtype=torch.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        result[start:stop] = ((rows[start:stop].double() - mean) * scale).float()
    return result
