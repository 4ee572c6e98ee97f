"""Detectors: from given labels and evidence to clean scores and suggested labels.

Each detector is one file with a class in it that registers itself; `DETECTORS` finds them all. The classes
can also be imported from here by their names.

Examples
--------
>>> from tamis.detectors import DETECTORS, SelfConfidence
>>> DETECTORS.get("self_confidence") is SelfConfidence
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.detectors.base import DETECTORS as DETECTORS
    from tamis.detectors.base import Detector as Detector
    from tamis.detectors.base import FeatureDetector as FeatureDetector
    from tamis.detectors.base import ProbabilityDetector as ProbabilityDetector
    from tamis.detectors.base import Verdict as Verdict

    def __getattr__(name: str) -> type[Detector]: ...

else:

    def __getattr__(name: str) -> object:
        # Names of classes only: submodules are asked for here too, just before they are imported.
        if name[:1].isupper():
            base = importlib.import_module("tamis.detectors.base")
            if name in __all__:
                return getattr(base, name)
            for entry in base.DETECTORS:
                if entry.target.__name__ == name:
                    return entry.target
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["DETECTORS", "Detector", "FeatureDetector", "ProbabilityDetector", "Verdict"]


def __dir__() -> list[str]:
    from tamis.detectors.base import DETECTORS

    return sorted({*__all__, *(entry.target.__name__ for entry in DETECTORS)})
