"""Every detector has a page with the five blocks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tamis.detectors import DETECTORS

PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"
BLOCKS = ["Assumes", "Call", "Formula", "Parameters", "Evidence"]


@pytest.mark.parametrize("name", DETECTORS.names())
def test_the_five_blocks(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == BLOCKS
    assert DETECTORS.get(name).__name__ in page


def test_the_index_lists_every_detector():
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    for entry in DETECTORS:
        assert f"[`{entry.name}`]({entry.name}.md)" in index
