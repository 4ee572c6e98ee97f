"""Mixup: convex combinations of inputs and of their targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.counter_draws import step_generator
from tamis.statistics.labelled_logits import can_read_values


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes
    ----------
    inputs : (m, ...) float tensor
    targets : (m, K) float tensor
    """

    inputs: Tensor
    targets: Tensor


def mixup(
    inputs: Tensor, targets: Tensor, lam: float | Tensor, permutation: Tensor, *, at_least_half: bool = True
) -> Mixed:
    """Mix every row with a partner: ``lam * row + (1 - lam) * partner``, inputs and targets alike.

    Parameters
    ----------
    inputs : (B, ...) float
    targets : (B, K) float
        Soft or one-hot targets; integer labels: `one_hot` first.
    lam : float in [0, 1]
        From `mixup_lambda`; one a batch. A tensor without axes where a captured graph is to see other values.
    permutation : (m,) int64, m <= B
        Partner of each of the first m rows, from `mixup_permutation`. Part of a permutation of all rows
        mixes the first rows only, whose partners may come from all: DivideMix on Clothing1M.
    at_least_half : bool, default=True
        Mix with ``max(lam, 1 - lam)``, so that each row stays nearer to its own place (MixMatch); else with
        ``lam`` itself (the original mixup).

    Returns
    -------
    Mixed

    Raises
    ------
    InputError
        Shapes do not match, whole numbers where floating point ones are needed, ``lam`` outside [0, 1].

    References
    ----------
    .. [1] Zhang, Cisse, Dauphin, Lopez-Paz. "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    .. [2] Berthelot et al. "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019,
       equations 8 to 11.

    Examples
    --------
    A step of training on mixed rows, in a loop of your own:

    >>> from tamis.losses import soft_cross_entropy
    >>> from tamis.targets import one_hot
    >>> network = torch.nn.Linear(2, 3)
    >>> inputs, labels = torch.eye(2), torch.tensor([0, 2])
    >>> lam = mixup_lambda(1.0, seed=0, step=0)
    >>> mixed = mixup(inputs, one_hot(labels, 3), lam, mixup_permutation(2, seed=0, step=0))
    >>> soft_cross_entropy(network(mixed.inputs), mixed.targets).backward()
    """
    if can_read_values() and not 0 <= lam <= 1:
        raise InputError(f"lam is {lam}; expected a number from 0 to 1")
    if not (inputs.is_floating_point() and targets.is_floating_point()):
        raise InputError(
            f"inputs has dtype {inputs.dtype}, targets {targets.dtype}; expected floating point numbers:"
            " inputs.float(), tamis.targets.one_hot(labels, n_classes)"
        )
    if targets.ndim != 2 or inputs.ndim < 1 or len(inputs) != len(targets):
        raise InputError(
            f"inputs has shape {tuple(inputs.shape)}, targets {tuple(targets.shape)}; expected (B, ...) and"
            " (B, classes)"
        )
    if permutation.ndim != 1 or permutation.dtype != torch.int64 or len(permutation) > len(inputs):
        raise InputError(
            f"permutation has shape {tuple(permutation.shape)} and dtype {permutation.dtype}; expected at"
            f" most {len(inputs)} rows, int64"
        )
    share = lam
    if at_least_half:
        share = torch.maximum(lam, 1 - lam) if isinstance(lam, Tensor) else max(lam, 1 - lam)
    return Mixed(_mixed(inputs, share, permutation), _mixed(targets, share, permutation))


def mixup_lambda(alpha: float, seed: int, step: int, *, at_least_half: bool = True) -> float:
    """Return the mixing coefficient of one batch: a draw of Beta(alpha, alpha).

    Parameters
    ----------
    alpha : float, at least 0
        0 gives 1, no mixing; the larger, the nearer to 1/2.
    seed, step : int
        The draw is a pure function of both.
    at_least_half : bool, default=True
        Return ``max(lam, 1 - lam)``.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    InputError
        ``alpha`` negative or not finite, or a seed or step that is no whole number.

    Examples
    --------
    >>> 0.5 <= mixup_lambda(4.0, seed=0, step=17) == mixup_lambda(4.0, seed=0, step=17) <= 1
    True
    """
    if not 0 <= alpha < float("inf"):
        raise InputError(f"alpha is {alpha}; expected a number of at least 0 (0 = no mixing)")
    generator = step_generator(seed, step, "mixup_lambda")
    lam = float(generator.beta(alpha, alpha)) if alpha > 0 else 1.0
    return max(lam, 1 - lam) if at_least_half else lam


def mixup_permutation(
    n_rows: int, seed: int, step: int, *, device: torch.device | str | None = None
) -> Tensor:
    """Return the partners of one batch: a random permutation of its rows.

    Parameters
    ----------
    n_rows : int
        Rows of the batch, all its parts together.
    seed, step : int
        The permutation is a pure function of both and of ``n_rows``.
    device : torch.device or str, optional

    Returns
    -------
    (n_rows,) int64 tensor

    Examples
    --------
    >>> mixup_permutation(6, seed=0, step=3).sort().values
    tensor([0, 1, 2, 3, 4, 5])
    """
    order = step_generator(seed, step, "mixup_permutation").permutation(n_rows).astype(np.int64)
    return torch.from_numpy(order).to(device)


def _mixed(rows: Tensor, share: float | Tensor, permutation: Tensor) -> Tensor:
    return share * rows[: len(permutation)] + (1 - share) * rows[permutation]
