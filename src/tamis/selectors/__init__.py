"""Rules that say during training which labels to trust, usable in any PyTorch loop."""

from __future__ import annotations

from tamis.selectors.bare import BareSelector, bare_loss, bare_selection
from tamis.selectors.oracle import OracleSelector
from tamis.selectors.prism import Prism
from tamis.selectors.prism_scores import prism_scores
from tamis.selectors.quantile_filter import prism_filter
from tamis.selectors.random_drop import RandomDrop
from tamis.selectors.selection import Selection, Selector, logits_of
from tamis.selectors.small_loss import SmallLossSelector, small_loss_selection

__all__ = [
    "BareSelector",
    "OracleSelector",
    "Prism",
    "RandomDrop",
    "Selection",
    "Selector",
    "SmallLossSelector",
    "bare_loss",
    "bare_selection",
    "logits_of",
    "prism_filter",
    "prism_scores",
    "small_loss_selection",
]
