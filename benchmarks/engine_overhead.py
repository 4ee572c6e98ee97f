"""What the engine costs beside a bare loop of the same training step.

    OMP_NUM_THREADS=2 python benchmarks/engine_overhead.py --out runs/bench/engine_overhead.json

Both train the small network on 32x32x3 images in batches of 128, cropped and mirrored: once through
`tamis.engine`, once in a loop written by hand that takes the same batches, augments them with the same
function and makes the same step. They take turns, a piece at a time, so that what else the machine does hits
both; the figure is processor time. Weights are compared at the end: equal to the last bit, both did the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from results import Column, Report
from torch.nn.functional import cross_entropy

from tamis.backbones import build_backbone
from tamis.backbones.classifier import Classifier
from tamis.engine import Feeder, ResidentExamples, Training, make_fabric
from tamis.methods import METHODS, Material, Recipe
from tamis.samplers import shuffled
from tamis.training.views import Views

BATCH = 128
N_CLASSES = 10
COLUMNS = (
    Column("precision", "precision"),
    Column("engine_per_second", "engine, images/s", ",.0f"),
    Column("bare_per_second", "bare loop, images/s", ",.0f"),
    Column("engine_cpu", "engine, CPU s", ".2f"),
    Column("bare_cpu", "bare loop, CPU s", ".2f"),
    Column("overhead", "overhead, CPU time", "+.1%"),
    Column("median", "median of pairs", "+.1%"),
    Column("spread", "spread of pairs", ".1%"),
    Column("same_weights", "same weights"),
)


class Cost(NamedTuple):
    """Processor and wall-clock seconds."""

    cpu: float
    wall: float


class Setup(NamedTuple):
    """What both loops train on."""

    images: torch.Tensor
    labels: torch.Tensor
    views: Views
    recipe: Recipe
    precision: str


def setup(precision: str, steps: int) -> Setup:
    """Return random images, enough for one epoch of so many steps."""
    draw = np.random.default_rng(0)
    images = torch.from_numpy(draw.integers(0, 256, (steps * BATCH, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(draw.integers(0, N_CLASSES, steps * BATCH))
    views = Views("image")
    recipe = Recipe(epochs=1, batch_size=BATCH, lr=0.02, schedule="constant", weight_decay=5e-4)
    return Setup(images, labels, views, recipe, precision)


def network() -> Classifier:
    made = build_backbone("small_cnn", input_shape=(3, 32, 32), n_classes=N_CLASSES, seed=0)
    return made.to(memory_format=torch.channels_last)


def engine(given: Setup, seed: int) -> tuple[Cost, Classifier]:
    """Train one epoch through the engine."""
    method = METHODS.get("cross_entropy")(
        lambda number: network(), n_samples=len(given.labels), n_classes=N_CLASSES
    )
    feeder = Feeder(ResidentExamples(given.images), given.labels, given.views, BATCH)
    material = Material(given.labels, N_CLASSES, seed=seed)
    training = Training(method, feeder, material, given.recipe, make_fabric("cpu", given.precision))
    return timed(training.run), method.network


def bare(given: Setup, seed: int) -> tuple[Cost, Classifier]:
    """Train one epoch in a loop of its own."""
    net, recipe, view = network(), given.recipe, given.views["weak"]
    optimizer = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    is_half = given.precision == "bf16-mixed"

    def loop() -> None:
        net.train()
        order = torch.from_numpy(shuffled(np.arange(len(given.labels)), seed=seed, epoch=0))
        for step, index in enumerate(order.split(BATCH)):
            inputs = view(given.images[index], index, seed=seed, step=step, view=0)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                loss = cross_entropy(net(inputs).logits.float(), given.labels[index])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return timed(loop), net


def timed(run: Callable[[], object]) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def compare(precision: str, steps: int, pieces: int) -> dict[str, str | float | bool]:
    """Return one row: both loops take turns, ``pieces`` times, each a new order of the same images."""
    given = setup(precision, steps // pieces)
    engine(given, 0), bare(given, 0)  # kernels are chosen, caches filled
    costs: dict[str, list[Cost]] = {"engine": [], "bare": []}
    same = True
    for piece in range(pieces):
        turns = [("engine", engine), ("bare", bare)]
        nets = {}
        for name, run in turns if piece % 2 == 0 else turns[::-1]:
            cost, nets[name] = run(given, piece)
            costs[name].append(cost)
        pairs = zip(nets["engine"].parameters(), nets["bare"].parameters(), strict=True)
        same = same and all(torch.equal(one, other) for one, other in pairs)
    ratios = [one.cpu / other.cpu - 1 for one, other in zip(costs["engine"], costs["bare"], strict=True)]
    row: dict[str, str | float | bool] = {"precision": precision, "steps": steps, "same_weights": same}
    for name, found in costs.items():
        row[f"{name}_cpu"] = sum(cost.cpu for cost in found)
        row[f"{name}_per_second"] = len(given.labels) * pieces / sum(cost.wall for cost in found)
    row["overhead"] = float(row["engine_cpu"]) / float(row["bare_cpu"]) - 1
    row["median"] = statistics.median(ratios)
    row["spread"] = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
    row["threads"] = torch.get_num_threads()
    return row


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of each loop (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=10, help="turns of each loop (default: %(default)s)")
    parser.add_argument("--precision", default="32-true,bf16-mixed", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.pieces <= arguments.steps:
        parser.error("--pieces must be at least 1 and at most --steps")
    os.environ["TAMIS_PROGRESS"] = "0"
    report = Report("engine_overhead", arguments.out)
    for precision in arguments.precision.split(","):
        report.add(compare(precision, arguments.steps, arguments.pieces))
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
