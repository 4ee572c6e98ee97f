"""Make the crowds of this folder importable, and one of them a fixture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from crowds import Crowd, make_crowd


@pytest.fixture
def crowd() -> Crowd:
    """Return 240 answers of nine workers about 60 tasks of three classes."""
    return make_crowd()
