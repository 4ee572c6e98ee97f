"""Rules that say during training which labels to trust, usable in any PyTorch loop."""

from __future__ import annotations

from tamis.selectors.bare import BareSelector, bare_loss, bare_selection
from tamis.selectors.selection import Selection, Selector, logits_of
from tamis.selectors.small_loss import SmallLossSelector, small_loss_selection

__all__ = [
    "BareSelector",
    "Selection",
    "Selector",
    "SmallLossSelector",
    "bare_loss",
    "bare_selection",
    "logits_of",
    "small_loss_selection",
]
