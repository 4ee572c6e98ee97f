"""A learning rate that warms up in a line and falls by half a cosine, as TLDR counts its steps."""

from __future__ import annotations

import math

from tamis.errors import InputError


def warmup_cosine_rate(
    step: int,
    *,
    n_samples: int,
    batch_size: int,
    epochs: int,
    warmup_epochs: int = 10,
    rate: float = 0.2,
) -> float:
    """Return the learning rate of a step: up to ``rate * batch_size / 256``, then down to 0.1 % of it.

    With ``base = rate * batch_size / 256``, ``T = epochs * n_samples // batch_size`` and
    ``W = warmup_epochs * n_samples // batch_size``: ``base * step / W`` before step W, then
    ``base * (q + 0.001 (1 - q))`` with ``q = (1 + cos(pi (step - W) / (T - W))) / 2``. Step 0 of a warm-up
    has rate 0, as in the authors' code; from step T on the rate stays at its end.

    Parameters
    ----------
    step : int
        From 0.
    n_samples, batch_size, epochs : int, at least 1
    warmup_epochs : int
        0 to ``epochs``; 0 starts at the base rate.
    rate : float, above 0
        For a batch of 256.

    Raises
    ------
    InputError
        An argument out of its range.

    References
    ----------
    .. [1] Y. Kalantidis, C. Lassance, J. Almazan, D. Larlus. "TLDR: Twin Learning for Dimensionality
       Reduction", TMLR 2022, and the authors' code.

    Examples
    --------
    >>> plan = dict(n_samples=1024, batch_size=256, epochs=10, warmup_epochs=1, rate=0.2)
    >>> [round(warmup_cosine_rate(step, **plan), 4) for step in (0, 2, 4, 22, 40)]
    [0.0, 0.1, 0.2, 0.1001, 0.0002]
    """
    if min(n_samples, batch_size, epochs) < 1 or step < 0 or not rate > 0:
        raise InputError(
            f"step is {step}, n_samples {n_samples}, batch_size {batch_size}, epochs {epochs} and rate "
            f"{rate}; expected a step of at least 0, the others above 0"
        )
    if not 0 <= warmup_epochs <= epochs:
        raise InputError(f"warmup_epochs is {warmup_epochs}; expected 0 to the {epochs} epochs there are")
    base = rate * batch_size / 256
    length = epochs * n_samples // batch_size
    warmup = warmup_epochs * n_samples // batch_size
    if step < warmup:
        return base * step / warmup
    share = 1.0 if length == warmup else min(1.0, (step - warmup) / (length - warmup))
    falling = 0.5 * (1.0 + math.cos(math.pi * share))
    return base * (falling + 0.001 * (1.0 - falling))
