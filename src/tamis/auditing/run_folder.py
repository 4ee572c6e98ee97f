"""The run folder of an audit: which folders may hold one, and what is written into it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tamis.auditing.result import TABLES, Audit
from tamis.errors import InputError, RunError
from tamis.runs import atomic_path, read_json, versions, write_json

STAGES = "stages"
"""Folder of finished stages inside the run folder, there until the audit has finished."""


def open_run_folder(folder: Path) -> Path:
    """Return the folder if a run can be written there; nothing is left behind if it did not exist.

    Raises
    ------
    InputError
        It is a file, cannot be written, or holds anything but the run of an audit.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"out is {folder}, a file; give a folder for the run")
        if folder.is_dir() and any(folder.iterdir()) and not _is_run(folder):
            raise InputError(
                f"out is {folder}, a folder with other content; give a new folder or the run of an audit"
            )
        try_writing(folder)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"out is {str(folder)[:200]!r}, which cannot be written ({str(error)[:200]}); give another folder"
        ) from error
    return folder


def try_writing(folder: Path) -> None:
    """Write a nameless file, so that long work does not fail at its end; raises `OSError`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    finally:
        # Made again by the first write; wrong input must not leave an empty folder.
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def _is_run(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()}
    if not _is_ours(folder / STAGES):
        return False
    if "run.json" in names:
        try:
            return read_json(folder / "run.json").get("command") == "audit"
        except RunError:
            # Damaged: running the audit again is the way out.
            return "issues.parquet" in names
    # Killed before anything but stages was written.
    return all(name == STAGES or _is_temporary(name) for name in names)


def _is_ours(stages: Path) -> bool:
    """Whether a folder of stages, which will be removed, holds nothing else (or does not exist)."""
    if not stages.is_dir():
        return not stages.exists()
    files = [file for key in stages.iterdir() for file in (key.iterdir() if key.is_dir() else [key])]
    return all(file.suffix == ".npy" and file.parent != stages for file in files)


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and ".tmp" in name


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
    for name in TABLES:
        table, target = getattr(result, name), folder / f"{name}.parquet"
        if table is None:
            target.unlink(missing_ok=True)
            continue
        with atomic_path(target) as path:
            pq.write_table(table, path)
    result.report(folder / "report.html")
    description |= {
        "status": "finished",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "timings": dict(timings),
        "summary": result.summary.to_json(),
    }
    write_json(folder / "run.json", description)
    for entry in list(folder.iterdir()):
        # Left by a run that was killed while it wrote.
        if _is_temporary(entry.name) and entry.is_file():
            entry.unlink(missing_ok=True)


def source_path(data: object) -> str:
    """Return where audited data come from, for the record of the run: "" where they are no path."""
    if not isinstance(data, str | os.PathLike):
        return ""
    path = Path(data)
    # What cannot even be looked up, such as a name too long, is refused by the reader in its own words.
    with contextlib.suppress(OSError):
        if path.exists():
            return str(path.resolve())
    return str(data)
