"""Labels of several annotators: who is right, and how good is each of them."""

from __future__ import annotations

from tamis.crowd.answers import Answers, as_answers
from tamis.crowd.state import CrowdState

__all__ = ["Answers", "CrowdState", "as_answers"]
