"""Peak memory of this process, on systems that tell (Linux)."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path


def start_watching() -> float | None:
    """Forget the peak so far and return the resident memory in 10^6 bytes; None where it is not told.

    Memory that was freed goes back to the system first: taken again later, it would not be seen.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of the GNU C library; others have none
    # 5 resets the peak of resident memory.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status_mb("VmRSS:")
    return None


def added_since(start: float | None) -> float | None:
    """Return how far the peak has risen above ``start``, in 10^6 bytes."""
    peak = _status_mb("VmHWM:")
    return None if start is None or peak is None else max(0.0, peak - start)


def _status_mb(key: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024 / 1e6
    return None
