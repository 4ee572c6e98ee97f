"""A first selection where nobody brings one: labels that a simple classifier on features agrees with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from tamis.backbones.classifier import Classifier, Outputs
from tamis.data.digests import feature_digests
from tamis.detectors.clip_rules import cleaner_heap, consistency, fill_empty_classes, likelihood_in_class
from tamis.detectors.exact_duplicates import duplicate_groups
from tamis.detectors.visual_probabilities import visual_probabilities
from tamis.errors import InputError
from tamis.methods.material import Forward, Material, Scan
from tamis.neighbors import nearest_neighbors, neighbor_vote
from tamis.types import BoolArray, FloatArray, IntArray

Selector: TypeAlias = Literal["knn", "logistic"]

_TEMPERATURE = 0.1
_PRIOR_WEIGHT = 1.0
"""One neighbour's worth of doubt: without it a label that no neighbour has would have no likelihood."""

_FOLDS = 5


@dataclass(frozen=True)
class SelectionRules:
    """CLIPCleaner's two rules, without its text half.

    Attributes
    ----------
    selector : {"knn", "logistic"}
        What gives the probabilities: the vote of the nearest neighbours by cosine, a sample itself and its
        copies left out; or cross-validated logistic regression on features of unit length (scored on its own
        training rows where a class has fewer than five).
    n_neighbors : int
        Voters, for "knn".
    theta_gmm : float
        Least posterior of the cleaner of two heaps of log-likelihoods within a class; 0 keeps all.
    theta_cons : float
        Least probability of the label relative to the largest; 0 keeps all.

    Raises
    ------
    InputError
        A value out of range.
    """

    selector: Selector = "knn"
    n_neighbors: int = 30
    theta_gmm: float = 0.5
    theta_cons: float = 0.8

    def __post_init__(self) -> None:
        if self.selector not in get_args(Selector):
            raise InputError(f"selector is {self.selector!r}; expected 'knn' or 'logistic'")
        n = self.n_neighbors
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"n_neighbors is {n!r}; expected a whole number of at least 1")
        refuse_threshold(self.theta_gmm, "theta_gmm")
        refuse_threshold(self.theta_cons, "theta_cons")


def refuse_threshold(value: float, name: str) -> None:
    """Raise `InputError` where a threshold is negative or NaN."""
    if not value >= 0:
        raise InputError(f"{name} is {value}; expected a threshold of at least 0")


def first_selection(
    material: Material, scan: Scan, network: Classifier | None, rules: SelectionRules
) -> Tensor | None:
    """Return which rows are taken for rightly labelled at the start, (n,) bool.

    The initial selection where there is one. Else a selection by features: the frozen ones, or the inputs
    where they are rows of numbers, or what the network makes of them.

    Parameters
    ----------
    material : Material
    scan : Scan
    network : Classifier, optional
        None while it is too young to be asked: the answer may then be None.
    rules : SelectionRules
    """
    is_labelled = material.labels >= 0
    if material.selected is not None:
        return material.selected & is_labelled
    features = _features(material, scan, network)
    if features is None:
        return None
    found = select_by_features(
        features[is_labelled].float().cpu().numpy(),
        material.labels[is_labelled].cpu().numpy(),
        material.n_classes,
        rules,
        random_state=material.seed,
    )
    kept = torch.zeros_like(is_labelled)
    kept[is_labelled] = torch.from_numpy(found).to(kept.device)
    return kept


def select_by_features(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    rules: SelectionRules | None = None,
    *,
    random_state: int = 0,
) -> BoolArray:
    """Return which labels pass the rules under a classifier that was made from the labels themselves.

    Parameters
    ----------
    features : (n, d) float
    labels : (n,) int, at least 0
    n_classes : int
    rules : SelectionRules, optional
    random_state : int

    Returns
    -------
    (n,) bool
        No class that has samples is left without one.

    Examples
    --------
    >>> features = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]])
    >>> rules = SelectionRules(n_neighbors=2, theta_gmm=0.0)
    >>> select_by_features(features, np.array([0, 0, 1, 1, 1, 1]), 2, rules)
    array([ True,  True, False,  True,  True,  True])
    """
    rules = rules or SelectionRules()
    if len(np.unique(labels)) < 2:
        return np.ones(len(labels), dtype=np.bool_)
    if rules.selector == "knn":
        probs = _neighbor_probabilities(features, labels, n_classes, rules.n_neighbors)
    else:
        folds = _FOLDS if np.bincount(labels)[np.unique(labels)].min() >= _FOLDS else None
        probs = visual_probabilities(features, labels, n_classes, cv=folds)
    likelihood = likelihood_in_class(probs, labels)
    kept = consistency(probs, labels) >= rules.theta_cons
    kept &= cleaner_heap(likelihood, labels, n_classes, random_state=random_state) >= rules.theta_gmm
    return fill_empty_classes(kept, labels, likelihood, n_classes)


def _neighbor_probabilities(
    features: FloatArray, labels: IntArray, n_classes: int, n_neighbors: int
) -> FloatArray:
    digests = feature_digests(features)
    found = nearest_neighbors(
        features,
        k=min(n_neighbors, len(features) - 1),
        query_groups=duplicate_groups(digests),
        tie_keys=digests,
        allow_zero=True,
    )
    return neighbor_vote(
        found.indices,
        found.similarities,
        labels,
        n_classes,
        temperature=_TEMPERATURE,
        prior_weight=_PRIOR_WEIGHT,
    )


def are_features(scan: Scan, n_classes: int) -> bool:
    """Return whether the inputs are rows of numbers: neither images nor tokens."""
    return next(iter(scan.blocks(_Plain(n_classes)))).outputs.features.ndim == 2


class _Plain:
    """Hands inputs through, in the place of a network."""

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes

    def __call__(self, inputs: Tensor) -> Outputs:
        # Numbers of tokens are no coordinates.
        features = inputs if inputs.is_floating_point() else inputs.unsqueeze(-1)
        return Outputs(torch.zeros(len(inputs), self._n_classes, device=inputs.device), features, None)


def _features(material: Material, scan: Scan, network: Classifier | None) -> Tensor | None:
    if material.has_features:
        return material.features()
    forward: Forward | None = (
        _Plain(material.n_classes) if are_features(scan, material.n_classes) else network
    )
    return None if forward is None else torch.cat([block.outputs.features for block in scan.blocks(forward)])
