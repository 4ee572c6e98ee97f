"""The state of a run on disk: where it stands, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tamis.engine.checkpoint import (
    below,
    flat_optimizer,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from tamis.errors import RunError
from tamis.methods.base import Method
from tamis.methods.batches import Pass, Stream

if TYPE_CHECKING:
    from tamis.engine.training import Training

LAST = "last.safetensors"
BEST = "best.safetensors"


class SavedState:
    """Reads and writes the checkpoints of a run.

    Parameters
    ----------
    folder : Path, optional
        Nothing is written or read where it is None.
    run_key : str
        What makes the run what it is, hashed: data, method, settings.
    is_writer : bool, default=True
        Only one of several processes writes.
    """

    def __init__(self, folder: Path | None, run_key: str, *, is_writer: bool = True) -> None:
        self._folder = None if folder is None else folder / "checkpoints"
        self._run_key = run_key
        self._is_writer = is_writer

    def write(self, training: Training) -> None:
        """Save where the run stands."""
        if self._folder is None or not self._is_writer:
            return
        tensors = {f"method/{name}": value for name, value in training.method.state_dict().items()}
        tensors |= {f"plugins/{name}": value for name, value in training.plugins.state_dict().items()}
        tensors |= {f"sums/{name}": value for name, value in training.sums.items()}
        optimizers: dict[str, Any] = {}
        for name, optimizer in training.optimizers.items():
            own, optimizers[name] = flat_optimizer(f"optimizers/{name}", optimizer)
            tensors |= own
        plan = training.plan or []
        for number, part in enumerate(plan):
            tensors |= {f"plan/{number}/{name}": stream.index for name, stream in part.streams.items()}
        facts = {
            "run_key": self._run_key,
            "epoch": training.epoch,
            "step": training.step,
            "pass_number": training.pass_number,
            "position": training.position,
            "best": training.best,
            "records": training.records.lines,
            "optimizers": optimizers,
            "plan": [_described(part) for part in plan],
            "precision": training.fabric.strategy.precision.state_dict(),
        }
        write_checkpoint(self._folder / LAST, tensors, facts)

    def write_best(self, method: Method, best: dict[str, float]) -> None:
        """Save the weights of the epoch that is the best so far."""
        if self._folder is not None and self._is_writer:
            write_checkpoint(self._folder / BEST, method.state_dict(), {"run_key": self._run_key, **best})

    def restore(self, training: Training) -> bool:
        """Put a run where its last checkpoint stood; False if there is none.

        Raises
        ------
        RunError
            The checkpoint is damaged, or of another run.
        """
        path = None if self._folder is None else self._folder / LAST
        if path is None or not path.exists():
            training.records.restore([])
            return False
        tensors, facts = read_checkpoint(path)
        if facts["run_key"] != self._run_key:
            raise RunError(
                f"{path} belongs to a run with other data or settings; choose another folder or remove it"
            )
        training.method.load_state_dict(below("method/", tensors))
        training.plugins.load_state_dict(below("plugins/", tensors))
        for name, optimizer in training.optimizers.items():
            restore_optimizer(f"optimizers/{name}", optimizer, tensors, facts["optimizers"][name])
        training.fabric.strategy.precision.load_state_dict(facts.get("precision", {}))
        device = training.fabric.device
        training.sums = {name: value.to(device) for name, value in below("sums/", tensors).items()}
        training.epoch, training.step = facts["epoch"], facts["step"]
        training.pass_number, training.position = facts["pass_number"], facts["position"]
        training.best = facts["best"]
        training.records.restore(facts["records"])
        training.plan = _plan(facts["plan"], tensors, device) or None
        return True


def _described(part: Pass) -> dict[str, Any]:
    streams = {
        name: {"views": list(stream.views), "batch_size": stream.batch_size, "drop_last": stream.drop_last}
        for name, stream in part.streams.items()
    }
    return {"name": part.name, "n_steps": part.n_steps, "streams": streams}


def _plan(described: list[dict[str, Any]], tensors: dict[str, Tensor], device: torch.device) -> list[Pass]:
    plan = []
    for number, part in enumerate(described):
        streams = {
            name: Stream(
                tensors[f"plan/{number}/{name}"].to(device),
                tuple(facts["views"]),
                facts["batch_size"],
                facts["drop_last"],
            )
            for name, facts in part["streams"].items()
        }
        plan.append(Pass(streams, part["name"], part["n_steps"]))
    return plan
