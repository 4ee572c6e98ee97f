"""Find the wrong labels in a data set.

The names below are loaded on first use, so that ``import tamis`` costs next to nothing.

Examples
--------
>>> import tamis
>>> noisy = tamis.noise.symmetric([0, 1, 2, 3] * 25, rate=0.2, n_classes=4, exact="global")
>>> int(noisy.is_wrong.sum())
20
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis import noise as noise
    from tamis.auditing import Audit as Audit
    from tamis.auditing import audit as audit
    from tamis.data import Dataset as Dataset
    from tamis.data import read as read
    from tamis.errors import InputError as InputError
    from tamis.errors import MissingExtraError as MissingExtraError
    from tamis.errors import NotFittedError as NotFittedError
    from tamis.errors import RunError as RunError
    from tamis.errors import TamisError as TamisError
    from tamis.errors import TamisWarning as TamisWarning
    from tamis.exporting import ExportResult as ExportResult
    from tamis.exporting import export_labels as export_labels
    from tamis.noise import NoisyLabels as NoisyLabels
    from tamis.types import Estimate as Estimate

    __version__: str

__all__ = [
    "Audit",
    "Dataset",
    "Estimate",
    "ExportResult",
    "InputError",
    "MissingExtraError",
    "NoisyLabels",
    "NotFittedError",
    "RunError",
    "TamisError",
    "TamisWarning",
    "__version__",
    "audit",
    "export_labels",
    "noise",
    "read",
]

_HOME = {
    "Audit": "tamis.auditing",
    "Dataset": "tamis.data",
    "Estimate": "tamis.types",
    "ExportResult": "tamis.exporting",
    "InputError": "tamis.errors",
    "MissingExtraError": "tamis.errors",
    "NoisyLabels": "tamis.noise",
    "NotFittedError": "tamis.errors",
    "RunError": "tamis.errors",
    "TamisError": "tamis.errors",
    "TamisWarning": "tamis.errors",
    "audit": "tamis.auditing",
    "export_labels": "tamis.exporting",
    "read": "tamis.data",
}


def __getattr__(name: str) -> object:
    value: object
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name == "noise":
        value = importlib.import_module("tamis.noise")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("tamis")
    else:
        raise AttributeError(f"module 'tamis' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
