"""Trials of a run folder: what is done is kept, what is due is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import NamedTuple, TypeVar

from tamis.benchmarks.outcomes import Result
from tamis.benchmarks.run_folder import Claim, claim_folder, finished_row
from tamis.benchmarks.trial import Row
from tamis.runs import write_json

T = TypeVar("T")


class TrialFolder(NamedTuple):
    """The run folder, and the rows that it holds so far, by the names of their trials."""

    out: Path
    done: dict[str, Row]

    def keep(self, name: str, result: Result) -> Row:
        """Write a trial's file; return its row, without curves."""
        write_json(self.out / "trials" / f"{name}.json", result)
        row = {key: value for key, value in result.items() if not isinstance(value, dict)}
        self.done[name] = row
        return row


def open_folder(out: Path, claim: Claim) -> TrialFolder:
    """Take a folder for a benchmark and look what is done; `tamis.benchmarks.run_folder.claim_folder`."""
    claim_folder(out, claim)
    rows = {path.stem: finished_row(path) for path in (out / "trials").glob("*.json")}
    return TrialFolder(out, {name: row for name, row in rows.items() if row is not None})


def run_due(
    folder: TrialFolder,
    due: Callable[[], Iterable[tuple[str, T]]],
    submit: Callable[[T], Future[Result]],
    n_at_once: int,
) -> Iterator[Row]:
    """Run what is due until nothing is; yield the row of every trial that ends.

    Parameters
    ----------
    folder : TrialFolder
    due : callable
        Returns trials by name, of which some may be done; asked again after every trial.
    submit : callable
        Starts a trial.
    n_at_once : int
    """
    pending: dict[Future[Result], str] = {}
    tried = set(folder.done)
    while True:
        for name, trial in due():
            if len(pending) >= n_at_once:
                break
            if name not in tried:
                tried.add(name)
                pending[submit(trial)] = name
        if not pending:
            return
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            yield folder.keep(pending.pop(future), future.result())
