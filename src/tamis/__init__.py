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
    from tamis.detectors.label_issues import find_label_issues as find_label_issues
    from tamis.detectors.label_issues import order_label_issues as order_label_issues
    from tamis.detectors.label_quality_scores import (
        get_label_quality_ensemble_scores as get_label_quality_ensemble_scores,
    )
    from tamis.detectors.label_quality_scores import get_label_quality_scores as get_label_quality_scores
    from tamis.errors import InputError as InputError
    from tamis.errors import MissingExtraError as MissingExtraError
    from tamis.errors import NotFittedError as NotFittedError
    from tamis.errors import RunError as RunError
    from tamis.errors import TamisError as TamisError
    from tamis.errors import TamisWarning as TamisWarning
    from tamis.exporting import ExportResult as ExportResult
    from tamis.exporting import export_labels as export_labels
    from tamis.noise import NoisyLabels as NoisyLabels
    from tamis.statistics.joint_estimates import compute_confident_joint as compute_confident_joint
    from tamis.statistics.joint_estimates import num_label_issues as num_label_issues
    from tamis.statistics.latent_estimates import estimate_latent as estimate_latent
    from tamis.training import TrainedModel as TrainedModel
    from tamis.training import train as train
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
    "TrainedModel",
    "__version__",
    "audit",
    "compute_confident_joint",
    "estimate_latent",
    "export_labels",
    "find_label_issues",
    "get_label_quality_ensemble_scores",
    "get_label_quality_scores",
    "noise",
    "num_label_issues",
    "order_label_issues",
    "read",
    "train",
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
    "TrainedModel": "tamis.training",
    "audit": "tamis.auditing",
    "compute_confident_joint": "tamis.statistics.joint_estimates",
    "estimate_latent": "tamis.statistics.latent_estimates",
    "export_labels": "tamis.exporting",
    "find_label_issues": "tamis.detectors.label_issues",
    "get_label_quality_ensemble_scores": "tamis.detectors.label_quality_scores",
    "get_label_quality_scores": "tamis.detectors.label_quality_scores",
    "num_label_issues": "tamis.statistics.joint_estimates",
    "order_label_issues": "tamis.detectors.label_issues",
    "read": "tamis.data",
    "train": "tamis.training",
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
