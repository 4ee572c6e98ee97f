"""The detection benchmark: every trial of a configuration, once, with what is done kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tamis.benchmarks.candidates import candidate, candidates
from tamis.benchmarks.config import BenchConfig, DataConfig, NoiseConfig
from tamis.benchmarks.machine import machine
from tamis.benchmarks.material import Material, gather
from tamis.benchmarks.table import write_tables
from tamis.benchmarks.trial import Cell, run_trial
from tamis.errors import InputError, RunError
from tamis.progress import track
from tamis.runs import read_json, versions, write_json

_FORMAT = 1


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
        Holds ``results.json``, ``table.md`` and ``run.json``.
    """

    rows: list[dict[str, Cell]]
    folder: Path


def settings(config: BenchConfig) -> Iterator[Setting]:
    """Yield every data set with every noise and seed; data with labels of their own come once."""
    for data in config.data:
        if data.answers is not None or data.labels is not None:
            yield Setting(data, None, config.seeds[0])
            continue
        for noise in config.noise:
            for seed in config.seeds:
                yield Setting(data, noise, seed)


def run_detection(config: BenchConfig, out: Path) -> Bench:
    """Run every trial that the folder does not hold yet; write the table.

    An interrupted benchmark continues: each finished trial is on disk, by itself. A trial whose candidate
    refuses the data is kept with its error and not repeated.

    Parameters
    ----------
    config : BenchConfig
    out : Path
        Run folder; made when missing.

    Raises
    ------
    InputError
        If a data set, a noise model or a peer cannot be used.
    RunError
        If the folder holds the run of another configuration.
    """
    _check(config)
    trials = out / "trials"
    _claim(out, config)
    plan = list(settings(config))
    rows: list[dict[str, Cell]] = []
    with track("benchmark", len(plan), unit="settings") as advance:
        for setting in plan:
            rows += _run_setting(config, setting, trials)
            advance(1)
    write_json(out / "results.json", {"rows": rows, "machine": machine(), "versions": versions()})
    write_tables(out, config, rows)
    return Bench(rows, out)


def _check(config: BenchConfig) -> None:
    for name in config.detectors:
        candidates(frozenset(), (name,))
    for peer in config.peers:
        if ".py:" not in peer:
            raise InputError(f"peer {peer!r} must be written file.py:function")
        candidate(peer)


def _claim(out: Path, config: BenchConfig) -> None:
    path = out / "run.json"
    if path.exists() and read_json(path).get("config_digest") != config.digest():
        raise RunError(f"{out} holds the benchmark of another configuration; pass another folder with --out")
    if not path.exists():
        write_json(
            path,
            {
                "command": "bench",
                "format": _FORMAT,
                "config": config.model_dump(mode="json"),
                "config_digest": config.digest(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine(),
                "versions": versions(),
            },
        )


def _run_setting(config: BenchConfig, setting: Setting, trials: Path) -> list[dict[str, Cell]]:
    inputs = _inputs(setting.data)
    names: Sequence[str] = [*candidates(inputs, config.detectors), *config.peers]
    paths = {name: trials / f"{_key(setting, name)}.json" for name in names}
    material: Material | None = None
    rows = []
    for name in names:
        if not paths[name].exists():
            material = gather(*setting) if material is None else material
            row = _head(setting, name, material) | run_trial(name, material, own_process=config.memory)
            write_json(paths[name], row)
        rows.append(_row(paths[name]))
    return rows


def _inputs(data: DataConfig) -> frozenset[str]:
    names = {name for name in ("features", "second_features", "pred_probs") if getattr(data, name)}
    if data.answers is not None:
        return frozenset(names | {"answers"})
    return frozenset(names | {"pred_probs", "losses"})


def _head(setting: Setting, name: str, material: Material) -> dict[str, Cell]:
    return {
        "data": setting.data.name,
        "noise": None if setting.noise is None else setting.noise.name,
        "seed": None if setting.noise is None else setting.seed,
        "candidate": name.rpartition(":")[2],
        "is_peer": ".py:" in name,
        "nominal_rate": material.nominal_rate,
        "digest": material.digest,
    }


def _key(setting: Setting, name: str) -> str:
    noise = None if setting.noise is None else setting.noise.model_dump(mode="json")
    text = json.dumps([setting.data.model_dump(mode="json"), noise, setting.seed, name], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _row(path: Path) -> dict[str, Cell]:
    # Written by `write_json` from cells only.
    return {key: value for key, value in read_json(path).items() if isinstance(value, Cell | None)}
