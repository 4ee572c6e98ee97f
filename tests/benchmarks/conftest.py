"""Small arrays and the configurations that name them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Write = Callable[..., Path]


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Return a folder with blobs of three classes and the answers of a small crowd."""
    rng = np.random.default_rng(0)
    truth = np.arange(150) % 3
    features = (4 * rng.normal(size=(3, 6))[truth] + rng.normal(size=(150, 6))).astype(np.float32)
    labels = truth.copy()
    labels[:15] = (labels[:15] + 1) % 3
    probs = rng.dirichlet(np.ones(3), 150) * 0.5 + 0.5 * np.eye(3)[truth]
    task = np.repeat(np.arange(1, 41), 4)  # nobody answered about task 0
    known = np.where(np.arange(42) % 10 == 9, -1, np.arange(42) % 3)
    skill = np.array([0.9, 0.8, 0.7, 0.5])
    worker = np.tile(np.arange(4), 40)
    hit = rng.random(160) < skill[worker]
    label = np.where(hit, task % 3, rng.integers(0, 3, 160))
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "X.npy", features)
    np.savez(folder / "y.npz", labels=labels, truth=truth, is_wrong=labels != truth, probs=probs)
    np.savez(folder / "crowd.npz", task=task, worker=worker, label=label, truth=known)
    return folder


@pytest.fixture
def write(arrays: Path) -> Write:
    """Return a function that writes a TOML configuration beside the arrays."""

    def to_toml(data: list[dict[str, object]], name: str = "bench.toml", **top: object) -> Path:
        # Numbers, texts and lists of them look the same in JSON and TOML.
        noise = top.pop("noise", [])
        lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
        for heading, tables in (("data", data), ("noise", noise)):
            for table in tables:
                lines += [f"[[{heading}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        path = arrays / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return to_toml


GIVEN = {"name": "toy", "features": "X.npy", "labels": "y.npz:labels", "truth": "y.npz:truth"}
PLANTED = {"name": "planted", "features": "X.npy", "truth": "y.npz:truth"}
CROWD = {"name": "crowd", "answers": "crowd.npz", "truth": "crowd.npz:truth"}
SYMMETRIC = {"model": "symmetric", "rate": 0.2}
