"""What measured figures depend on beside the code."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int | None]:
    """Return processor, cores and system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }
