"""The detection benchmark: every trial of a configuration, once, with what is done kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tamis.benchmarks.arrays import find_array
from tamis.benchmarks.candidates import applicable, needs
from tamis.benchmarks.config import BenchConfig, DataConfig, NoiseConfig
from tamis.benchmarks.machine import machine
from tamis.benchmarks.material import Material, gather, offered_inputs
from tamis.benchmarks.planting import check_noise
from tamis.benchmarks.run_folder import (
    Bench,
    Claim,
    claim_folder,
    file_digest,
    finished_row,
    input_digests,
    remove_leftovers,
    trial_name,
)
from tamis.benchmarks.table import detection_table
from tamis.benchmarks.trial import Row, run_trial
from tamis.errors import InputError
from tamis.progress import track
from tamis.runs import versions, write_json, write_text


class Setting(NamedTuple):
    """One data set with one noise and one seed."""

    data: DataConfig
    noise: NoiseConfig | None
    seed: int


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
    inputs = input_digests(find_array(where).path for data in config.data for where in data.arrays())
    claim_folder(out, Claim(config.model_dump(mode="json"), config.digest(), inputs))
    rows: list[Row] = []
    with track("benchmark", len(plan), unit="trials") as advance:
        for setting, trials in groupby(plan, key=lambda trial: trial[0]):
            material: Material | None = None
            for _, name in trials:
                path = out / "trials" / f"{_key(setting, name)}.json"
                row = finished_row(path)
                if row is None:
                    material = gather(*setting) if material is None else material
                    row = _head(setting, name, material)
                    row |= run_trial(name, material, own_process=config.memory)
                    write_json(path, row)
                rows.append(row)
                advance(1)
    write_json(out / "results.json", {"rows": rows, "machine": machine(), "versions": versions()})
    write_text(out / "table.md", detection_table(config, rows))
    remove_leftovers(out)
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
    """Return the file name of a trial: it changes with everything the trial depends on."""
    noise = None if setting.noise is None else setting.noise.model_dump(mode="json")
    code = file_digest(Path(name.rpartition(":")[0])) if ".py:" in name else None
    text = json.dumps([setting.data.model_dump(mode="json"), noise, setting.seed, name, code], sort_keys=True)
    parts = [
        _short(name),
        setting.data.name,
        *([] if setting.noise is None else [setting.noise.name, f"seed{setting.seed}"]),
    ]
    return trial_name(parts, text)
