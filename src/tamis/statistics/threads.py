"""One thread where a problem is small: waiting for a second one costs more than it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SMALL_CELLS = 100_000


@contextmanager
def one_thread_if_small(n_cells: int) -> Iterator[None]:
    """Let torch use one thread inside the block if arrays have no more than 100,000 cells.

    On a machine with other work the threads of a small operation wait for one another most of the time.

    Examples
    --------
    >>> with one_thread_if_small(1000):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if n_cells > _SMALL_CELLS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
