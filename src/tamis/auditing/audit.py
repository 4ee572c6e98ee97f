"""The verb: audit a data set."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tamis.auditing.clock import Clock
from tamis.auditing.crowd import audit_crowd
from tamis.auditing.crowd_table import find_crowd_table
from tamis.auditing.embedding_map import map_features
from tamis.auditing.evidence import Evidence, weigh
from tamis.auditing.identities import assess_identities
from tamis.auditing.material import Material, attach, gather
from tamis.auditing.other_issues import find_other_issues
from tamis.auditing.result import Audit
from tamis.auditing.rows import NO_SIGNAL, choose_rows, find_neighbors, without_verdict
from tamis.auditing.run_folder import STAGES, open_run_folder, source_path, write_run
from tamis.auditing.summing_up import summarise
from tamis.auditing.table import build_table
from tamis.auditing.zero_shot import PromptChoice
from tamis.data import Dataset, from_arrays, read
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget
from tamis.runs import StageStore, versions
from tamis.statistics.threads import one_thread_if_small

if TYPE_CHECKING:
    from tamis.encoders import EncoderChoice

# Part of the key of stages: change it when the arithmetic changes.
_ARITHMETIC = 4


def audit(
    data: object = None,
    *,
    features: object = None,
    labels: object = None,
    pred_probs: object = None,
    task: str = "auto",
    encoder: EncoderChoice = None,
    out_of_sample: bool | None = None,
    memory_budget: str | int | None = "2GiB",
    random_state: int = 0,
    out: str | os.PathLike[str] | None = None,
    class_names: Sequence[str | int] | None = None,
    ids: Sequence[object] | None = None,
    splits: Sequence[object] | None = None,
    groups: Sequence[object] | None = None,
    device: str = "auto",
    zero_shot: bool = False,
    prompts: PromptChoice = None,
    read_options: Mapping[str, object] | None = None,
) -> Audit:
    """Find the given labels that are probably wrong, with a calibrated probability and a suggestion each.

    Images and texts are encoded by a pretrained model (cached); from features, class probabilities are
    learned out of sample and combined with the labels of the nearest neighbours; the posterior of the true
    class follows from an estimate of the label noise. Nothing depends on the order of rows, the names of
    classes, the memory budget or the number of threads. The data are never modified.

    Parameters
    ----------
    data : path, Dataset, data frame, arrays, ..., optional
        Anything `tamis.read` takes.
    features : (n, d) float, optional
        With ``labels`` instead of ``data``, or beside it.
    labels : (n,) labels, optional
    pred_probs : (n, K) float, optional
        Out-of-sample predicted probabilities, columns in the order of the classes (a data frame's column
        names are matched with them). With features they replace the first round of learned probabilities.
    task : {"auto", "classification", "crowd", "retrieval"}
        "crowd" for tables of several annotators' answers (``docs/crowd.md``), "retrieval" for identities or
        products: many classes with few members (``docs/identities.md``).
    encoder : None, str, Encoder or callable
        For images and texts; see ``docs/encoders.md``.
    out_of_sample : bool, optional
        True vouches that ``pred_probs`` come from models that did not train on the row.
    memory_budget : str, int or None
        Working memory of the blocks, such as "64MiB".
    random_state : int
        Recorded with the run. Everything an audit does at present is determined by the data.
    out : path, optional
        Run folder: gets issues.parquet, report.html and run.json. If it holds the finished stages of an
        interrupted audit of the same data, that audit is continued.
    class_names, ids, splits, groups : sequence, optional
        Beside ``features`` or ``pred_probs``; rows of one group never vouch for each other.
    device : str
        Of the encoder.
    zero_shot : bool
        Images are also compared with prompts of the classes: ``encoder`` is a vision-language model. Adds the
        evidence ``zero_shot`` and ``clipcleaner``.
    prompts : path or Prompts, optional
        For ``zero_shot``: phrases of each class, see ``docs/encoders.md``; by default the class names alone.
    read_options : mapping, optional
        Options of `tamis.read`, such as ``{"label": "category"}``.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        The data cannot be read or audited; the message says which argument, why, and what to do.
    MissingExtraError
        The encoder needs a package that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> y = np.arange(200) % 2
    >>> x = draw.normal(size=(200, 3)) + 4 * y[:, None]
    >>> y[0] = 1
    >>> found = audit(features=x, labels=y)
    >>> found.issues["is_label_issue"].to_pylist()[0], round(found.expected_wrong.estimate)
    (True, 1)
    """
    started, clock = datetime.now(UTC), Clock()
    parse_memory_budget(memory_budget)
    options = dict(read_options or {})
    crowd = find_crowd_table(data, task, options)
    folder = None if out is None else open_run_folder(Path(out))
    made_of: dict[str, object] = {"source": source_path(data), "read_options": options, "task": task}
    if crowd is not None and labels is None:
        return audit_crowd(crowd, features, pred_probs, out=folder, seed=random_state, config=made_of)
    beside = {"class_names": class_names, "ids": ids, "splits": splits, "groups": groups}
    with clock("read"):
        dataset, is_named = _dataset(data, features, labels, pred_probs, beside, options)
    with clock("encode"):
        material = gather(
            dataset,
            encoder=encoder,
            out_of_sample=out_of_sample,
            has_named_columns=is_named or class_names is not None,
            memory_budget=memory_budget,
            device=device,
            zero_shot=zero_shot,
            prompts=prompts,
        )
    task = "retrieval" if task == "auto" and dataset.task == "retrieval" else task
    input_hash = _input_hash(material, task)
    store = StageStore(None if folder is None else folder / STAGES, input_hash)
    assess = assess_identities if task == "retrieval" else _assess
    result = replace(assess(material, store, memory_budget, clock), path=folder, random_state=random_state)
    with clock("map"):
        result = replace(result, embedding_map=map_features(material, result.issues))
    if folder is not None:
        config = made_of | {
            "encoder": encoder if isinstance(encoder, str) else None if encoder is None else repr(encoder),
            "memory_budget": memory_budget,
            "out_of_sample": out_of_sample,
            "device": device,
            "zero_shot": zero_shot,
            "prompts": None if prompts is None else str(prompts),
        }
        write_run(
            result, folder, started=started, config=config, input_hash=input_hash, timings=clock.seconds
        )
        store.clear()
    return result


def _assess(material: Material, store: StageStore, memory_budget: str | int | None, clock: Clock) -> Audit:
    rows = choose_rows(material)
    with clock("neighbours"):
        neighbors, notes = find_neighbors(material, rows, store, memory_budget)
    with clock("labels"), one_thread_if_small(len(rows.rows) * len(rows.classes)):
        evidence = weigh(material, rows, neighbors, store) if len(rows.rows) else None
    said = _notes(evidence, len(rows.rows))
    if evidence is None:
        rows = without_verdict(rows, NO_SIGNAL)
    with clock("other issues"):
        other = find_other_issues(material, rows, neighbors, None if evidence is None else evidence.posterior)
    issues = build_table(material, rows, evidence, other)
    summary = summarise(
        issues,
        rows,
        evidence,
        class_names=material.dataset.class_names,
        notes=[*material.notes, *notes, *said],
        timings=clock.seconds,
    )
    indices = None if neighbors is None else neighbors.indices
    return Audit(issues, summary, dataset=material.dataset, neighbors=indices)


def _dataset(
    data: object,
    features: object,
    labels: object,
    pred_probs: object,
    beside: Mapping[str, Sequence[object] | None],
    options: Mapping[str, object],
) -> tuple[Dataset, bool]:
    if data is None:
        if labels is None:
            raise InputError("labels is missing; pass data, or labels with features and/or pred_probs")
        if options:
            raise InputError(f"read_options {sorted(options)} belong to data, and there is none")
        return _dataset_of_arrays(features, labels, pred_probs, beside)
    if labels is not None:
        raise InputError(
            "labels was given beside data; pass data with its own labels, or features and labels"
        )
    extra = sorted(name for name, value in beside.items() if value is not None and name != "class_names")
    if extra:
        raise InputError(
            f"{', '.join(extra)} go with features or pred_probs; name columns of data in read_options"
        )
    if isinstance(data, Dataset):
        return attach(data, features=features, pred_probs=pred_probs)
    names = {} if beside["class_names"] is None else {"class_names": beside["class_names"]}
    return attach(read(data, **options, **names), features=features, pred_probs=pred_probs)  # type: ignore[arg-type]


def _dataset_of_arrays(
    features: object, labels: object, pred_probs: object, beside: Mapping[str, Sequence[object] | None]
) -> tuple[Dataset, bool]:
    names = _names_of_columns(pred_probs, labels)
    values = dict(beside)
    if names is not None and values["class_names"] is None:
        values["class_names"] = names
    if names is None or list(values["class_names"] or ()) == names:
        plain = pred_probs.to_numpy() if isinstance(pred_probs, pd.DataFrame) else pred_probs
        return from_arrays(features, labels, plain, **values), names is not None  # type: ignore[arg-type]
    # Both the columns and class_names name the classes: the columns are put in the order of class_names.
    stand_in = np.full((len(np.asarray(labels)), len(names)), 1 / len(names))
    return attach(from_arrays(features, labels, stand_in, **values), features=None, pred_probs=pred_probs)  # type: ignore[arg-type]


def _names_of_columns(pred_probs: object, labels: object) -> list[object] | None:
    """Return a data frame's column names as class names; None without a frame, or where they only count."""
    if not isinstance(pred_probs, pd.DataFrame):
        return None
    names: list[object] = list(pred_probs.columns)
    if names == list(range(len(names))):
        return None
    is_integer = np.asarray(labels).dtype.kind in "iu"
    return [int(str(name)) if is_integer and str(name).lstrip("-").isdigit() else name for name in names]


def _notes(evidence: Evidence | None, n_candidates: int) -> list[str]:
    if evidence is not None:
        return [
            "The interval of the number of wrong labels spans what is assumed about annotators: labels alone "
            "do not tell how much more often they err on hard samples than on easy ones.",
            *evidence.notes,
        ]
    if n_candidates:
        return [
            "Warning: how many labels are wrong cannot be known: features or probabilities tell the given "
            "labels no better than chance. Use another encoder, or probabilities of a better model."
        ]
    return [
        "How many labels are wrong cannot be known: fewer than two classes have enough readable, labelled "
        "rows."
    ]


def _input_hash(material: Material, task: str) -> str:
    """Return a hash of everything the numbers depend on."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(material.dataset.fingerprint().encode())
    if task == "retrieval":
        digest.update(b"retrieval")  # other rows are assessed, so that neighbours differ too
    # The encoder decides the features; a few values of each row tell two encoders apart.
    if material.features is not None:
        digest.update(str(material.features.shape).encode())
        some = material.features[:: max(1, len(material.features) // 1000)]
        digest.update(np.ascontiguousarray(some).tobytes())
    if material.pred_probs is not None:
        digest.update(np.ascontiguousarray(material.pred_probs).tobytes())
    for texts in material.text_features or ():
        digest.update(str(texts.shape).encode() + np.ascontiguousarray(texts).tobytes())
    digest.update(json.dumps([_ARITHMETIC, versions()], sort_keys=True).encode())
    return digest.hexdigest()
