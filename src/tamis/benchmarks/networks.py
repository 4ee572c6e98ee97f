"""Candidates and their networks: whether they exist and fit, and what they are made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tamis.backbones import BACKBONES, InputKind, choose_backbone
from tamis.benchmarks.trained import CandidateConfig, FrameConfig
from tamis.errors import InputError
from tamis.methods import METHODS, Recipe
from tamis.training.settings import Value, make_plugin, split_params


def check_candidates(
    config: FrameConfig,
    methods: Sequence[CandidateConfig],
    *,
    task: Literal["classification", "retrieval"],
    kinds: set[str],
) -> None:
    """Raise `InputError` where a method, plug-in, network or setting is none, or is for another task.

    Parameters
    ----------
    config, methods
        The benchmark, and those of its candidates that are trained.
    task
        What they must be for.
    kinds
        Of inputs that any data set has.
    """
    for each in methods:
        if METHODS.facts(each.method).task != task:
            raise InputError(f"method {each.method!r} is not for {task}; see tamis methods")
        check_backbone(each, kinds)
        split_params(each.method, {**config.recipe, **each.params}, config.epochs)
        for plugin in each.plugins:
            make_plugin(plugin, each.plugin_params)
    Recipe().changed(**config.recipe)


def check_backbone(candidate: CandidateConfig, kinds: set[str]) -> None:
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
    candidate: CandidateConfig, kind: InputKind, shape: Sequence[int], *, n_samples: int, device: str
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
