"""Checkpoints: one safetensors file, tensors in its body and all else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tamis.errors import RunError
from tamis.runs import atomic_path

_FORMAT = "tamis-checkpoint-1"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write tensors and JSON-ready facts to one file, atomically."""
    from safetensors.torch import save_file

    # Tensors that share memory (tied weights) are written as copies of their own.
    body = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # One entry alone: the library writes several in any order, and equal runs shall give equal files.
    header = {_FORMAT: json.dumps(facts)}
    with atomic_path(path) as temporary:
        save_file(body, str(temporary), metadata=header)


def read_checkpoint(
    path: Path, advice: str = "remove it to start again"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a checkpoint; ``advice`` ends the message where it is none.

    Raises
    ------
    RunError
        The file is damaged, or no checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if _FORMAT not in header:
                raise RunError(f"{path} is not a checkpoint of this version; {advice}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            facts: dict[str, Any] = json.loads(header[_FORMAT])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); {advice}") from error
    return tensors, facts


def flat_optimizer(name: str, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of an optimiser as named tensors, and the rest of it ready for JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, object]] = {}
    for parameter, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{name}/{parameter}/{key}"] = value
            else:
                numbers.setdefault(str(parameter), {})[key] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def restore_optimizer(
    name: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Give an optimiser back what `flat_optimizer` took from it."""
    state: dict[int, dict[str, object]] = {}
    for key, tensor in tensors.items():
        if key.startswith(f"{name}/"):
            _, parameter, entry = key.rsplit("/", 2)
            state.setdefault(int(parameter), {})[entry] = tensor
    for parameter, entries in facts["numbers"].items():
        state.setdefault(int(parameter), {}).update(entries)
    groups = [
        {
            key: tuple(value) if isinstance(value, list) and key == "betas" else value
            for key, value in g.items()
        }
        for g in facts["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, under their names without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
