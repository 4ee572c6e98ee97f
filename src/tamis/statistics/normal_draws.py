"""Standard normal numbers for perturbed classifiers: given ones, or a pure function of seed and step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.statistics.counter_draws import step_generator
from tamis.statistics.finite_matrices import finite_matrix


class NormalDraws:
    """A row of normal numbers for each draw of each scale; looked at ahead, then used up.

    Parameters
    ----------
    shape : tuple of int
        Of one draw.
    dtype : torch.dtype
    given : (T, size of a draw) float, optional
        Numbers to use instead of random ones, in order over all scales.
    seed : int
        At least 0, below 2**64.
    stream : str
        Two streams with one seed share no numbers.

    Examples
    --------
    >>> draws = NormalDraws((2,), torch.float64, [[1.0, 2.0], [3.0, 4.0]], seed=0, stream="example")
    >>> draws.use(1)
    >>> draws.peek(5)
    tensor([[3., 4.]], dtype=torch.float64)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        given: npt.ArrayLike | None,
        *,
        seed: int,
        stream: str,
    ) -> None:
        self._shape = shape
        self._dtype = dtype
        self._given = None if given is None else finite_matrix(given, "draws", int(np.prod(shape)))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise InputError(f"random_state is {seed!r}; expected a whole number from 0 to 2**64 - 1")
        self._seed, self._stream = int(seed), stream
        self._scale = self._used = 0

    def begin_scale(self, number: int) -> None:
        """Go on with another scale: its random draws count from 0, given ones go on in order."""
        self._scale = number
        if self._given is None:
            self._used = 0

    def peek(self, count: int) -> torch.Tensor:
        """Return up to ``count`` draws that come next, (t, *shape), without using them up.

        Raises
        ------
        InputError
            All given draws are used up.
        """
        if self._given is None:
            return torch.stack([self._drawn(self._used + step) for step in range(count)]).to(self._dtype)
        rows = self._given[self._used : self._used + count]
        if not len(rows):
            raise InputError(
                f"draws has {len(self._given)} rows and all are used up at scale {self._scale}; pass more"
                " rows, or leave draws out"
            )
        return rows.to(self._dtype).reshape(-1, *self._shape)

    def use(self, count: int) -> None:
        """Use up ``count`` draws."""
        self._used += count

    def _drawn(self, step: int) -> torch.Tensor:
        numbers = step_generator(self._seed, step, self._stream, cycle=self._scale)
        return torch.from_numpy(numbers.standard_normal(self._shape))
