"""The run folder of a training."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.auditing.run_folder import try_writing
from tamis.engine.records import write_records
from tamis.errors import InputError, RunError, TamisError
from tamis.reporting.curves import write_curves
from tamis.runs import atomic_path, read_json, write_json
from tamis.training.model import MODEL, TrainedModel
from tamis.training.pretrained_copy import keep_pretrained


def open_training_folder(folder: Path) -> Path:
    """Return a folder that a training may write to; nothing is made yet.

    Raises
    ------
    InputError
        It is a file, cannot be written, or holds anything but a training.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"out is {folder}, a file; give a folder for the run")
        if folder.is_dir() and any(folder.iterdir()) and not _is_training(folder):
            raise InputError(
                f"out is {folder}, a folder with other content; give a new folder or the run of a training"
            )
        try_writing(folder)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"out is {str(folder)[:200]!r}, which cannot be written ({str(error)[:200]}); give another folder"
        ) from error
    return folder


def _is_training(folder: Path) -> bool:
    if (folder / "run.json").exists():
        try:
            return read_json(folder / "run.json").get("command") == "train"
        except RunError:
            return (folder / "checkpoints").is_dir()
    # Killed while the first file was written.
    return all(_is_temporary(entry) for entry in folder.iterdir())


def _is_temporary(entry: Path) -> bool:
    return entry.is_file() and entry.name.startswith(".") and ".tmp" in entry.name


def finished_run(folder: Path, key: str, description: Mapping[str, object]) -> TrainedModel | None:
    """Return the model of a run that has finished; None where it has not begun or not finished.

    Raises
    ------
    RunError
        The folder holds a run of other data or settings.
    """
    if not (folder / "run.json").exists():
        return None
    try:
        found = read_json(folder / "run.json")
    except RunError:
        # Damaged; what the checkpoint says decides.
        return None
    if found.get("input_hash") != key:
        raise RunError(
            f"{folder} holds a training with other data or settings{_difference(found, description)}; give "
            "another folder, or remove this one"
        )
    if found.get("status") != "finished":
        return None
    try:
        return TrainedModel.load(folder)
    except (InputError, RunError):
        # A file is missing or damaged: made again from the last checkpoint.
        return None


def _difference(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    theirs, ours = _settings(found), _settings(wanted)
    silent = {"device", "processes", "source"}
    different = [
        f"{name} {theirs.get(name)!r} there and {ours[name]!r} now"
        for name in ours
        if name not in silent and theirs.get(name) != _plain(ours[name])
    ]
    return f" ({'; '.join(different[:3])})" if different else ""


def _settings(description: Mapping[str, object]) -> dict[str, object]:
    config = description.get("config")
    if not isinstance(config, dict):
        return {}
    found: dict[str, object] = {"seed": description.get("seed")}
    for name, value in config.items():
        if name in {"recipe", "params"} and isinstance(value, dict):
            found |= value
        else:
            found[name] = value
    return found


def _plain(value: object) -> object:
    """Return a value as it comes back from JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def under_way(folder: Path, description: Mapping[str, object]) -> Iterator[None]:
    """Say that a run is under way, before anything else is written.

    One that fails before its first checkpoint holds nothing worth keeping, and is taken away again: the
    same command with the argument put right may write to the same folder.
    """
    is_new = not (folder / "run.json").exists()
    write_json(folder / "run.json", dict(description) | {"status": "running"})
    try:
        yield
    except TamisError:
        if is_new and not (folder / "checkpoints").exists():
            _withdraw(folder)
        raise


def _withdraw(folder: Path) -> None:
    """Remove what a run writes before its first checkpoint; ``run.json``, which owns the rest, goes last."""
    for name in ("audit", "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("metrics.jsonl", "run.json"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()  # refuses a folder that is not empty


def write_results(
    model: TrainedModel, folder: Path, description: Mapping[str, object], best: Mapping[str, float]
) -> None:
    """Write the model, its verdict and the report; the ``run.json`` that says finished comes last."""
    keep_pretrained(model.spec, folder)
    model.save(folder / MODEL)
    if model.beliefs is not None:
        with atomic_path(folder / "beliefs.npy") as path:
            np.save(path, model.beliefs, allow_pickle=False)
    if model.scores is not None:
        with atomic_path(folder / "clean_scores.parquet") as path:
            pq.write_table(pa.table({"clean_score": model.scores}), path)
    history = model.history or []
    # Whole, and of this run alone: another one may have been started in the same folder.
    write_records(folder / "metrics.jsonl", history)
    if history:
        write_curves(folder / "curves.png", history)
    summary = None
    if model.verdict is not None:
        with atomic_path(folder / "issues.parquet") as path:
            pq.write_table(model.verdict.issues, path)
        model.write_report(folder / "report.html", description)
        summary = model.verdict.summary.to_json()
    write_json(
        folder / "run.json",
        dict(description)
        | {
            "status": "finished",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "epochs_trained": len(history),
            "best": dict(best),
            "summary": summary,
        },
    )
    for entry in list(folder.iterdir()):
        # Left by a run that was killed while it wrote.
        if _is_temporary(entry):
            with contextlib.suppress(OSError):
                entry.unlink()
