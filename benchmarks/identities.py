"""Ranking members that do not belong: Omniglot characters and Tiny-ImageNet classes as identities.

Settings were fixed on the first half of each set (alphabets 0-3, classes 0-49); both halves are shown.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from results import Column, Report
from sklearn.metrics import average_precision_score
from sources import shared_file

import tamis
from tamis.encoders import encode

Rows = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
SETS = ("omniglot pixels", "omniglot encoder", "tiny-imagenet encoder")
COLUMNS = (
    Column("data", "data"),
    Column("half", "half"),
    Column("members", "members"),
    Column("noise", "noise"),
    *(Column(name, name.replace("_", " "), ".1f") for name in ("raw_centroid", "centred_unit", "average")),
    *(Column(name, name.replace("_", " "), ".1f") for name in ("vmf", "neighbours", "audit", "spread")),
    Column("least_lead", "least lead of the audit over centred unit", "+.1f"),
    Column("expected", "expected wrong %", ".1f"),
    Column("wrong", "wrong %", ".1f"),
)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/identities"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--halves", nargs="+", default=["settings", "unchanged"])
    options = parser.parse_args()
    report = Report("identities", options.out)
    for name in SETS:
        features, codes, is_second = _load(name, options.cache)
        for half in options.halves:
            mine = is_second == (half == "unchanged")
            for members in (0, 15):
                x, y = _taken(features[mine], codes[mine], members)
                for noise in ("symmetric 20 %", "small-cluster 25 %"):
                    trials = [_trial(x, y, noise, seed) for seed in range(options.seeds)]
                    row = {key: float(np.mean([each[key] for each in trials])) for key in trials[0]}
                    row["spread"] = float(np.std([each["audit"] for each in trials]))
                    row["least_lead"] = min(each["audit"] - each["centred_unit"] for each in trials)
                    named = {"data": name, "half": half, "members": members or int(np.bincount(y).max())}
                    report.add(named | {"noise": noise} | row)
    report.show(COLUMNS)


def _trial(x: Rows, y: Codes, noise: str, seed: int) -> dict[str, float]:
    if noise.startswith("symmetric"):
        noisy = tamis.noise.symmetric(
            y, rate=0.2, n_classes=int(y.max()) + 1, convention="exclude_true", random_state=seed
        )
    else:
        noisy = tamis.noise.small_cluster(y, _unit(x), rate=0.25, random_state=seed)
    given, is_wrong = noisy.labels.astype(np.int64), noisy.is_wrong
    found = tamis.audit(features=x, labels=given, task="retrieval").to_pandas()
    centred = _unit(x - x.mean(axis=0))
    scores = {
        "raw_centroid": np.linalg.norm(x - _sums(x, given)[given] / np.bincount(given)[given, None], axis=1),
        "centred_unit": -(centred * _unit(_sums(centred, given))[given]).sum(axis=1),
        "average": -found["average_similarity"],
        "vmf": -found["vmf_similarity"],
        "neighbours": -found["neighbor_share"],
        "audit": -found["rank"],
    }
    scores = {name: np.where(np.isnan(each), -np.inf, each) for name, each in scores.items()}
    lowest = {name: np.maximum(each, -1e9) for name, each in scores.items()}
    result = {name: 100 * float(average_precision_score(is_wrong, each)) for name, each in lowest.items()}
    return result | {
        "expected": 100 * float((1 - found["label_score"]).mean()),
        "wrong": 100 * float(is_wrong.mean()),
    }


def _sums(x: Rows, codes: Codes) -> Rows:
    sums = np.zeros((int(codes.max()) + 1, x.shape[1]))
    np.add.at(sums, codes, x)
    return sums


def _unit(x: Rows) -> Rows:
    unit: Rows = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


def _taken(x: Rows, y: Codes, members: int) -> tuple[Rows, Codes]:
    """Return the first ``members`` of every class (0 = all), classes numbered from 0."""
    order = np.argsort(y, kind="stable")
    place = np.empty(len(y), dtype=np.int64)
    place[order] = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    kept = place < (members or len(y))
    return x[kept], np.unique(y[kept], return_inverse=True)[1].astype(np.int64)


def _load(name: str, cache: Path) -> tuple[Rows, Codes, npt.NDArray[np.bool_]]:
    if name.startswith("omniglot"):
        data = np.load(shared_file("omniglot_small.npz"), allow_pickle=False)
        codes, is_second = data["character"].astype(np.int64), data["alphabet"] >= 4
        if name.endswith("pixels"):
            return _principal(data["images"].reshape(len(codes), -1).astype(np.float64)), codes, is_second
        ink = np.unpackbits(data["ink_packed"], axis=1, count=105 * 105).reshape(-1, 105, 105)
        return _encoded(name, cache, lambda: [_png(255 * (1 - each)) for each in ink]), codes, is_second
    table = pq.read_table(shared_file("tinyimagenet32_a.parquet")).to_pandas()
    table = table[table["split"] == "train"].groupby("label").head(100)
    codes = table["label"].to_numpy().astype(np.int64)
    return _encoded(name, cache, lambda: table["image"].tolist()), codes, codes >= 50


def _principal(x: Rows, dimensions: int = 128) -> Rows:
    centred = x - x.mean(axis=0)
    vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dimensions]
    found: Rows = centred @ vectors
    return found


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _encoded(name: str, cache: Path, images: Callable[[], list[bytes]]) -> Rows:
    path = cache / f"{name.replace(' ', '-')}.npy"
    if not path.exists():
        frame = pd.DataFrame({"image": images()})
        frame["label"] = "none"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, encode(tamis.read(frame)).features, allow_pickle=False)
    found: Rows = np.load(path, allow_pickle=False).astype(np.float64)
    return found


if __name__ == "__main__":
    main()
