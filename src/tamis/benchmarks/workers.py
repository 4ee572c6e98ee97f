"""Processes that run the trials of a benchmark."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

import torch

from tamis.benchmarks.trial import end_with_parent
from tamis.errors import RunError

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """Give what runs trials: this process for one at a time, else so many processes.

    Raises
    ------
    RunError
        A process died.
    """
    with _executor(count) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process died, perhaps for lack of memory; run the same command again to continue, "
                "with fewer workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def start_worker(n_threads: int) -> None:
    """Prepare a worker process: its share of the cores, no progress bar, an end with its parent."""
    os.environ["TAMIS_PROGRESS"] = "0"
    torch.set_num_threads(n_threads)
    threading.Thread(target=end_with_parent, daemon=True).start()


def _executor(count: int) -> Executor:
    if count == 1:
        return _Here()
    n_threads = max(1, (os.cpu_count() or 1) // count)
    return ProcessPoolExecutor(
        count, mp_context=get_context("forkserver"), initializer=start_worker, initargs=(n_threads,)
    )


class _Here(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function and return its finished future."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
