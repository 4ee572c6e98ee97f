"""A finished audit or training, read back from its run folder for an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import InputError, RunError
from tamis.issues.schema import WITH_ISSUES
from tamis.runs import read_json

NEEDED_COLUMNS = ("id", "given_label", "suggested_label", "label_score", "is_label_issue", "is_assessed")


@dataclass(frozen=True)
class FinishedAudit:
    """What an export needs of an audit.

    Attributes
    ----------
    folder : Path
        The run folder.
    issues : pyarrow.Table
        The issue table, one row a sample in data-set order.
    source : Path or None
        Where the data came from, if that still exists.
    read_options : mapping of str to object
        The options the source was read with.
    class_names : tuple of str or int
        In code order; empty if the run does not say.
    """

    folder: Path
    issues: pa.Table
    source: Path | None
    read_options: Mapping[str, object]
    class_names: tuple[str | int, ...]


def read_finished(run: Path) -> FinishedAudit:
    """Read the run folder of a finished audit or training.

    Raises
    ------
    InputError
        If the folder is not the run of an audit or a training.
    RunError
        If the run has not finished or its files are damaged.
    """
    if not (run / "run.json").is_file():
        raise InputError(
            f"{run} holds no run.json; give the folder that `tamis audit` or `tamis train` printed as its run"
        )
    description = read_json(run / "run.json")
    command = description.get("command")
    if command not in WITH_ISSUES:
        raise InputError(
            f"{run} is the run of {command!r}; only the run of an audit or a training can be exported"
        )
    if description.get("status") != "finished":
        raise RunError(
            f"the run in {run} has not finished (status {description.get('status')!r}); "
            f"run the same `tamis {command}` command again to continue it"
        )
    issues = _read_issues(run / "issues.parquet")
    return FinishedAudit(
        folder=run,
        issues=issues,
        source=_existing_source(description),
        read_options=_mapping(_mapping(description.get("config")).get("read_options")),
        class_names=_class_names(description),
    )


def _read_issues(path: Path) -> pa.Table:
    advice = "run the same command again to rebuild it"
    try:
        issues = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path} cannot be read ({error}); {advice}") from error
    missing = [name for name in NEEDED_COLUMNS if name not in issues.column_names]
    if missing:
        raise RunError(f"{path} lacks the columns {missing}; {advice}")
    return issues


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _existing_source(description: Mapping[str, object]) -> Path | None:
    source = _mapping(description.get("config")).get("source")
    if not isinstance(source, str) or not source:
        return None
    try:
        path = Path(source)
        return path if path.exists() else None
    except (OSError, ValueError):
        # A description in words can be too long for a path, or hold a null character.
        return None


def _class_names(description: Mapping[str, object]) -> tuple[str | int, ...]:
    names = _mapping(description.get("summary")).get("class_names")
    return tuple(names) if isinstance(names, list) else ()
