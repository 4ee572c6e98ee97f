"""Devices and threads: several batches at once, one torch thread each, so that results keep their bits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tamis.errors import InputError

# More threads than this wait for Python's lock instead of computing.
_MOST_WORKERS = 16


def resolve_device(device: str) -> str:
    """Return ``device``, with ``"auto"`` replaced by ``"cuda"`` where there is one, else ``"cpu"``.

    Raises
    ------
    InputError
        The device has no meaning to torch, or this machine does not have it.

    Examples
    --------
    >>> resolve_device("cpu")
    'cpu'
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {device!r} cannot be used ({reason}); use 'auto', 'cpu' or 'cuda'"
        ) from error
    if kind == "meta":
        raise InputError("device 'meta' holds no numbers; use 'auto', 'cpu' or 'cuda'")
    return device


def n_workers() -> int:
    """Return how many batches to encode at once: the number of torch threads, at most 16."""
    import torch

    return max(1, min(torch.get_num_threads(), _MOST_WORKERS))


@contextlib.contextmanager
def one_torch_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose threads compute with one torch thread; waiting work is dropped at the end.

    A convolution split over threads may add in another order; one that runs on a single thread gives the
    same bits on every machine of the same kind, however many cores it has.

    Examples
    --------
    >>> with one_torch_thread_each(2) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    import torch

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="tamis-encode", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # The number is per thread, but threads started later copy the one that was set last.
        torch.set_num_threads(before)
