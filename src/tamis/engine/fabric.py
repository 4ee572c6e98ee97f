"""Where training runs: device, precision, number of processes."""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from tamis.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from tamis.methods.base import Method

_PATIENCE = timedelta(days=1)

Precision: TypeAlias = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


def make_fabric(
    device: str = "auto",
    precision: Precision = "auto",
    processes: int = 1,
    *,
    for_images: bool = False,
    is_launched: bool = True,
) -> Fabric:
    """Return a Fabric.

    Parameters
    ----------
    device : str
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
    precision : {"auto", "32-true", "bf16-mixed", "16-mixed"}
        "auto" is bfloat16 on a GPU that computes in it, and for convolutions on a processor that does;
        float32 elsewhere.
    processes : int, default=1
        On the CPU they talk over gloo, on GPUs over NCCL. Each runs the whole program from its start, unless
        a launcher such as torchrun has started them already.
    for_images : bool, default=False
        Whether convolutions will be most of the work.
    is_launched : bool, default=True
        Whether the other processes run already; if not, `launch` starts them.

    Raises
    ------
    InputError
        There is no such device, it lacks the precision, or an argument is out of range.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
    if processes < 1:
        raise InputError(f"processes is {processes}; expected at least 1")
    kind, number = _resolved(device)
    if precision == "auto":
        is_fast = torch.cuda.is_bf16_supported() if kind == "cuda" else for_images and _has_units(kind)
        precision = "bf16-mixed" if is_fast else "32-true"
    if precision == "16-mixed" and kind == "cpu":
        raise InputError(
            "precision is '16-mixed', which needs a GPU; on the CPU use 'bf16-mixed' or '32-true'"
        )
    devices: int | list[int] = [number] if number is not None and processes == 1 else processes
    # One process may audit the data while the others wait.
    strategy = DDPStrategy(timeout=_PATIENCE) if processes > 1 else "auto"
    # Fabric announces the precision and the processes on its own; our log says both.
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(accelerator=kind, devices=devices, strategy=strategy, precision=precision)
    if is_launched:
        launch(fabric)
    return fabric


def launch(fabric: Fabric) -> None:
    """Start the other processes, if there are any, and join them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric.launch()


def in_fastest_layout(method: Method) -> Method:
    """Return the method with the weights of its convolutions in the layout in which they are fastest."""
    moved: Method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no overload
    return moved


def _has_units(kind: str) -> bool:
    # Elsewhere bfloat16 is emulated, at half the speed of float32.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return kind == "cpu" and ask is not None and bool(ask())


def _resolved(device: str) -> tuple[str, int | None]:
    """Return Fabric's name of the device and its number, where one was given."""
    name, _, number = device.partition(":")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in {"cpu", "cuda", "mps"} or (number and not number.isdigit()):
        raise InputError(f"device is {device!r}; expected auto, cpu, cuda, cuda:0, cuda:1, ... or mps")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda', but torch sees no CUDA device; use device='cpu'")
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("device is 'mps', but torch sees no Apple GPU; use device='cpu'")
    return name, int(number) if number else None
