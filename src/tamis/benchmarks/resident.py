"""Peak memory of this process, on systems that tell (Linux)."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Start(NamedTuple):
    """Resident memory when the watching began, all of it and what belongs to files, in 10^6 bytes."""

    resident: float
    of_files: float


def start_watching() -> Start | None:
    """Forget the peak so far and return what is resident now; None where the system does not tell.

    Memory that was freed goes back to the system first: taken again later, it would not be seen.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of the GNU C library; others have none
    # 5 resets the peak of resident memory.
    with suppress(OSError, KeyError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        told = _status_mb()
        return Start(told["VmRSS"], told["RssFile"])
    return None


def added_since(start: Start | None) -> float | None:
    """Return how far the peak has risen, in 10^6 bytes, without program code read from files meanwhile."""
    if start is None:
        return None
    told = _status_mb()
    code = max(0.0, told["RssFile"] - start.of_files)
    return max(0.0, told["VmHWM"] - start.resident - code)


def _status_mb() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 / 1e6 for name, value in pairs}
