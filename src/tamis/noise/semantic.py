"""Semantic noise from an ontology: a class is taken for its nearest relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_choice, check_codes, check_rate, check_whole
from tamis.noise.draws import picks, uniforms
from tamis.noise.hits import class_rows
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.ontology import ClassTree, Node, Ontology
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray

Weighting = Literal["uniform", "tree_distance"]


@NOISE_MODELS.register(
    "semantic",
    Facts(
        title="Semantic (ontology)",
        inputs=("ontology",),
        year=2024,
        paper="Barbany et al.: ProcSim: proxy-based confidence for robust similarity learning, WACV",
    ),
)
def semantic(
    labels: npt.ArrayLike,
    ontology: Ontology,
    rate: float = 0.4,
    class_names: Sequence[Node] | None = None,
    random_state: int = 0,
    *,
    levels: int = 1,
    weighting: Weighting = "uniform",
) -> NoisyLabels:
    """Return labels of which a share was replaced by a relative of the class in an ontology.

    The new class is drawn from the other classes under the lowest ancestor that has at least two: siblings
    where there are any. The idea is that of the paper, the details are ours: they could not be read.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to K - 1.
    ontology : mapping or sequence
        ``{child: parent}``; nested mappings such as ``{"pet": {"dog": {}, "cat": {}}, "vehicle": ["car",
        "truck"]}``; one list of ancestors for every class, root first; or an integer array of parents, -1
        at a root, whose first K entries are the classes.
    rate : float
        In [0, 1]: the probability that a sample gets a new class; never its own.
    class_names : sequence of str or int, optional
        The name of every class in the ontology, in the order of the codes; by default the codes themselves.
    random_state : int
        Seed, 0 to 2**64 - 1.
    levels : int
        How far to climb at least before the ancestor is chosen: 1 = siblings, larger = wider mistakes.
    weighting : {"uniform", "tree_distance"}
        The classes under the ancestor are equally likely, or in inverse proportion to the number of edges
        between them and the true class (it differs from uniform where these differ, as with ``levels=2``).

    Returns
    -------
    NoisyLabels
        ``details``: ``n_fallback_classes``, classes with no relative below the root, which are confused
        uniformly; ``n_fallback_flips``, samples of theirs that were hit; ``share_in_parent``, the share of
        all flips that stay under the immediate parent (absent where there are no flips).

    Raises
    ------
    InputError
        If an argument is outside its range, the ontology has fewer than two classes, lacks one or names it
        twice, or a node is its own ancestor.

    References
    ----------
    .. [1] O. Barbany et al., "ProcSim", WACV 2024.

    Examples
    --------
    >>> ontology = {"pet": ["cat", "dog"], "vehicle": ["car", "truck"]}
    >>> semantic([0, 1, 2, 3], ontology, 1.0, ["car", "cat", "dog", "truck"]).labels
    array([3, 2, 1, 0])
    """
    tree = ClassTree(ontology, class_names)
    if len(tree) < 2:
        raise InputError("ontology has a single class; a wrong label needs at least one more")
    check_choice(weighting, "weighting", ("uniform", "tree_distance"))
    levels = check_whole(levels, "levels", 1)
    true = check_codes(labels, len(tree))
    rate = check_rate(rate)
    draws = uniforms(random_state, "semantic", len(true), 2)
    is_hit = draws[:, 0] < rate
    noisy = true.copy()
    for code, members in class_rows(true):
        rows = members[is_hit[members]]
        others, weights = _relatives(tree, code, levels, weighting)
        noisy[rows] = others[picks(weights, draws[rows, 1])]
    return NoisyLabels.from_flips(
        true,
        noisy,
        lambda: _transition(tree, rate, levels, weighting),
        nominal_rate=rate,
        expected_rate=rate if len(true) else 0.0,
        n_classes=len(tree),
        model="semantic",
        convention=f"{weighting} under the lowest ancestor with two classes, {levels} up at least",
        details=_details(tree, true, noisy),
    )


def _relatives(tree: ClassTree, code: int, levels: int, weighting: str) -> tuple[IntArray, FloatArray]:
    """Return the (m,) classes that a class is taken for, and their weights."""
    members = tree.under(tree.ancestor(code, levels))
    others = members[members != code]
    if weighting == "uniform":
        return others, np.ones(len(others))
    return others, 1 / tree.distances(code, others)


def _transition(tree: ClassTree, rate: float, levels: int, weighting: str) -> FloatArray:
    transition = np.eye(len(tree)) * (1 - rate)
    for code in range(len(tree)):
        others, weights = _relatives(tree, code, levels, weighting)
        transition[code, others] = rate * weights / weights.sum()
    return transition


def _details(tree: ClassTree, true: IntArray, noisy: IntArray) -> dict[str, float]:
    is_fallback = np.array([len(tree.under(tree.ancestor(code))) == len(tree) for code in range(len(tree))])
    wrong = np.flatnonzero(noisy != true)
    details: dict[str, float] = {
        "n_fallback_classes": int(is_fallback.sum()),
        "n_fallback_flips": int(is_fallback[true[wrong]].sum()),
    }
    if wrong.size:
        n_inside = sum(
            int(np.isin(noisy[wrong[rows]], tree.under(tree.paths[code][:-1])).sum())
            for code, rows in class_rows(true[wrong])
        )
        details["share_in_parent"] = n_inside / len(wrong)
    return details
