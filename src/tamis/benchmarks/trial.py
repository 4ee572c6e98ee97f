"""One trial: a candidate on a material, measured, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tamis.benchmarks.candidates import Answer, candidate
from tamis.benchmarks.material import Material
from tamis.errors import TamisError
from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import auroc, average_precision
from tamis.types import BoolArray

Cell: TypeAlias = str | int | float | bool | None


def run_trial(name: str, material: Material, *, own_process: bool = True) -> dict[str, Cell]:
    """Run the candidate and return its figures.

    ``cpu`` (seconds of the arithmetic), ``added_mb`` (peak memory beyond the inputs, 10^6 bytes; None
    where the system does not tell or the process is shared), and the scores of `judge`. A candidate that
    refuses the data gives one cell, ``error``.
    """
    if not own_process or not _main_can_be_imported():
        return _run(name, material) | {"added_mb": None}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tamis.benchmarks.trial", "tamis.auditing"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(name, material, sender))
    child.start()
    sender.close()
    try:
        row: dict[str, Cell] = receiver.recv()
    except EOFError:
        child.join()
        row = {"error": f"the process ended with code {child.exitcode}"}
    except BaseException:
        child.terminate()
        raise
    child.join()
    return row


def _main_can_be_imported() -> bool:
    # A program piped into the interpreter has a file name that does not exist; new processes look for it.
    file = getattr(sys.modules["__main__"], "__file__", None)
    return file is None or Path(file).exists()


def judge(answer: Answer, material: Material) -> dict[str, Cell]:
    """Return the figures of an answer: AP, AUROC, precision, recall and F1 at the flag, ECE, accuracy.

    ``ece`` only where all scores lie in [0, 1]: the error made by reading them as P(the label is right).
    ``suggested_right`` is the share of suggested labels that are true, over rows whose truth is known.
    """
    scores, is_wrong = answer.clean_scores, material.is_wrong
    known = np.ones(len(scores), dtype=np.bool_)
    if answer.given is not None and material.truth is not None:
        is_wrong, known = answer.given != material.truth, material.truth >= 0
    assert is_wrong is not None  # a material without answers always says what is wrong
    scores, is_wrong = scores[known], is_wrong[known]
    row: dict[str, Cell] = {"rows": len(scores), "realised_rate": float(is_wrong.mean())}
    if is_wrong.any():
        row["ap"] = average_precision(scores, is_wrong)
    if is_wrong.any() and not is_wrong.all():
        row["auroc"] = auroc(scores, is_wrong)
    if answer.is_issue is not None:
        row |= _at_the_flag(answer.is_issue[known], is_wrong)
    if scores.min(initial=0.0) >= 0 and scores.max(initial=1.0) <= 1:
        row["ece"] = expected_calibration_error(scores, ~is_wrong)
    if answer.suggested is not None and material.truth is not None:
        row["suggested_right"] = float((answer.suggested == material.truth)[known].mean())
    return row


def _at_the_flag(is_issue: BoolArray, is_wrong: BoolArray) -> dict[str, Cell]:
    hits = int((is_issue & is_wrong).sum())
    precision = hits / is_issue.sum() if is_issue.any() else None
    recall = hits / is_wrong.sum() if is_wrong.any() else None
    f1 = 2 * hits / (is_issue.sum() + is_wrong.sum()) if is_issue.any() or is_wrong.any() else None
    figures: Mapping[str, float | None] = {"precision": precision, "recall": recall, "f1": f1}
    return {key: None if value is None else float(value) for key, value in figures.items()}


def _send(name: str, material: Material, sender: Connection) -> None:
    sender.send(_run(name, material))
    sender.close()


def _run(name: str, material: Material) -> dict[str, Cell]:
    before = _resident_mb()
    _forget_peak()
    try:
        answer = candidate(name)(material)
    except TamisError as error:
        return {"error": str(error)}
    peak = _peak_mb()
    row = judge(answer, material)
    added = None if peak is None or before is None else max(0.0, peak - before)
    return row | {"cpu": answer.seconds_cpu, "added_mb": added}


def _forget_peak() -> None:
    # Linux: 5 resets the peak of resident memory; elsewhere, or where it is forbidden, there is none.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_mb(key: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def _resident_mb() -> float | None:
    return _status_mb("VmRSS:")


def _peak_mb() -> float | None:
    found = _status_mb("VmHWM:")
    if found is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return found
