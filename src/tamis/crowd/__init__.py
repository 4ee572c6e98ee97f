"""Labels of several annotators: who is right, and how good is each of them."""

from __future__ import annotations
