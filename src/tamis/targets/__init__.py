"""Training targets: what a network is asked to predict where the given label is not taken as it is."""

from __future__ import annotations

from tamis.targets.absorb_relabel import Absorbed, absorb_and_relabel
from tamis.targets.co_guess import co_guess
from tamis.targets.co_refine import co_refine
from tamis.targets.mixup import Mixed, mixup, mixup_lambda, mixup_permutation
from tamis.targets.one_hot import one_hot
from tamis.targets.pseudo_labels import PseudoLabels, pseudo_labels
from tamis.targets.self_training import RoundLabels, choose_set, round_labels
from tamis.targets.sharpen import sharpen

__all__ = [
    "Absorbed",
    "Mixed",
    "PseudoLabels",
    "RoundLabels",
    "absorb_and_relabel",
    "choose_set",
    "co_guess",
    "co_refine",
    "mixup",
    "mixup_lambda",
    "mixup_permutation",
    "one_hot",
    "pseudo_labels",
    "round_labels",
    "sharpen",
]
