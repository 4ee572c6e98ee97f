"""Torch's global random state (dropout draws from it): the caller's is left alone, ours follows the steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_draws() -> Iterator[None]:
    """Leave the caller's random state as it was."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


def seed_draws(seed: int, number: int) -> None:
    """Make the draws torch takes from its global state a function of seed and step."""
    mixed = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 1) % 2**63
    # Not torch.manual_seed: without a GPU it keeps every call, with its stack, for one that may come.
    torch.default_generator.manual_seed(mixed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        torch.cuda.manual_seed(mixed)
