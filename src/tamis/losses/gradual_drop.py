"""A share of each batch to leave out that rises over the first epochs."""

from __future__ import annotations

from torch import nn

from tamis.statistics.schedules import drop_rate


class GradualDrop(nn.Module):
    """A loss that leaves out a rising share of each batch; call `set_epoch` in each epoch.

    Parameters
    ----------
    forget_rate : float in [0, 1]
        Share to leave out at the end.
    n_gradual : int, default=10
        Epochs until then; 0 = at once.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.

    Raises
    ------
    InputError
        A parameter out of its range.
    """

    def __init__(self, forget_rate: float, *, n_gradual: int = 10, exponent: float = 1.0) -> None:
        super().__init__()
        self.forget_rate = forget_rate
        self.n_gradual = n_gradual
        self.exponent = exponent
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Tell the loss which epoch begins, from 0."""
        self._rate = drop_rate(epoch, self.forget_rate, self.n_gradual, self.exponent)
