"""The detection benchmark: every trial of a configuration, once, with what is done kept on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tamis.benchmarks.arrays import find_array
from tamis.benchmarks.candidates import applicable, needs
from tamis.benchmarks.config import BenchConfig, DataConfig, NoiseConfig
from tamis.benchmarks.machine import machine
from tamis.benchmarks.material import Material, gather, offered_inputs
from tamis.benchmarks.planting import check_noise
from tamis.benchmarks.table import detection_table
from tamis.benchmarks.trial import FAILED, Row, run_trial
from tamis.errors import InputError, RunError
from tamis.progress import track
from tamis.runs import read_json, versions, write_json, write_text

_FORMAT = 1
_CONTENT = {"run.json", "results.json", "table.md", "trials"}


class Setting(NamedTuple):
    """One data set with one noise and one seed."""

    data: DataConfig
    noise: NoiseConfig | None
    seed: int


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


def settings(config: BenchConfig) -> Iterator[Setting]:
    """Yield every data set with every noise and seed; data with labels of their own come once."""
    for data in config.data:
        if not data.is_planted:
            yield Setting(data, None, config.seeds[0])
            continue
        for noise in config.noise:
            for seed in config.seeds:
                yield Setting(data, noise, seed)


def run_detection(config: BenchConfig, out: Path) -> Bench:
    """Run every trial that the folder does not hold yet; write the table.

    An interrupted benchmark continues: each finished trial is on disk, by itself. A trial whose candidate
    refuses the data is kept with the reason; one that failed in another way, or whose file is damaged, is
    repeated. Delete a file in ``trials`` to have its trial run again.

    Parameters
    ----------
    config : BenchConfig
    out : Path
        Run folder; made when missing.

    Raises
    ------
    InputError
        If a data set, a noise model, a detector or a peer cannot be used, or ``out`` holds something else.
    RunError
        If the folder holds the benchmark of another configuration or of other data.
    """
    plan = _plan(config)
    _claim(out, config)
    rows: list[Row] = []
    with track("benchmark", len(plan), unit="trials") as advance:
        for setting, trials in groupby(plan, key=lambda trial: trial[0]):
            material: Material | None = None
            for _, name in trials:
                path = out / "trials" / f"{_key(setting, name)}.json"
                row = _finished(path)
                if row is None:
                    material = gather(*setting) if material is None else material
                    row = _head(setting, name, material)
                    row |= run_trial(name, material, own_process=config.memory)
                    write_json(path, row)
                rows.append(row)
                advance(1)
    write_json(out / "results.json", {"rows": rows, "machine": machine(), "versions": versions()})
    write_text(out / "table.md", detection_table(config, rows))
    for left in (*out.glob(".*.tmp.*"), *out.glob("trials/.*.tmp.*")):
        left.unlink(missing_ok=True)  # of a run that was killed while writing
    return Bench(rows, out)


def _plan(config: BenchConfig) -> list[tuple[Setting, str]]:
    """Return every trial, after looking that everything named is there."""
    for noise in config.noise:
        check_noise(noise)
    for data in config.data:
        for where in data.arrays():
            find_array(where)
    wanted = (*config.detectors, *config.peers)
    plan = [
        (setting, name)
        for setting in settings(config)
        for name in applicable(offered_inputs(setting.data), wanted)
    ]
    run = {name for _, name in plan}
    for name in wanted:
        if name != "all" and name not in run:
            raise InputError(f"no data set has what {name!r} takes: {', '.join(needs(name))}; leave it out")
    return plan


def _claim(out: Path, config: BenchConfig) -> None:
    content = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    path = out / "run.json"
    if out.exists() and not out.is_dir():
        raise InputError(f"--out is {out}, a file; pass a folder")
    if any(name not in _CONTENT and not name.startswith(".") for name in content):
        raise InputError(
            f"--out is {out}, a folder with other content; pass a new folder or that of a benchmark"
        )
    inputs = _input_digests(config)
    found: dict[str, object] = {}
    with suppress(RunError):  # damaged: written anew
        found = read_json(path) if path.exists() else {}
    if found and found.get("command") != "bench":
        raise InputError(f"--out is {out}, the run of another command; pass a new folder")
    if found and found.get("config_digest") != config.digest():
        raise RunError(f"{out} holds the benchmark of another configuration; pass another folder with --out")
    if found and found.get("inputs") != inputs:
        raise RunError(
            f"{out} holds a benchmark of arrays that have changed since; pass another folder with --out"
        )
    if not found:
        write_json(
            path,
            {
                "command": "bench",
                "format": _FORMAT,
                "config": config.model_dump(mode="json"),
                "config_digest": config.digest(),
                "inputs": inputs,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine(),
                "versions": versions(),
            },
        )


def _input_digests(config: BenchConfig) -> dict[str, str]:
    paths = sorted({find_array(where).path for data in config.data for where in data.arrays()})
    return {str(path): _file_digest(path) for path in paths}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _head(setting: Setting, name: str, material: Material) -> Row:
    planted = material.planted
    return {
        "data": setting.data.name,
        "noise": None if setting.noise is None else setting.noise.name,
        "seed": setting.seed,
        "candidate": _short(name),
        "is_peer": ".py:" in name,
        "rows": int(material.is_known.sum()),
        "nominal_rate": None if planted is None else planted.nominal_rate,
        "realised_rate": material.realised_rate,
        "digest": None if planted is None else planted.digest,
    }


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _key(setting: Setting, name: str) -> str:
    """Return a file name that a person can read, made unique by a hash of everything the trial depends on."""
    noise = None if setting.noise is None else setting.noise.model_dump(mode="json")
    code = _file_digest(Path(name.rpartition(":")[0])) if ".py:" in name else None
    text = json.dumps([setting.data.model_dump(mode="json"), noise, setting.seed, name, code], sort_keys=True)
    parts: Sequence[str] = [
        _short(name),
        setting.data.name,
        *([] if setting.noise is None else [setting.noise.name, f"seed{setting.seed}"]),
    ]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:40] for part in parts)
    return f"{readable}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def _finished(path: Path) -> Row | None:
    """Return the row of a trial that needs no repetition."""
    if not path.exists():
        return None
    try:
        row = read_json(path)
    except RunError:
        return None
    if row.get("outcome", FAILED) == FAILED or "candidate" not in row:
        return None
    # Written by `write_json` from cells only.
    return {key: value for key, value in row.items() if value is None or isinstance(value, str | int | float)}
