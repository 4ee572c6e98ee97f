"""What can be put to a trial: every registered detector, the default audit, and other tools."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.benchmarks.material import Material
from tamis.detectors import DETECTORS, FeatureDetector, ProbabilityDetector
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray

AUDIT = "audit"
"""Name of the default audit among the candidates."""

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


class Answer(NamedTuple):
    """What a candidate says about the rows (crowd: about the tasks, in ascending order).

    Attributes
    ----------
    clean_scores : (n,) float
        Higher = cleaner.
    is_issue : (n,) bool or None
    suggested : (n,) int or None
    given : (n,) int or None
        Crowd: the label that was judged.
    seconds_cpu : float or None
        Of the arithmetic alone, where the candidate measured it.
    """

    clean_scores: FloatArray
    is_issue: BoolArray | None = None
    suggested: IntArray | None = None
    given: IntArray | None = None
    seconds_cpu: float | None = None


Candidate: TypeAlias = Callable[[Material], Answer]


def needs(name: str) -> tuple[str, ...]:
    """Return the inputs that a registered detector or the audit takes."""
    if name == AUDIT:
        return ("features",)
    return next(entry.facts.inputs for entry in DETECTORS if entry.name == name)


def candidates(inputs: frozenset[str], wanted: tuple[str, ...]) -> list[str]:
    """Return the names among ``wanted`` whose inputs are there; "all" stands for every one of them.

    Raises
    ------
    InputError
        If a name is no detector.
    """
    names = [AUDIT, *DETECTORS.names()]
    for name in wanted:
        if name not in {*names, "all"}:
            DETECTORS.get(name)  # raises, with a suggestion
    chosen = names if "all" in wanted else [name for name in names if name in wanted]
    return [name for name in chosen if set(needs(name)) <= inputs]


def candidate(name: str) -> Candidate:
    """Return what runs the detector, the audit, or a peer written ``file.py:function``."""
    if ".py:" in name:
        return _peer(name)
    return _audit if name == AUDIT else lambda material: _detector(name, material)


def _detector(name: str, material: Material) -> Answer:
    detector = DETECTORS.get(name)()
    inputs, labels = material.inputs, material.labels
    start = time.process_time()
    if isinstance(detector, FeatureDetector):
        detector.fit(np.asarray(inputs["features"]), labels)
    elif isinstance(detector, ProbabilityDetector):
        detector.fit(labels, np.asarray(inputs["pred_probs"]))
    else:
        fit: Callable[..., object] = getattr(detector, "fit")  # noqa: B009 - each kind has its own arguments
        fit(*_arguments(needs(name), material))
    seconds = time.process_time() - start
    is_issue = getattr(detector, "is_issue_", None)
    given = getattr(detector, "given_labels_", None)
    suggested = np.asarray(detector.suggested_labels_).astype(np.int64)
    return Answer(np.asarray(detector.clean_scores_), is_issue, suggested, given, seconds)


def _arguments(names: tuple[str, ...], material: Material) -> list[object]:
    arguments: list[object] = [] if "answers" in names else [material.labels]
    for name in names:
        array = np.asarray(material.inputs[name])
        if name == "answers":
            from tamis.crowd import Answers

            arguments.append(Answers.from_arrays(array[:, 0], array[:, 1], array[:, 2]))
        else:
            arguments.append(array)
    return arguments


def _audit(material: Material) -> Answer:
    from tamis.auditing import audit

    start = time.process_time()
    finished = audit(features=np.asarray(material.inputs["features"]), labels=material.labels)
    issues = finished.issues
    seconds = time.process_time() - start
    scores = issues.column("label_score").to_numpy().astype(np.float64)
    return Answer(
        np.where(np.isnan(scores), 1.0, scores),
        np.asarray(issues.column("is_label_issue").to_numpy(zero_copy_only=False)).astype(bool),
        np.asarray(issues.column("suggested_label").to_pylist()).astype(np.int64),
        None,
        seconds,
    )


def _peer(where: str) -> Candidate:
    path, _, function = where.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise InputError(f"peer {where!r}: {path} is no Python file; write file.py:function")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"peer {where!r}: {path} has no function {function!r}")

    def run(material: Material) -> Answer:
        start = time.process_time()
        result: Mapping[str, npt.NDArray[np.generic]] = found(labels=material.labels, **material.inputs)
        seconds = time.process_time() - start
        flagged, suggested, given = (result.get(key) for key in ("is_issue", "suggested", "given"))
        return Answer(
            np.asarray(result["clean_scores"], dtype=np.float64),
            None if flagged is None else np.asarray(flagged).astype(bool),
            None if suggested is None else np.asarray(suggested).astype(np.int64),
            None if given is None else np.asarray(given).astype(np.int64),
            seconds,
        )

    return run
