"""Least disagree metric: the smallest change of a linear classifier that flips the prediction of a sample."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError, TamisWarning
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.statistics.finite_matrices import class_codes, finite_matrix
from tamis.statistics.normal_draws import NormalDraws
from tamis.types import FloatArray

SIGMAS: FloatArray = 10.0 ** np.arange(-5.0, 0.1, 0.1)
"""The 51 scales of the paper, 1e-5 to 1."""


class LeastDisagreement(NamedTuple):
    """What `least_disagree_metric` returns.

    Attributes
    ----------
    values : (n,) float64 array
        Multiples of 1 / M in [0, 1]; 1 where nothing flipped the row. Small = near the decision boundary.
    n_draws : int
        Perturbed classifiers that were looked at.
    """

    values: npt.NDArray[np.float64]
    n_draws: int


class _Head(NamedTuple):
    """The classifier and the rows it is tried on; everything in one floating-point type."""

    parameters: torch.Tensor  # (D + 1, K), the last row is the bias
    pool: torch.Tensor  # (n, D)
    reference: torch.Tensor  # (M, D)
    wanted: torch.Tensor | None  # (n,) label that a flip must lead to; None = any other
    block_cells: int  # how many logits may be held at once


def least_disagree_metric(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike,
    pool: npt.ArrayLike,
    reference: npt.ArrayLike | None = None,
    *,
    labels: npt.ArrayLike | None = None,
    patience: int = 10,
    max_draws: int | None = None,
    sigmas: npt.ArrayLike | None = None,
    relative_sigma: bool = True,
    draws: npt.ArrayLike | None = None,
    random_state: int = 0,
    memory_budget: str | int | None = None,
) -> LeastDisagreement:
    """Return for each row how little the classifier must change until the row's prediction flips.

    The last layer is perturbed by normal noise at many scales. The change of a perturbed classifier is the
    share of reference rows whose prediction it changes; a row's value is the smallest change among the
    perturbed classifiers that flip it. Looks at predictions only: to say something about given labels, pass
    ``labels``.

    Parameters
    ----------
    weight : (D, K) float
        Of the last layer, K >= 2. `torch.nn.Linear` stores the transpose.
    bias : (K,) float
    pool : (n, D) float
        Features of the rows to score.
    reference : (M, D) float, optional
        Features of the rows that measure change; default ``pool``. Fewer rows make the values coarser and
        the search shorter.
    labels : (n,) int, optional
        Count only flips to this label: how little must change until the classifier agrees with the label;
        0 where it agrees already, 1 where no perturbation made it agree. Ours, not of the paper.
    patience : int
        A scale ends after so many draws in a row that lowered no value (``s`` of the paper).
    max_draws : int, optional
        A scale also ends after so many draws. None: as published; with many rows and many reference rows
        that is very long.
    sigmas : (S,) float, optional
        Scales in increasing order, default `SIGMAS`.
    relative_sigma : bool
        Multiply the scales by the root mean square of all entries of ``weight`` and ``bias``, so that the
        size of the classifier's logits does not matter. False: absolute scales, as published.
    draws : (T, D * K + K) float, optional
        The standard normal numbers to use, one row a draw: weight row by row, then bias. They are used in
        order over all scales. Default: draw ``t`` of scale ``k`` is a pure function of
        ``(random_state, k, t)``.
    random_state : int
        At least 0, below 2**64.
    memory_budget : str, int or None
        For blocks of logits.

    Returns
    -------
    LeastDisagreement
        Computed in float32, or in float64 where ``weight`` or ``pool`` are float64.

    Raises
    ------
    InputError
        Shapes that do not fit, NaN or infinity, one class only, labels outside 0..K-1, no reference rows,
        or fewer ``draws`` than the search needs.

    Warns
    -----
    TamisWarning
        No row ever flipped at absolute scales: they are too small for this classifier.

    References
    ----------
    .. [1] Cho, Kim, Lee, Shin, Yoo. "Querying Easily Flip-flopped Samples for Deep Active Learning",
       ICLR 2024, algorithm 1.

    Examples
    --------
    >>> pool = np.array([[-3.0], [-0.1], [2.0]])
    >>> ldm = least_disagree_metric([[-1.0, 1.0]], [0.0, 0.0], pool, patience=3).values
    >>> int(ldm.argmin())
    1
    """
    head = _checked_head(weight, bias, pool, reference, labels, memory_budget)
    scales = _checked_scales(
        SIGMAS if sigmas is None else sigmas, head.parameters if relative_sigma else None
    )
    for name, value in (("patience", patience), ("max_draws", max_draws)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")
    source = NormalDraws(
        tuple(head.parameters.shape),
        head.parameters.dtype,
        draws,
        seed=random_state,
        stream="least_disagree_metric",
    )
    search = _Search(head)
    for number, sigma in enumerate(scales):
        source.begin_scale(number)
        search.run_scale(sigma, source, patience, max_draws)
    values = (search.counts.double() / len(head.reference)).numpy()
    if not relative_sigma and len(values) and (values == 1).all():
        message = f"no perturbation flipped any of the {len(values)} rows; pass relative_sigma=True"
        warnings.warn(message, TamisWarning, stacklevel=2)
    return LeastDisagreement(values, search.n_draws)


class _Rows:
    """Rows under one classifier: their logits, and how far each is from a flip."""

    def __init__(self, features: torch.Tensor, parameters: torch.Tensor, wanted: torch.Tensor | None) -> None:
        self._features = features
        self._logits = torch.addmm(parameters[-1], features, parameters[:-1])  # (n, K)
        top, self._predicted = self._logits.max(1)
        self._wanted = wanted
        self.is_flipped = torch.zeros(len(features), dtype=torch.bool)
        if wanted is None:
            rival = self._logits.topk(2, dim=1).values[:, 1]
        else:
            self.is_flipped = self._predicted == wanted
            rival = self._logits.gather(1, wanted[:, None])[:, 0]
        rounding = 16 * torch.finfo(features.dtype).eps * self._logits.abs().amax(1)
        self._margin = top - rival - rounding
        self._length = (features.square().sum(1) + 1).sqrt()  # of (x, 1)

    def flips(self, noise: torch.Tensor, block_cells: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows that the noise may flip, (a,), and which draw flips each, (a, t) bool."""
        n_draws, _, n_classes = noise.shape
        # Two logits move apart by at most |(x, 1)| times the difference of two columns of the noise.
        reach = 2.002 * float(noise.norm(dim=1).max())
        active = (~self.is_flipped & (self._margin <= reach * self._length)).nonzero()[:, 0]
        step = noise[:, :-1].permute(1, 0, 2).flatten(1)  # (D, t * K)
        found = torch.zeros((len(active), n_draws), dtype=torch.bool)
        size = max(1, block_cells // (n_draws * n_classes))
        for start in range(0, len(active), size):
            rows = active[start : start + size]
            moved = (self._features[rows] @ step).view(len(rows), n_draws, n_classes)
            moved += noise[:, -1] + self._logits[rows][:, None]
            now = moved.argmax(2)
            if self._wanted is None:
                found[start : start + size] = now != self._predicted[rows][:, None]
            else:
                found[start : start + size] = now == self._wanted[rows][:, None]
        return active, found


class _Search:
    """The smallest disagreement found so far for each row, counted in reference rows."""

    def __init__(self, head: _Head) -> None:
        self._cells = head.block_cells
        self._reference = _Rows(head.reference, head.parameters, None)
        shared = head.wanted is None and head.pool is head.reference
        self._pool = self._reference if shared else _Rows(head.pool, head.parameters, head.wanted)
        self._most = len(head.reference)
        self.counts = torch.full((len(head.pool),), self._most, dtype=torch.int64)
        self.counts[self._pool.is_flipped] = 0
        self.n_draws = 0

    def run_scale(self, sigma: float, source: NormalDraws, patience: int, max_draws: int | None) -> None:
        """Draw at one scale until ``patience`` draws in a row have lowered no value."""
        n_idle = n_drawn = 0
        while n_idle < patience and n_drawn != max_draws:
            ahead = patience if max_draws is None else min(patience, max_draws - n_drawn)
            rows, lowest = self._lowest(sigma * source.peek(ahead))
            n_used = 0
            for is_lower in (lowest.diff(dim=1) < 0).any(0).tolist():
                n_used += 1
                n_idle = 0 if is_lower else n_idle + 1
                if n_idle == patience:
                    break
            self.counts[rows] = lowest[:, n_used]
            source.use(n_used)
            n_drawn += n_used
            self.n_draws += n_used

    def _lowest(self, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows that may flip and their counts before, (a, 1), and after each draw, (a, t)."""
        rows, is_flipped = self._reference.flips(noise, self._cells)
        changed = is_flipped.sum(0)  # (t,)
        if self._pool is not self._reference:
            rows, is_flipped = self._pool.flips(noise, self._cells)
        found = torch.where(is_flipped, changed, self._most)
        return rows, torch.cat([self.counts[rows][:, None], found], dim=1).cummin(1).values


def _checked_head(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike,
    pool: npt.ArrayLike,
    reference: npt.ArrayLike | None,
    labels: npt.ArrayLike | None,
    memory_budget: str | int | None,
) -> _Head:
    matrix = finite_matrix(weight, "weight", None)
    offsets = finite_matrix(np.atleast_2d(np.asarray(bias)), "bias", matrix.shape[1])
    if len(offsets) != 1 or matrix.shape[1] < 2:
        raise InputError(
            f"weight has shape {tuple(matrix.shape)} and bias {np.shape(bias)}; expected (D, K) and (K,) with"
            " K >= 2 classes; transpose the weight of a torch.nn.Linear"
        )
    rows = finite_matrix(pool, "pool", len(matrix))
    others = rows if reference is None else finite_matrix(reference, "reference", len(matrix))
    if not len(others):
        raise InputError("reference has no rows; pass the rows on which change is measured")
    kind = torch.float64 if torch.float64 in (matrix.dtype, rows.dtype) else torch.float32
    wanted = None if labels is None else class_codes(labels, len(rows), matrix.shape[1])
    rows = rows.to(kind)
    others = rows if reference is None else others.to(kind)
    cells = rows_per_block(2 * rows.element_size(), parse_memory_budget(memory_budget), at_most=2**24)
    return _Head(torch.cat([matrix, offsets]).to(kind), rows, others, wanted, cells)


def _checked_scales(sigmas: npt.ArrayLike, parameters: torch.Tensor | None) -> list[float]:
    scales = np.asarray(sigmas, dtype=np.float64)
    if scales.ndim != 1 or not np.isfinite(scales).all() or (scales < 0).any() or (np.diff(scales) < 0).any():
        raise InputError(
            "sigmas must be increasing numbers of at least 0, such as 10.0 ** np.arange(-5, 0.1, 0.1)"
        )
    size = 1.0 if parameters is None else float(parameters.double().square().mean().sqrt())
    return [float(scale) * size for scale in scales]
