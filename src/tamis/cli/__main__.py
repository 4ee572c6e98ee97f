"""``python -m tamis.cli``."""

from __future__ import annotations

from tamis.cli import entry

if __name__ == "__main__":
    entry()
