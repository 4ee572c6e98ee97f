"""One trial: a candidate on a material, measured, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import connection
from pathlib import Path

from tamis.benchmarks.candidates import candidate
from tamis.benchmarks.judging import Cell, judge
from tamis.benchmarks.material import Material
from tamis.benchmarks.resident import added_since, start_watching
from tamis.detectors import DETECTORS
from tamis.errors import InputError

Row = dict[str, Cell]

DONE, REFUSED, FAILED = "done", "refused", "failed"
"""How a trial ended: with figures; the candidate refuses these data; anything else, and it is tried again."""


def run_trial(name: str, material: Material, *, own_process: bool = True) -> Row:
    """Run the candidate and return its figures.

    Returns
    -------
    dict
        ``outcome``; where it is "done" ``cpu`` (processor seconds of the arithmetic), ``added_mb`` (peak
        memory beyond the inputs, 10^6 bytes; only in a process of its own, where the system tells), and the
        figures of `judge`; else ``error``.
    """
    if not own_process or not _main_can_be_imported():
        return _run(name, material) | {"added_mb": None}
    context = multiprocessing.get_context("forkserver")
    # Loaded before a trial begins, so that no candidate pays for the imports of all.
    context.set_forkserver_preload(
        [__name__, "tamis.auditing", *(entry.target.__module__ for entry in DETECTORS)]
    )
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(name, material, sender))
    child.start()
    sender.close()
    try:
        row: Row = receiver.recv()
    except EOFError:
        child.join()
        row = {"outcome": FAILED, "error": f"the process ended with code {child.exitcode}"}
    except BaseException:
        child.terminate()
        child.join()
        raise
    finally:
        receiver.close()
    child.join()
    return row


def _main_can_be_imported() -> bool:
    # A program piped into the interpreter has a file name that does not exist; new processes look for it.
    file = getattr(sys.modules["__main__"], "__file__", None)
    return file is None or Path(file).exists()


def _send(name: str, material: Material, sender: connection.Connection) -> None:
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Candidates that start processes do it in their own usual way, not in the way this one was started.
    multiprocessing.set_start_method(None, force=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    sender.send(_run(name, material))
    sender.close()


def end_with_parent() -> None:
    """Wait for the parent's end, and end with it; for a thread of a child process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _run(name: str, material: Material) -> Row:
    try:
        run = candidate(name)
        start = start_watching()
        answer = run(material)
        added = added_since(start)
        figures = judge(answer, material)
    except InputError as error:
        return {"outcome": REFUSED, "error": str(error)}
    except Exception as error:
        # One candidate that fails must not take the table with it; its row says why.
        return {"outcome": FAILED, "error": f"{type(error).__name__}: {error}"}
    return {"outcome": DONE, **figures, "cpu": answer.seconds_cpu, "added_mb": added}
