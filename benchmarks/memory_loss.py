"""What a loss against a memory costs, paired with the same loss of pytorch-metric-learning.

    OMP_NUM_THREADS=1 python benchmarks/memory_loss.py --out runs/bench/memory_loss.json

Forward and backward of 64 anchors against a full memory of 16,384 unit rows of 512 columns, without gradient
to the memory, one thread. Rounds take turns, theirs and each of ours, so that what else the machine does hits
all; the figures are processor time, the ratio the median of the rounds' own ratios. Both normalise in the
first rows; `anchors` takes the memory's rows as the unit rows they are. The error of a gradient is the norm
of its difference from float64, over the norm of that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from results import Column, Report
from torch import Tensor
from torch.nn import functional

from tamis.losses import ContrastiveLoss, MultiSimilarityLoss, PairLoss

ANCHORS, MEMORY, WIDTH, N_CLASSES = 64, 16_384, 512, 100
COLUMNS = (
    Column("loss", "loss"),
    Column("bank", "bank"),
    Column("normalize", "normalised here"),
    Column("ours_ms", "CPU ms", ".1f"),
    Column("theirs_ms", "theirs, CPU ms", ".1f"),
    Column("ratio", "times faster", ".2f"),
    Column("lowest", "lowest", ".2f"),
    Column("highest", "highest", ".2f"),
    Column("value_error", "error of the value", ".1e"),
    Column("gradient_error", "error of the gradient", ".1e"),
    Column("their_gradient_error", "of theirs", ".1e"),
)
Loss = Callable[..., Tensor]


class Side(NamedTuple):
    """What one of the paired losses is called with."""

    loss: Loss
    bank: Tensor
    times: list[float]


class Data(NamedTuple):
    """Anchors and a full memory around the centres of classes, some labels wrong."""

    anchors: Tensor
    labels: Tensor
    memory: Tensor
    memory_labels: Tensor


def material(noise: float, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(N_CLASSES, WIDTH, generator=generator) + 0.5

    def draw(size: int) -> tuple[Tensor, Tensor]:
        truth = torch.randint(0, N_CLASSES, (size,), generator=generator)
        rows = functional.normalize(centers[truth] + 0.7 * torch.randn(size, WIDTH, generator=generator))
        other = torch.randint(0, N_CLASSES, (size,), generator=generator)
        return rows, torch.where(torch.rand(size, generator=generator) < noise, other, truth)

    return Data(*draw(ANCHORS), *draw(MEMORY))


def gradient(
    loss: Loss, data: Data, bank: Tensor, dtype: torch.dtype = torch.float32
) -> tuple[float, Tensor]:
    leaf = data.anchors.to(dtype, copy=True).requires_grad_()
    value = loss(leaf, data.labels, ref_emb=bank, ref_labels=data.memory_labels)
    value.backward()
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad


def theirs(name: str) -> Loss:
    if name == "contrastive":
        made = losses.ContrastiveLoss(
            pos_margin=1,
            neg_margin=0.5,
            distance=distances.CosineSimilarity(),
            reducer=reducers.SumReducer(),
        )
        return lambda *arguments, **named: made(*arguments, **named) / ANCHORS
    plain = losses.MultiSimilarityLoss(2, 40, 0.5)
    if name == "multi_similarity":
        return plain
    miner = miners.MultiSimilarityMiner(0.1)
    return lambda rows, labels, ref_emb, ref_labels: plain(
        rows, labels, miner(rows, labels, ref_emb, ref_labels), ref_emb=ref_emb, ref_labels=ref_labels
    )


def ours(name: str, normalize: str) -> PairLoss:
    if name == "contrastive":
        return ContrastiveLoss(form="hinge", normalize=normalize)
    return MultiSimilarityLoss(epsilon=0.1 if name.endswith("mined") else None, normalize=normalize)


def compare(name: str, data: Data, rounds: int, report: Report) -> None:
    cells = [
        (bank, normalize) for bank in (torch.float32, torch.bfloat16) for normalize in ("both", "anchors")
    ]
    sides = [Side(theirs(name), data.memory, [])]
    sides += [Side(ours(name, normalize), data.memory.to(bank), []) for bank, normalize in cells]
    for turn in range(rounds + 1):
        for side in sides:
            start = time.process_time()
            gradient(side.loss, data, side.bank)
            if turn:  # the first warms up
                side.times.append(1e3 * (time.process_time() - start))
    value, exact = gradient(ours(name, "both"), data, data.memory.double(), torch.float64)
    for (bank, normalize), side in zip(cells, sides[1:], strict=True):
        ratios = [other / own for other, own in zip(sides[0].times, side.times, strict=True)]
        found, slope = gradient(side.loss, data, side.bank)
        report.add(
            {
                "loss": name,
                "bank": str(bank).removeprefix("torch."),
                "normalize": normalize,
                "rounds": rounds,
                "ours_ms": statistics.median(side.times),
                "theirs_ms": statistics.median(sides[0].times),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "value_error": abs(found - value) / abs(value),
                "gradient_error": _distance(slope, exact),
                "their_gradient_error": _distance(gradient(sides[0].loss, data, data.memory)[1], exact),
            }
        )


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="of each loss (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.2, help="wrong labels (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    report = Report("memory_loss", arguments.out)
    data = material(arguments.noise)
    for name in ("contrastive", "multi_similarity", "multi_similarity_mined"):
        compare(name, data, arguments.rounds, report)
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
