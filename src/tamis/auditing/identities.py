"""The audit of identities: who does not belong, which two identities are one, which one is two."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from tamis.auditing.clock import Clock
from tamis.auditing.identity_table import identity_columns, merge_table, split_table
from tamis.auditing.material import Material
from tamis.auditing.other_issues import find_other_issues
from tamis.auditing.result import Audit
from tamis.auditing.rows import (
    NO_SIGNAL,
    SINGLE,
    Rows,
    choose_rows,
    find_neighbors,
    without_verdict,
)
from tamis.auditing.summing_up import summarise
from tamis.auditing.table import assemble_table, class_array, scattered
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.neighbors import Neighbors
from tamis.runs import StageStore
from tamis.statistics.average_similarity import average_similarity_posterior
from tamis.statistics.class_likeness import ClassHalves, ClassPairs, alike_classes, halved_classes
from tamis.statistics.class_sums import ClassSums, unit_rows
from tamis.statistics.misfits import Misfits, find_misfits
from tamis.statistics.vmf_similarity import vmf_classes, vmf_posterior
from tamis.types import FloatArray, IntArray

SMALLEST_IDENTITY = 3
"""With two members it cannot be said which of them does not belong."""

LIKELY_ONE = 0.9
"""Likeness from which two identities are listed as probably one."""

LIKELY_TWO = 0.3
"""Likeness of its halves up to which an identity is listed as probably two."""

_LEAST_COHERENCE = 0.5  # of the usual mean cosine within an identity
_SIGNAL = 3.0  # standard errors
_CLASS_BLOCK = 4096
_ENDS = math.log(2)


@dataclass(frozen=True)
class IdentityEvidence:
    """What was found about the assessed rows, in the order of ``Rows.rows``, and about their identities.

    Attributes
    ----------
    misfits : Misfits
    scores : mapping of name to (m,) float array
        One column of evidence each; lower = worse.
    merges : ClassPairs
    halves : ClassHalves
    """

    misfits: Misfits
    scores: dict[str, FloatArray]
    merges: ClassPairs
    halves: ClassHalves


def assess_identities(
    material: Material, store: StageStore, memory_budget: str | int | None, clock: Clock
) -> Audit:
    """Judge every member of every identity that has at least three.

    Parameters
    ----------
    material : Material
        With features; probabilities and prompts of classes have no part in it.
    store : StageStore
    memory_budget : str, int or None
    clock : Clock

    Returns
    -------
    Audit
        With ``merges`` and ``splits``; without run folder.

    Raises
    ------
    InputError
        There are no features, or there are probabilities or prompts.
    """
    _check(material)
    rows = choose_rows(material, smallest=SMALLEST_IDENTITY)
    rows = _singletons_named(material, rows)
    with clock("neighbours"):
        neighbors, notes = find_neighbors(material, rows, store, memory_budget)
    with clock("identities"):
        evidence = _weigh(material, rows, neighbors, memory_budget) if len(rows.rows) else None
    if len(rows.rows) and evidence is None:
        rows = without_verdict(rows, NO_SIGNAL)
    issues = _issues(material, rows, neighbors, evidence)
    summary = summarise(
        issues,
        rows,
        None,
        class_names=material.dataset.class_names,
        notes=[*material.notes, *notes, *_notes(evidence)],
        timings=clock.seconds,
    )
    classes = class_array(material)
    merges, splits = (None, None) if evidence is None else (evidence.merges, evidence.halves)
    return Audit(
        issues,
        summary,
        dataset=material.dataset,
        neighbors=None if neighbors is None else neighbors.indices,
        merges=merge_table(classes, rows, merges, LIKELY_ONE),
        splits=split_table(material, classes, rows, splits, _floor(evidence), LIKELY_TWO),
    )


def _issues(
    material: Material, rows: Rows, neighbors: Neighbors | None, evidence: IdentityEvidence | None
) -> pa.Table:
    other = find_other_issues(material, rows, neighbors, None)
    if evidence is None:
        return assemble_table(material, rows, {}, (), other)
    n = len(material.dataset)
    columns = identity_columns(material, rows, evidence.misfits, _ends(evidence.misfits))
    columns |= {name: scattered(n, rows, values) for name, values in evidence.scores.items()}
    return assemble_table(material, rows, columns, tuple(evidence.scores), other)


def _check(material: Material) -> None:
    if material.features is None:
        raise InputError(
            "task='retrieval' compares members by features, and there are none; give images, texts or "
            "features"
        )
    for given, name in ((material.pred_probs, "pred_probs"), (material.text_features, "zero_shot")):
        if given is not None:
            raise InputError(f"task='retrieval' has no use for {name}; leave it out")


def _singletons_named(material: Material, rows: Rows) -> Rows:
    """Return the rows with their own reason where an identity has one usable member."""
    codes, reasons = material.dataset.label_codes, rows.reasons.copy()
    is_out = np.array([reason in ("unlabelled", "unreadable") for reason in reasons], dtype=bool)
    counts = np.bincount(codes[~is_out], minlength=material.dataset.n_classes)
    reasons[~is_out & (counts == 1)[codes]] = SINGLE
    return replace(rows, reasons=reasons)


def _weigh(
    material: Material, rows: Rows, neighbors: Neighbors | None, memory_budget: str | int | None
) -> IdentityEvidence | None:
    """Return the evidence; None where features tell given labels from planted ones no better than chance."""
    units = _centred_units(material, rows)
    codes, n_classes = torch.from_numpy(rows.codes), len(rows.classes)
    # Rows of a block, and as many cosines with a block of identities.
    cells = 16 * units.shape[1] + 3 * min(n_classes, _CLASS_BLOCK)
    block = rows_per_block(8 * cells, parse_memory_budget(memory_budget), at_most=8192)
    misfits = find_misfits(
        units,
        codes,
        n_classes,
        groups=torch.from_numpy(_groups(rows)),
        row_block=block,
        class_block=_CLASS_BLOCK,
    )
    if misfits.gain < _SIGNAL:
        return None
    sums, spreads = misfits.prototypes, misfits.spreads
    merges = alike_classes(
        sums.sums,
        sums.weights,
        sums.squares,
        least=0.7,
        least_spread=_LEAST_COHERENCE * float(spreads.median()),
        block=_CLASS_BLOCK,
    )
    scores: dict[str, FloatArray] = {"prototype": (1 + misfits.features[:, 0].clamp(-1, 1).numpy()) / 2}
    scores |= _published(units, codes, n_classes, block)
    if neighbors is not None:
        scores["neighbor_share"] = _neighbor_share(material, rows, neighbors)
    return IdentityEvidence(misfits, scores, merges, halved_classes(units, codes, n_classes))


def _centred_units(material: Material, rows: Rows) -> torch.Tensor:
    """Return (m, d) float64 rows of length 1 about their common mean, in canonical order."""
    assert material.features is not None
    features = torch.from_numpy(np.asarray(material.features[rows.rows], dtype=np.float64))
    return unit_rows(features.sub_(features.mean(dim=0)))


def _groups(rows: Rows) -> IntArray:
    """Return (m,) numbers 0..G-1, equal for rows of one group and one identity."""
    groups = rows.groups[rows.rows]
    alone = groups.max(initial=-1) + 1 + np.arange(len(groups))
    pairs = np.stack([rows.codes, np.where(groups >= 0, groups, alone)])
    return np.unique(pairs, axis=1, return_inverse=True)[1].ravel().astype(np.int64)


def _published(units: torch.Tensor, codes: torch.Tensor, n_classes: int, block: int) -> dict[str, FloatArray]:
    """Return PRISM's two clean probabilities of the given identity, each row left out of its own."""
    sums = ClassSums(n_classes, units.shape[1]).partial_fit(units, codes)
    spreads = vmf_classes(sums)
    found: dict[str, list[FloatArray]] = {"average_similarity": [], "vmf_similarity": []}
    for start in range(0, len(units), block):
        chosen = units[start : start + block], codes[start : start + block]
        average = average_similarity_posterior(*chosen, sums, leave_one_out=True, class_block=_CLASS_BLOCK)
        vmf = vmf_posterior(*chosen, spreads, leave_one_out=True, class_block=_CLASS_BLOCK)
        found["average_similarity"].append(average.log_given.exp().numpy())
        found["vmf_similarity"].append(vmf.log_given.exp().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _neighbor_share(material: Material, rows: Rows, neighbors: Neighbors) -> FloatArray:
    """Return the share of the given identity among as many neighbours as it has other members, at most 20."""
    place = np.full(len(material.dataset) + 1, -1, dtype=np.int64)
    place[rows.rows] = rows.codes
    labels = place[neighbors.indices[rows.rows]]  # (m, k)
    others = np.bincount(rows.codes, minlength=len(rows.classes))[rows.codes] - 1
    width = np.minimum(others, labels.shape[1])
    is_near = np.arange(labels.shape[1]) < width[:, None]
    share: FloatArray = ((labels == rows.codes[:, None]) & is_near).sum(axis=1) / np.maximum(width, 1)
    return share


def _ends(misfits: Misfits) -> tuple[FloatArray, FloatArray]:
    """Return P(given label is right) where wrong labels are twice as common as estimated, and half."""
    odds = misfits.fit.log_odds
    return torch.sigmoid(odds - _ENDS).numpy(), torch.sigmoid(odds + _ENDS).numpy()


def _floor(evidence: IdentityEvidence | None) -> float:
    """Return the least coherence of a half that counts as an identity of its own."""
    return 0.0 if evidence is None else _LEAST_COHERENCE * float(evidence.misfits.spreads.median())


def _notes(evidence: IdentityEvidence | None) -> list[str]:
    if evidence is None:
        return [
            "Warning: nothing can be said about the members of identities: fewer than two identities have "
            "three members, or features tell identities apart no better than chance."
        ]
    return [
        "A score says how much a member looks like one that was put into the wrong identity at random. "
        "Wrong members that came in groups look more like each other: there may be more of them than "
        "estimated. The interval allows for twice and for half the odds.",
        "Merges and splits are hints to look at, ranked by likeness; they are no probabilities.",
    ]
