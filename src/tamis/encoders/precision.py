"""Which floating-point format runs fastest here: a short measurement, made once per process and model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from tamis.encoders.threads import one_torch_thread_each
from tamis.errors import InputError

Precision: TypeAlias = Literal["float32", "bfloat16"]
PrecisionChoice: TypeAlias = Literal["auto", "float32", "bfloat16"]

# With bfloat16 units the gain is 1.6 to 2.4; without them bfloat16 is emulated at half the speed of
# float32 or less. The border lies between, far from both, so that two runs choose alike.
_LEAST_GAIN = 1.2
_ROUNDS = 3
_CHOICES: tuple[PrecisionChoice, ...] = ("auto", "float32", "bfloat16")

_measured: dict[str, Precision] = {}


def check_precision(precision: str) -> PrecisionChoice:
    """Return ``precision`` if it is a legal choice, else raise `InputError`."""
    for choice in _CHOICES:
        if precision == choice:
            return choice
    raise InputError(f"precision {precision!r} is unknown; use 'auto', 'float32' or 'bfloat16'")


def has_bfloat16_kernels() -> bool:
    """Whether the processor can run bfloat16 kernels at all (natively or emulated).

    Examples
    --------
    >>> has_bfloat16_kernels() in (True, False)
    True
    """
    import torch

    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return check is not None and bool(check())


def fastest_precision(
    name: str, run: Callable[[Precision], None], *, device: str, rounds: int = _ROUNDS
) -> Precision:
    """Return the faster of float32 and bfloat16 for one model.

    On a processor the time of the computing thread is compared, not the clock on the wall, so that other
    work on the machine does not tip the choice. On other devices the answer is float32: they are rarely
    the bottleneck here.

    Parameters
    ----------
    name : str
        The answer is kept for this process under this name.
    run : callable
        Computes one small batch in the given precision.
    device : str
    rounds : int
        Timed runs per precision, after one that is not timed; the best counts.

    Examples
    --------
    >>> fastest_precision("nothing", lambda precision: None, device="cuda")
    'float32'
    """
    if device != "cpu" or not has_bfloat16_kernels():
        return "float32"
    if name not in _measured:
        with one_torch_thread_each(1) as pool:
            _measured[name] = pool.submit(_measure, run, rounds).result()
    return _measured[name]


def choose_precision(choice: PrecisionChoice, device: str) -> Precision:
    """Return the precision for a model that mostly multiplies matrices.

    Examples
    --------
    >>> choose_precision("float32", "cpu")
    'float32'
    """
    return fastest_precision("matrix product", _multiply, device=device) if choice == "auto" else choice


def _measure(run: Callable[[Precision], None], rounds: int) -> Precision:
    choices: tuple[Precision, Precision] = ("float32", "bfloat16")
    best = dict.fromkeys(choices, float("inf"))
    for precision in choices:
        run(precision)
    # Interleaved, so that a change of clock frequency meets both.
    for _ in range(rounds):
        for precision in choices:
            start = time.thread_time()
            run(precision)
            best[precision] = min(best[precision], time.thread_time() - start)
    return "bfloat16" if best["float32"] > _LEAST_GAIN * best["bfloat16"] else "float32"


def _multiply(precision: Precision) -> None:
    import torch

    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    rows, weights = torch.ones((512, 512), dtype=dtype), torch.ones((1024, 512), dtype=dtype)
    for _ in range(4):
        torch.nn.functional.linear(rows, weights)
