r"""PreAct ResNet-18 on CIFAR-10N from pixels on one GPU: samples/s and time to an accuracy, beside a floor.

    TAMIS_SHARED=/folder/of/real/data \
      python benchmarks/gpu_speed.py --method dividemix --out runs/bench/gpu_speed.json

The floor is arithmetic: multiplications and additions of one sample's forward and backward pass, counted
layer by layer, over the speed that the device reaches in one large matrix product of the same precision,
measured here. Times are those of training; looking at the test accuracy after every epoch is not counted,
but in the seconds of all. Samples count once for each stream that shows them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from results import Column, Report
from sources import shared_file
from torch import nn

from tamis.backbones import build_backbone
from tamis.benchmarks import TrainingConfig, parse_config
from tamis.benchmarks.training.fitting import Fit
from tamis.benchmarks.training.material import gather_training
from tamis.benchmarks.training.plan import Trial, tasks

SHAPE = (3, 32, 32)
COLUMNS = (
    Column("method", "method"),
    Column("epochs", "epochs"),
    Column("last", "test accuracy, last epoch", ".3f"),
    Column("peak", "best test epoch", ".3f"),
    Column("target", "target", ".2f"),
    Column("seconds_to_target", "seconds to target", ".0f"),
    Column("epochs_to_target", "epochs to target"),
    Column("samples_per_second", "samples/s", ",.0f"),
    Column("floor_samples_per_second", "samples/s of the floor", ",.0f"),
    Column("share_of_floor", "of the floor", ".0%"),
    Column("seconds", "seconds in all", ".0f"),
)


def flops_per_sample(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return operations of one sample's forward and backward pass in convolutions and linear layers.

    A product and a sum count as two; the backward pass as twice the forward pass.
    """
    found = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal found
        if isinstance(module, nn.Conv2d):
            per_place = module.weight[0].numel()
            found += 2 * per_place * output[0].numel()
        elif isinstance(module, nn.Linear):
            found += 2 * module.weight.numel()

    handles = [module.register_forward_hook(count) for module in network.modules()]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return 3 * found


def product_speed(device: torch.device, precision: str, size: int = 8192, seconds: float = 1.0) -> float:
    """Return operations a second of a large matrix product on the device."""
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16
    size = size if device.type == "cuda" else 1024
    one = torch.randn(size, size, device=device, dtype=dtype)
    one @ one

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    start, count = finished(), 0
    while finished() - start < seconds:
        for _ in range(10):
            one @ one
        count += 10
    return count * 2 * size**3 / (finished() - start)


def configured(arguments: argparse.Namespace) -> TrainingConfig:
    columns = {"images": "image", "labels": f"{arguments.labels}_label", "truth": "label"}
    train, test = shared_file("cifar10_train.parquet"), shared_file("cifar10_test.parquet")
    data = {
        "name": f"CIFAR-10N {arguments.labels}",
        "test_images": f"{test}:image",
        "test_labels": f"{test}:label",
    }
    data |= {key: f"{train}:{column}" for key, column in columns.items()}
    if arguments.rows:
        data |= {"rows": arguments.rows, "test_rows": arguments.rows}
    made = parse_config(
        {
            "task": "training",
            "epochs": arguments.epochs,
            "lr": [arguments.lr],
            "recipe": {"batch_size": arguments.batch_size, "optimizer": "sgd", "schedule": "cosine"},
            "validation": 0.02,
            "audit": False,
            "device": arguments.device,
            "precision": arguments.precision,
            "data": [data],
            "methods": [{"method": arguments.method, "backbone": arguments.backbone}],
        }
    )
    assert isinstance(made, TrainingConfig)
    return made


def seconds_to(
    target: float, test: Sequence[float | None], seconds: Sequence[float | None]
) -> tuple[float, int] | None:
    """Return seconds of training and epochs until the test accuracy first reaches the target."""
    for epoch, found in enumerate(test, start=1):
        if found is not None and found >= target:
            return sum(each or 0.0 for each in seconds[:epoch]), epoch
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="dividemix", help="default: %(default)s")
    parser.add_argument("--labels", default="worse", help="worse or aggre (default: %(default)s)")
    parser.add_argument("--backbone", default="preact_resnet18", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=0.02, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--target", type=float, default=0.92, help="default: %(default)s")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--precision", default="bf16-mixed", help="default: %(default)s")
    parser.add_argument("--rows", type=int, help="take the first so many (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args(argv)
    config = configured(arguments)
    (task,) = tasks(config)
    material = gather_training(task.data, None, 0, config.validation)
    fitted = Fit(config, Trial(task, config.methods[0], arguments.lr, 0), material, None).run()
    network = build_backbone(arguments.backbone, input_shape=SHAPE, n_classes=10, seed=0)
    flops = flops_per_sample(network, SHAPE)
    speed = product_speed(torch.device(arguments.device), arguments.precision)
    speeds = [value for value in fitted.curves["samples_per_second"] if value]
    reached = seconds_to(arguments.target, fitted.curves["test"], fitted.curves["epoch_seconds"])
    row = {
        "method": arguments.method,
        "device": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else arguments.device,
        "target": arguments.target,
        "seconds_to_target": None if reached is None else reached[0],
        "epochs_to_target": None if reached is None else reached[1],
        "samples_per_second": sum(speeds) / max(1, len(speeds)),
        "flops_per_sample": flops,
        "product_flops_per_second": speed,
        "floor_samples_per_second": speed / flops,
        **{key: fitted.figures[key] for key in ("epochs", "last", "peak", "seconds")},
    }
    row["share_of_floor"] = row["samples_per_second"] / row["floor_samples_per_second"]
    report = Report("gpu_speed", arguments.out)
    report.add(row)
    report.show(COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
