"""Multinomial logistic regression on hard or soft targets, cross-validated, in float64 blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from tamis.errors import InputError
from tamis.progress import track
from tamis.types import FloatArray, IntArray

# Sums over blocks of a fixed size: the memory budget cannot change a single bit.
_BLOCK_ROWS = 4096
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Tried in this order on the first fold."""


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
    n_rows = sum(len(piece) for piece in features)
    n_features, n_classes = features[0].shape[1], targets[0].shape[1]
    zeros = torch.zeros(n_features + 1, n_classes, dtype=torch.float64)
    weights = (zeros if start is None else start.clone()).requires_grad_()
    solver = torch.optim.LBFGS(
        [weights],
        max_iter=max_iter,
        max_eval=2 * max_iter,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    blocks = [
        (x, t)
        for piece, target in zip(features, targets, strict=True)
        for x, t in zip(torch.split(piece, _BLOCK_ROWS), torch.split(target, _BLOCK_ROWS), strict=True)
    ]

    def closure() -> float:
        value, weights.grad = _objective(weights.detach(), blocks, n_rows, penalty)
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return LogisticModel(weights.detach())


def _objective(
    weights: torch.Tensor, blocks: list[tuple[torch.Tensor, torch.Tensor]], n_rows: int, penalty: float
) -> tuple[float, torch.Tensor]:
    loss = 0.0
    gradient = torch.zeros_like(weights)
    for x, t in blocks:
        x, t = x.double(), t.double()
        logits = torch.addmm(weights[-1], x, weights[:-1])  # (b, K)
        log_sum = torch.logsumexp(logits, 1, keepdim=True)
        loss += float(log_sum.sum() - (t * logits).sum())
        error = torch.exp(logits - log_sum) - t  # (b, K)
        gradient[:-1].addmm_(x.T, error)
        gradient[-1] += error.sum(0)
    loss, gradient = loss / n_rows, gradient / n_rows
    gradient[:-1] += penalty * weights[:-1]
    return loss + penalty / 2 * float((weights[:-1] ** 2).sum()), gradient


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
        self._starts: list[torch.Tensor | None] = [None] * self._n_folds
        self.penalty: float | None = None

    def logits(self, targets: FloatArray, label: str = "probes") -> torch.Tensor:
        """Return (n, K) float32 out-of-sample logits for (n, K) targets, rows summing to 1."""
        ordered = torch.from_numpy(np.asarray(targets, dtype=np.float32))[self._order]
        result = torch.zeros(ordered.shape, dtype=torch.float32)
        with track(label, total=self._n_folds, unit="folds") as advance:
            if self.penalty is None:
                self.penalty = self._choose_penalty(ordered)
            for fold in range(self._n_folds):
                # Folds differ little: each one starts where the one before it ended.
                start = self._starts[fold] if self._starts[fold] is not None else self._starts[fold - 1]
                model = self._fit(fold, ordered, self.penalty, start)
                self._starts[fold] = model.weights
                result[self._slices[fold]] = self._predict(model, self._slices[fold])
                result[self._outside] += self._predict(model, self._outside) / self._n_folds
                advance(1)
        back = torch.empty_like(result)
        back[self._order] = result
        return back

    def _fit(
        self, fold: int, targets: torch.Tensor, penalty: float, start: torch.Tensor | None
    ) -> LogisticModel:
        others = [piece for index, piece in enumerate(self._slices) if index != fold]
        return fit_logistic(
            [self._features[piece] for piece in others],
            [targets[piece] for piece in others],
            penalty=penalty,
            start=start,
        )

    def _predict(self, model: LogisticModel, rows: slice) -> torch.Tensor:
        blocks = torch.split(self._features[rows], _BLOCK_ROWS)
        pieces = [model.logits(block).float() for block in blocks]
        return torch.cat(pieces) if pieces else torch.zeros(0, model.weights.shape[1])

    def _choose_penalty(self, targets: torch.Tensor) -> float:
        held_out = targets[self._slices[0]].double()
        start: torch.Tensor | None = None
        losses = []
        models = []
        # From the strongest penalty to the weakest: each fit is a good start for the next.
        for penalty in reversed(PENALTIES):
            model = self._fit(0, targets, penalty, start)
            start = model.weights
            logits = self._predict(model, self._slices[0]).double()
            losses.append(-float((held_out * torch.log_softmax(logits, 1)).sum()))
            models.append(model)
        best = int(np.argmin(losses))
        self._starts[0] = models[best].weights
        return tuple(reversed(PENALTIES))[best]


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
