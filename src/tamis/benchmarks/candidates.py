"""What can be put to a trial: every registered detector, the default audit, and other tools."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
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

PeerFunction: TypeAlias = Callable[..., Mapping[str, npt.NDArray[np.generic]]]


class Answer(NamedTuple):
    """What a candidate says about the rows (crowd: about the tasks, in ascending order).

    Attributes
    ----------
    clean_scores : (n,) float
        Higher = cleaner.
    is_issue : (n,) bool or None
    suggested : (n,) int or None
    left_out : (n,) bool or None
        Rows that were told to be right, and so count for nothing.
    seconds_cpu : float
        Processor seconds of the arithmetic, child processes included.
    """

    clean_scores: FloatArray
    is_issue: BoolArray | None = None
    suggested: IntArray | None = None
    left_out: BoolArray | None = None
    seconds_cpu: float = 0.0


Candidate: TypeAlias = Callable[[Material], Answer]


def needs(name: str) -> tuple[str, ...]:
    """Return the inputs that a detector or a peer takes; the audit takes whatever there is.

    Raises
    ------
    InputError
        If the name is no detector, or the peer cannot be loaded.
    """
    if name == AUDIT:
        return ()
    if ".py:" not in name:
        return DETECTORS.facts(name).inputs
    parameters = inspect.signature(_peer_function(name)).parameters.values()
    return tuple(
        each.name
        for each in parameters
        if each.default is each.empty and each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
    )


def applicable(inputs: frozenset[str], wanted: tuple[str, ...]) -> list[str]:
    """Return the names among ``wanted`` whose inputs are there; "all" is the audit and every detector.

    Raises
    ------
    InputError
        See `needs`.
    """
    chosen: dict[str, None] = {}
    for name in wanted:
        chosen |= dict.fromkeys([AUDIT, *DETECTORS.names()] if name == "all" else [name])
    return [name for name in chosen if set(needs(name)) <= inputs | {"labels"}]


def candidate(name: str) -> Candidate:
    """Return what runs the detector, the audit, or a peer written ``file.py:function``; see `needs`."""
    if ".py:" in name:
        return functools.partial(_peer, _peer_function(name))
    if name == AUDIT:
        return _audit
    DETECTORS.get(name)
    return functools.partial(_detector, name)


def _detector(name: str, material: Material) -> Answer:
    detector = DETECTORS.get(name)()
    inputs, labels, taken = material.inputs, material.labels, needs(name)
    start = _cpu_seconds()
    if isinstance(detector, FeatureDetector):
        detector.fit(np.asarray(inputs["features"]), labels)
    elif isinstance(detector, ProbabilityDetector):
        detector.fit(labels, np.asarray(inputs["pred_probs"]))
    else:
        # Every other kind has arguments of its own; they bear the names of the inputs.
        fit: Callable[..., object] = getattr(detector, "fit")  # noqa: B009
        given = {"given_labels": material.given_labels()} if "answers" in taken else {"labels": labels}
        fit(**{key: _argument(key, inputs[key]) for key in taken}, **given)
    seconds = _cpu_seconds() - start
    return Answer(
        np.asarray(detector.clean_scores_, dtype=np.float64),
        getattr(detector, "is_issue_", None),
        np.asarray(detector.suggested_labels_).astype(np.int64),
        np.asarray(inputs["trusted"], dtype=np.bool_) if "trusted" in taken else None,
        seconds,
    )


def _argument(key: str, array: npt.NDArray[np.generic]) -> object:
    # One array of three columns would be read as a matrix of tasks and annotators.
    return tuple(array.T) if key == "answers" else array


def _audit(material: Material) -> Answer:
    from tamis.auditing import audit

    inputs = material.inputs
    features = inputs.get("features")
    brought = None if "pred_probs" in material.derived else inputs.get("pred_probs")
    start = _cpu_seconds()
    if "answers" in inputs:
        table = material.answer_table()
        issues = audit(table, task="crowd", features=features, pred_probs=brought).issues
    else:
        issues = audit(features=features, labels=material.labels, pred_probs=brought).issues
    seconds = _cpu_seconds() - start
    scores = issues.column("label_score").to_numpy().astype(np.float64)
    suggested = issues.column("suggested_label").to_pylist()
    filled = [
        given if label is None else int(label)
        for label, given in zip(suggested, material.labels, strict=True)
    ]
    return Answer(
        np.where(np.isnan(scores), 1.0, scores),
        np.asarray(issues.column("is_label_issue").to_numpy(zero_copy_only=False)).astype(np.bool_),
        np.asarray(filled, dtype=np.int64),
        None,
        seconds,
    )


def _peer(function: PeerFunction, material: Material) -> Answer:
    offered = {"labels": material.labels, **material.inputs}
    parameters = inspect.signature(function).parameters
    taken = offered
    if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        taken = {name: array for name, array in offered.items() if name in parameters}
    start = _cpu_seconds()
    result = function(**taken)
    seconds = _cpu_seconds() - start
    if not isinstance(result, Mapping) or "clean_scores" not in result:
        raise InputError(
            "a peer returns a mapping with clean_scores, and is_issue and suggested if it has them"
        )
    flagged, suggested = (result.get(key) for key in ("is_issue", "suggested"))
    return Answer(
        np.asarray(result["clean_scores"], dtype=np.float64),
        None if flagged is None else np.asarray(flagged).astype(np.bool_),
        None if suggested is None else np.asarray(suggested).astype(np.int64),
        None,
        seconds,
    )


@functools.cache
def _peer_function(where: str) -> PeerFunction:
    path, _, function = where.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise InputError(f"peer {where!r}: {path} is no Python file; write file.py:function")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"peer {where!r}: {path} cannot be imported: {error}") from error
    found: PeerFunction | None = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"peer {where!r}: {path} has no function {function!r}")
    return found


def _cpu_seconds() -> float:
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system
