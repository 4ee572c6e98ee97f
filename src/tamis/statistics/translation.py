"""What a model that was trained on given labels believes, in the words of probabilities from elsewhere.

Beliefs about rows a model was trained on lean towards their given labels, and towards the classes that
annotators like to give. How far they lean is learned from reference probabilities p(y) of the same rows:

    q(y) = softmax( b e + e M + (c 1 + G) [given] )(y),    e = log max(beliefs, 0.01 / K),

with c on the given class alone, by the smallest cross-entropy of p and q, with a Gaussian of width 1 around
0 on every entry of M and G. A model that knows its labels by heart ends with one q for all rows of a label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tamis.errors import InputError
from tamis.statistics.noise_model import centred, float64_tensor
from tamis.types import FloatArray, IntArray

_LEAST_BELIEF = 0.01
"""Divided by K. How much surer a trained network is than that says little: its extremes are mostly noise."""

_ROWS_PER_CELL = 25
"""The (K, K) matrices are fitted from so many rows per cell; b and c always."""

_MAX_ITER = 150


@dataclass(frozen=True)
class Translation:
    """Fitted parameters; tensors float64.

    Attributes
    ----------
    mixing : (K, K) tensor
        b 1 + M.
    given : (K, K) tensor
        c 1 + G; row s is added where the given label is s.
    """

    mixing: torch.Tensor
    given: torch.Tensor

    def log_probs(self, beliefs: FloatArray, labels: IntArray) -> FloatArray:
        """Return log q, (n, K) float64.

        Parameters
        ----------
        beliefs : (n, K) float
            Class probabilities.
        labels : (n,) int
            Given labels in [0, K).
        """
        codes = torch.from_numpy(labels).long()
        logits = _evidence(beliefs) @ self.mixing + self.given[codes]
        found: FloatArray = torch.log_softmax(logits, 1).numpy()
        return found


def fit_translation(beliefs: FloatArray, labels: IntArray, targets: FloatArray) -> Translation:
    """Learn to translate beliefs into target probabilities.

    Parameters
    ----------
    beliefs : (n, K) float
        Class probabilities of a model; below 0.01 / K they count as 0.01 / K.
    labels : (n,) int
        Given labels in [0, K), which the model may have been trained on.
    targets : (n, K) float
        Probabilities of the same rows from elsewhere, rows sum to 1.

    Returns
    -------
    Translation
        With M and G from 25 rows per cell of a (K, K) matrix; b and c alone from fewer.

    Raises
    ------
    InputError
        Shapes differ, there is no row, or a label is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> right = rng.dirichlet([0.5, 0.5, 0.5], size=400)
    >>> labels = np.arange(400) % 3
    >>> timid = right**0.5 / (right**0.5).sum(1, keepdims=True)
    >>> found = fit_translation(timid, labels, right)
    >>> bool(np.abs(np.exp(found.log_probs(timid, labels)) - right).max() < 0.05)
    True
    """
    if beliefs.ndim != 2 or beliefs.shape != targets.shape or labels.shape != beliefs.shape[:1]:
        raise InputError(
            f"beliefs {beliefs.shape}, labels {labels.shape} and targets {targets.shape} do not fit "
            "together; expected (n, K), (n,) and (n, K)"
        )
    n, n_classes = beliefs.shape
    if n == 0:
        raise InputError("there is no row; a translation is learned from at least one")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}; expected codes from 0 to {n_classes - 1}"
        )
    evidence, wanted = _evidence(beliefs), float64_tensor(targets)
    codes = torch.from_numpy(labels).long()
    one = torch.eye(n_classes, dtype=torch.float64)
    scales = torch.tensor([0.5, 0.0], dtype=torch.float64, requires_grad=True)
    cells = (2, n_classes, n_classes) if n >= _ROWS_PER_CELL * n_classes**2 else (2, 1, 1)
    extra = torch.zeros(cells, dtype=torch.float64, requires_grad=True)
    parameters = [scales, extra] if extra.shape[1] > 1 else [scales]

    def matrices() -> torch.Tensor:
        return scales[:, None, None] * one + extra

    def loss() -> torch.Tensor:
        mixing, given = matrices()
        log_q = torch.log_softmax(evidence @ mixing + given[codes], 1)
        penalty: torch.Tensor = (extra.square().sum() + scales[1].square()) / (2 * n)
        misfit: torch.Tensor = -(wanted * log_q).sum() / n
        return misfit + penalty

    _minimise(loss, parameters)
    mixing, given = matrices().detach()
    return Translation(mixing, given)


def _minimise(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=_MAX_ITER,
        tolerance_grad=1e-8,
        tolerance_change=1e-11,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        return value

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # nor here


def _evidence(beliefs: FloatArray) -> torch.Tensor:
    return centred(float64_tensor(beliefs).clamp(min=_LEAST_BELIEF / beliefs.shape[1]).log())
