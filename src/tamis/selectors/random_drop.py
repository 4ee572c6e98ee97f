"""Leave out a share of every batch at random: what a selector must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.selectors.selection import Selection, Selector
from tamis.statistics.counter_draws import step_generator


class RandomDrop(Selector):
    """Leave out ``floor(rate * B)`` samples of every batch, whichever.

    For comparison: another selector that leaves out the same share is worth what it gains over this one.

    Parameters
    ----------
    rate : float in [0, 1)
    seed : int, default=0
        The draw of a batch is a function of the seed and the number of batches committed before.

    Attributes
    ----------
    n_steps : int64 scalar

    Raises
    ------
    InputError
        A rate outside [0, 1).

    Examples
    --------
    >>> selection = RandomDrop(0.5).select(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    >>> int(selection.keep.sum())
    2
    """

    n_steps: Tensor

    def __init__(self, rate: float, *, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"rate is {rate}; expected a share of at least 0 and below 1")
        self.rate = rate
        self.seed = seed
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Draw; of the arguments only the number of labels counts."""
        order = step_generator(self.seed, int(self.n_steps), "random_drop").permutation(len(labels))
        n_drop = int(self.rate * len(labels))
        scores = torch.from_numpy(order).to(labels.device).float()
        keep = scores >= n_drop
        return Selection(keep, keep.float(), scores)

    def commit(
        self, selection: Selection, outputs: object, labels: Tensor, index: Tensor | None = None
    ) -> None:
        """Count the batch."""
        self.n_steps.add_(1)
