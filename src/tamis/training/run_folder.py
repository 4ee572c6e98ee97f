"""The run folder of a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import InputError, RunError
from tamis.runs import atomic_path, read_json, write_json
from tamis.training.model import MODEL, TrainedModel

_OWN = frozenset(
    {
        MODEL,
        "run.json",
        "metrics.jsonl",
        "checkpoints",
        "audit",
        "tensorboard",
        "beliefs.npy",
        "issues.parquet",
    }
)


def open_training_folder(folder: Path) -> Path:
    """Return a folder that a training may write to.

    Raises
    ------
    InputError
        It is a file, or holds anything but a training.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out is {folder}, a file; give a folder for the run")
    if folder.is_dir() and any(folder.iterdir()) and not _is_training(folder):
        raise InputError(
            f"out is {folder}, a folder with other content; give a new folder or the run of a training"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out is {folder}, which cannot be made ({error}); give another folder") from error
    return folder


def _is_training(folder: Path) -> bool:
    if (folder / "run.json").exists():
        try:
            return read_json(folder / "run.json").get("command") == "train"
        except RunError:
            return (folder / "checkpoints").is_dir()
    return all(entry.name in _OWN or entry.name.startswith(".") for entry in folder.iterdir())


def run_key(*parts: object) -> str:
    """Return a hash of everything that makes a run what it is."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def write_results(model: TrainedModel, folder: Path, description: Mapping[str, object]) -> None:
    """Write the model, its verdict and the report; the ``run.json`` that says finished comes last."""
    model.save(folder / MODEL)
    if model.beliefs is not None and model.scores is not None:
        with atomic_path(folder / "beliefs.npy") as path:
            np.save(path, model.beliefs, allow_pickle=False)
        with atomic_path(folder / "clean_scores.parquet") as path:
            pq.write_table(pa.table({"clean_score": model.scores}), path)
    summary = None
    if model.verdict is not None:
        with atomic_path(folder / "issues.parquet") as path:
            pq.write_table(model.verdict.issues, path)
        model.verdict.report(folder / "report.html")
        summary = model.verdict.summary.to_json()
    write_json(folder / "run.json", dict(description) | {"status": "finished", "summary": summary})
