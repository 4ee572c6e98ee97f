"""The part of a fingerprint that the machine decides: library versions, kind of device."""

from __future__ import annotations

from importlib import metadata


def environment(device: str, *packages: str) -> str:
    """Return versions of ``packages`` and the kind of device as one line.

    Another version or vector unit can change the last bits of a feature, and a cache must not mix them.

    Examples
    --------
    >>> "numpy-" in environment("cpu", "numpy")
    True
    """
    import torch

    unit = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name(device)
    found = [f"{package}-{metadata.version(package)}" for package in packages]
    return " ".join([*found, device.split(":", maxsplit=1)[0], unit])
