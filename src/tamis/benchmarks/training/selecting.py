"""Rows that a training takes for rightly labelled at its start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tamis.auditing import Audit
from tamis.benchmarks.training.material import TrainingMaterial
from tamis.detectors import DETECTORS
from tamis.errors import InputError
from tamis.types import BoolArray

_TRUSTED = 0.5


def selected_rows(wanted: str, material: TrainingMaterial, audit: Callable[[], Audit]) -> BoolArray:
    """Return a mask of the training part, as `tamis.train` makes it of ``initial_selection``.

    Parameters
    ----------
    wanted : str
        "audit", or the name of a detector of features that flags.
    material : TrainingMaterial
    audit : callable
        Returns the audit of the training part.

    Raises
    ------
    InputError
        There is no such detector, or it needs more than features, or does not flag.
    """
    if wanted == "audit":
        scores = audit().issues.column("label_score").to_numpy(zero_copy_only=False)
        # NaN (not assessed) compares as False: what nobody looked at is not trusted.
        return np.asarray(scores >= _TRUSTED)
    entry = DETECTORS.entry(wanted)
    if entry.facts.inputs != ("features",) or material.features is None:
        raise InputError(
            f"initial_selection {wanted!r} needs {', '.join(entry.facts.inputs)}, the data hold "
            f"{material.kind}; name 'audit' or a detector of features"
        )
    make: Callable[[], object] = entry.target
    detector = make().fit(material.features, material.train.given)  # type: ignore[attr-defined]  # all of this kind do
    flagged = getattr(detector, "is_issue_", None)
    if flagged is None:
        raise InputError(
            f"initial_selection {wanted!r} ranks but does not flag; name one that does, or 'audit'"
        )
    return ~np.asarray(flagged)
