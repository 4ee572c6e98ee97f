"""The run folder of a benchmark: whose it is, and the trials that are done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tamis.benchmarks.machine import machine
from tamis.benchmarks.trial import FAILED, Row
from tamis.errors import InputError, RunError
from tamis.runs import read_json, versions, write_json

_FORMAT = 1
_CONTENT = {"run.json", "results.json", "table.md", "trials", "audits"}


class Bench(NamedTuple):
    """What a finished benchmark leaves.

    Attributes
    ----------
    rows : list of mapping
        One a trial, in the order of the configuration.
    folder : Path
        Holds ``results.json``, ``table.md``, ``run.json`` and the folder ``trials``.
    """

    rows: list[Row]
    folder: Path


class Claim(NamedTuple):
    """What a folder is claimed for.

    Attributes
    ----------
    config : mapping
        Ready for JSON.
    digest : str
        Of the configuration.
    inputs : mapping of path to digest
    may_grow : bool
        Whether another configuration may go on in the folder: its trials stand beside the old ones.
    """

    config: Mapping[str, object]
    digest: str
    inputs: Mapping[str, str]
    may_grow: bool = False


def claim_folder(out: Path, claim: Claim) -> None:
    """Take a folder for a benchmark, or find that it is this benchmark's already.

    Raises
    ------
    InputError
        ``out`` is a file or holds something else.
    RunError
        It holds the benchmark of another configuration or of other arrays.
    """
    content = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    path = out / "run.json"
    if out.exists() and not out.is_dir():
        raise InputError(f"--out is {out}, a file; pass a folder")
    if any(not _is_own(name) for name in content):
        raise InputError(
            f"--out is {out}, a folder with other content; pass a new folder or that of a benchmark"
        )
    found: dict[str, object] = {}
    with suppress(RunError):  # damaged: written anew
        found = read_json(path) if path.exists() else {}
    if found and found.get("command") != "bench":
        raise InputError(f"--out is {out}, the run of another command; pass a new folder")
    is_same = found.get("config_digest") == claim.digest
    if found and not is_same and not (claim.may_grow and _task(found) == claim.config.get("task")):
        raise RunError(f"{out} holds the benchmark of another configuration; pass another folder with --out")
    _refuse_changed(out, found.get("inputs"), claim)
    if not found or not is_same:
        write_json(
            path,
            {
                "command": "bench",
                "format": _FORMAT,
                "config": claim.config,
                "config_digest": claim.digest,
                "inputs": claim.inputs,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine(),
                "versions": versions(),
            },
        )


def input_digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return a digest of every file."""
    return {str(path): file_digest(path) for path in sorted(set(paths))}


def file_digest(path: Path) -> str:
    """Return 32 hexadecimal digits of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def trial_name(parts: Sequence[str], text: str) -> str:
    """Return a file name that a person can read, made unique by a hash of ``text``.

    Examples
    --------
    >>> trial_name(["gce", "CIFAR-10N worse"], "everything it depends on")
    'gce-CIFAR_10N_worse-...'
    """
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:40] for part in parts)
    return f"{readable}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def finished_row(path: Path) -> Row | None:
    """Return the figures of a trial that needs no repetition; None where there are none yet."""
    if not path.exists():
        return None
    try:
        row = read_json(path)
    except RunError:
        return None
    if row.get("outcome", FAILED) == FAILED or "candidate" not in row:
        return None
    # Written by `write_json` from cells; curves of a training stand beside them.
    return {key: value for key, value in row.items() if value is None or isinstance(value, str | int | float)}


def remove_leftovers(out: Path) -> None:
    """Remove what a run that was killed while writing has left."""
    for left in (*out.glob(".*.tmp.*"), *out.glob("trials/.*.tmp.*")):
        left.unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    return name in _CONTENT or name.startswith(".") or (name.startswith("curves-") and name.endswith(".png"))


def _task(found: Mapping[str, object]) -> object:
    config = found.get("config")
    return config.get("task") if isinstance(config, Mapping) else None


def _refuse_changed(out: Path, known: object, claim: Claim) -> None:
    if not isinstance(known, Mapping):
        return
    shared = known.keys() & claim.inputs.keys()
    if (not claim.may_grow and known != claim.inputs) or any(known[k] != claim.inputs[k] for k in shared):
        raise RunError(
            f"{out} holds a benchmark of arrays that have changed since; pass another folder with --out"
        )
