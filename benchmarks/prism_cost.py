"""What PRISM's filter adds to a training step, in processor time on one core.

    OMP_NUM_THREADS=1 python benchmarks/prism_cost.py --out runs/bench/prism_cost.json

One step is a linear layer, a contrastive loss over the batch, and its gradient: once alone, once with
`select` and `commit` around it, in turns, so that what else the machine does hits both. The figure is the
median of the differences. Beside it the product of a batch with the class sums alone, which no filter of this
kind can do without. At the end the running sums are compared with sums computed afresh.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from results import Column, Report
from torch import Tensor
from torch.nn.functional import normalize

from tamis.memory import EmbeddingMemory
from tamis.selectors import Prism
from tamis.selectors.prism_scores import Similarity

BATCH, SIZE, MEMORY = 64, 512, 8192
WARM = 10
COLUMNS = (
    Column("similarity", "similarity"),
    Column("product", "product"),
    Column("n_classes", "classes", ",d"),
    Column("filter_ms", "filter, ms", ".2f"),
    Column("quartile_ms", "lower quartile", ".2f"),
    Column("product_ms", "product alone, ms", ".2f"),
    Column("plain_ms", "step without, ms", ".2f"),
    Column("drift", "error of the sums", ".1e"),
)


class Stream:
    """Batches of embeddings around one direction a class, a third of them with another label."""

    def __init__(self, n_classes: int) -> None:
        self.draw = torch.Generator().manual_seed(0)
        self.centres = normalize(torch.randn(n_classes, SIZE, generator=self.draw))

    def batch(self, n: int = BATCH) -> tuple[Tensor, Tensor]:
        n_classes = len(self.centres)
        labels = torch.randint(n_classes, (n,), generator=self.draw)
        noise = torch.randn(n, SIZE, generator=self.draw) / SIZE**0.5
        rows = self.centres[labels] + noise
        others = torch.randint(n_classes, (n,), generator=self.draw)
        return rows, torch.where(torch.arange(n) % 3 == 0, others, labels)


def train(layer: torch.nn.Linear, rows: Tensor, labels: Tensor) -> Tensor:
    """Make one step without the optimiser; return the embeddings."""
    embeddings = layer(rows)
    units = normalize(embeddings)
    cosines = units @ units.T
    same = labels[:, None] == labels
    (torch.where(same, 1 - cosines, (cosines - 0.5).relu()).sum() / len(rows)).backward()
    layer.zero_grad(set_to_none=True)
    return embeddings.detach()


def cpu_ms(run: Callable[[], object]) -> float:
    start = time.process_time_ns()
    run()
    return (time.process_time_ns() - start) / 1e6


def measure(n_classes: int, similarity: Similarity, low: bool, steps: int) -> dict[str, str | int | float]:
    """Return one row."""
    stream, layer = Stream(n_classes), torch.nn.Linear(SIZE, SIZE)
    memory = EmbeddingMemory(
        max(MEMORY, 2 * n_classes), SIZE, n_classes, product_dtype=torch.bfloat16 if low else None
    )
    memory.enqueue(*stream.batch(memory.size))
    selector = Prism(memory, rate=0.3, similarity=similarity)

    def filtered(rows: Tensor, labels: Tensor) -> None:
        embeddings = layer(rows).detach()
        selection = selector.select(embeddings, labels)
        selector.commit(selection, train(layer, rows, labels), labels)

    def plain(rows: Tensor, labels: Tensor) -> None:
        layer(rows)
        train(layer, rows, labels)

    sums = memory.low_sums if low else memory.sums
    product, without, added = [], [], []
    for step in range(WARM + steps):
        rows, labels = stream.batch()
        units = normalize(rows).to(sums.dtype)
        alone = cpu_ms(lambda: plain(rows, labels))  # noqa: B023 - called at once
        together = cpu_ms(lambda: filtered(rows, labels))  # noqa: B023
        one_product = cpu_ms(lambda: units @ sums.T)  # noqa: B023
        if step >= WARM:
            product.append(one_product), without.append(alone), added.append(together - alone)
    running = memory.sums.clone()
    memory.recompute()
    return {
        "similarity": similarity,
        "product": "bfloat16" if low else "float32",
        "n_classes": n_classes,
        "steps": steps,
        "filter_ms": statistics.median(added),
        "quartile_ms": statistics.quantiles(added)[0],
        "product_ms": statistics.median(product),
        "plain_ms": statistics.median(without),
        "drift": float((running - memory.sums).abs().max()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="of each kind (default: %(default)s)")
    parser.add_argument("--classes", default="100,1000,10000", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args(argv)
    if arguments.steps < 2:
        parser.error("--steps must be at least 2")
    torch.set_num_threads(1)
    report = Report("prism_cost", arguments.out)
    similarities: tuple[Similarity, ...] = ("average", "vmf")
    for n_classes in map(int, arguments.classes.split(",")):
        for similarity in similarities:
            for low in (False, True):
                report.add(measure(n_classes, similarity, low, arguments.steps))
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
