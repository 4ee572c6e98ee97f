"""The run folder of an audit: which folders may hold one, and what is written into it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tamis.auditing.result import Audit
from tamis.errors import InputError, RunError
from tamis.runs import atomic_path, read_json, versions, write_json

STAGES = "stages"
"""Folder of finished stages inside the run folder, there until the audit has finished."""


def open_run_folder(folder: Path) -> Path:
    """Return the folder, made if it does not exist.

    Raises
    ------
    InputError
        It is a file, or holds anything but the run of an audit.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out is {folder}, a file; give a folder for the run")
    if folder.is_dir() and any(folder.iterdir()) and not _is_run(folder):
        raise InputError(
            f"out is {folder}, a folder with other content; give a new folder or the run of an audit"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_run(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()}
    if "run.json" in names:
        try:
            return read_json(folder / "run.json").get("command") == "audit"
        except RunError:
            return True  # damaged: running the audit again is the way out
    # Killed before anything but stages was written.
    return STAGES in names or all(".tmp" in name for name in names)


def write_run(
    result: Audit,
    folder: Path,
    *,
    started: datetime,
    config: Mapping[str, object],
    input_hash: str,
    timings: Mapping[str, float],
) -> None:
    """Write the files of a run; the ``run.json`` that says finished comes last."""
    description: dict[str, object] = {
        "command": "audit",
        "status": "running",
        "config": dict(config),
        "seed": result.random_state,
        "versions": versions(),
        "input_hash": input_hash,
        "started": started.isoformat(timespec="seconds"),
    }
    write_json(folder / "run.json", description)
    with atomic_path(folder / "issues.parquet") as path:
        pq.write_table(result.issues, path)
    if result.neighbors is not None:
        with atomic_path(folder / "neighbors.npy") as path:
            np.save(path, result.neighbors, allow_pickle=False)
    else:
        # What an audit of other evidence left here is not part of this run.
        (folder / "neighbors.npy").unlink(missing_ok=True)
    result.report(folder / "report.html")
    description |= {
        "status": "finished",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "timings": dict(timings),
        "summary": result.summary.to_json(),
    }
    write_json(folder / "run.json", description)
