"""The network of a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tamis.backbones import BACKBONES, InputKind, choose_backbone
from tamis.errors import InputError
from tamis.training.settings import Value

Options = Mapping[str, bool | int | float | str | list[float]]


class Candidate(Protocol):
    """What a configuration says of a candidate and its network."""

    @property
    def title(self) -> str:
        """Name in tables."""

    @property
    def backbone(self) -> str:
        """Name of a network, or "auto"."""

    @property
    def backbone_options(self) -> Options:
        """Of the network."""


def check_backbone(candidate: Candidate, kinds: set[str]) -> None:
    """Raise `InputError` where there is no such network, or it takes other inputs than any data set has."""
    if candidate.backbone == "auto":
        return
    (takes,) = BACKBONES.facts(candidate.backbone).inputs
    if takes not in kinds:
        raise InputError(
            f"method {candidate.title!r}: backbone {candidate.backbone!r} takes {takes}, the data hold "
            f"{' and '.join(sorted(kinds))}"
        )


def backbone_of(
    candidate: Candidate, kind: InputKind, shape: Sequence[int], *, n_samples: int, device: str
) -> tuple[str, dict[str, Value]]:
    """Return the name and the options of a candidate's network for inputs of a kind and shape.

    Raises
    ------
    InputError
        See `check_backbone`.
    """
    options: dict[str, Value] = {
        key: tuple(int(each) for each in value) if isinstance(value, list) else value
        for key, value in candidate.backbone_options.items()
    }
    if candidate.backbone != "auto":
        check_backbone(candidate, {kind})
        return candidate.backbone, options
    found = choose_backbone(kind, tuple(shape), n_samples=n_samples, device=device)
    return found.name, {**found.options, **options}
