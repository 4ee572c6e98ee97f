"""What a run does beside training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tamis.engine.evaluation import Evaluation
from tamis.engine.records import Record


@dataclass
class Settings:
    """What a run does beside training.

    Attributes
    ----------
    out : Path, optional
        Folder of the checkpoints and the log; nothing is kept where it is None.
    run_key : str
        Tells this run from others: a checkpoint of another run is not continued.
    evaluations : mapping of str to Evaluation
        Labelled rows whose accuracy is measured after every epoch. The best epoch is that of
        ``"validation"``.
    checkpoint_seconds : float
        Save within an epoch after so long; at the end of an epoch the state is saved anyway.
    tensorboard : bool
        Also write event files.
    report_epoch : callable, optional
        Is shown every record of the log when it is written, in the first process.
    title : str
        Of the bar that shows the progress.
    """

    out: Path | None = None
    run_key: str = ""
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    checkpoint_seconds: float = 300.0
    tensorboard: bool = False
    report_epoch: Callable[[Record], None] | None = None
    title: str = "training"

    def of_stage(self, name: str) -> Settings:
        """Return the settings of a stage before the training: in a folder of its own, nothing evaluated."""
        out = None if self.out is None else self.out / name
        key = f"{self.run_key} {name}"
        return replace(self, out=out, run_key=key, evaluations={}, report_epoch=None, title=name)
