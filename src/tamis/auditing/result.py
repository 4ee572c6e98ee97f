"""What an audit returns, and how it is read back from its run folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.auditing.summing_up import Scores
from tamis.data import Dataset
from tamis.errors import InputError, RunError
from tamis.issues.schema import WITH_ISSUES
from tamis.issues.summary import AuditSummary
from tamis.reporting import write_report
from tamis.reporting.identities import Identities
from tamis.runs import read_json
from tamis.types import Estimate, FloatArray, IntArray


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """The verdict on every given label of a data set.

    Attributes
    ----------
    issues : pyarrow.Table
        One row per sample in data-set order; see ``docs/issue-table.md``.
    summary : AuditSummary
    path : Path or None
        The run folder, if the audit wrote one.
    dataset : Dataset or None
        None after `load`.
    neighbors : (n, k) int64 array or None
        Row numbers of each sample's nearest neighbours, -1 = none.
    random_state : int
    annotators : pyarrow.Table or None
        Of an audit of crowd answers: worker, n_answers, n_alone, quality (expected share of right answers).
    merges, splits : pyarrow.Table or None
        Of an audit of identities: pairs that may be one, and identities that may be two, the most
        conspicuous first; see ``docs/identities.md``.
    embedding_map : pyarrow.Table or None
        Where features exist, some samples in two dimensions: row, x, y; see ``docs/report.md``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.concatenate([np.linspace(0, 1, 40), np.linspace(5, 6, 40)])[:, None]
    >>> y = np.repeat([0, 1], 40)
    >>> y[3] = 1
    >>> import tamis
    >>> found = tamis.audit(features=np.hstack([x, 6 - x]), labels=y)
    >>> found.ranked(1)["id"].to_pylist()
    ['3']
    """

    issues: pa.Table
    summary: AuditSummary
    path: Path | None = None
    dataset: Dataset | None = None
    neighbors: IntArray | None = None
    random_state: int = 0
    annotators: pa.Table | None = None
    merges: pa.Table | None = None
    splits: pa.Table | None = None
    embedding_map: pa.Table | None = None

    def __repr__(self) -> str:
        wrong = self.expected_wrong
        about = "unknown" if wrong is None else f"about {wrong.estimate:,.0f}"
        return (
            f"<tamis.Audit: {self.summary.n_assessed:,} of {self.summary.n_samples:,} labels assessed, "
            f"{about} wrong, {self.summary.n_flagged:,} flagged>"
        )

    @property
    def expected_wrong(self) -> Estimate | None:
        """Expected number of wrong labels among the assessed rows, with a 95 % interval."""
        return self.summary.expected_wrong

    @property
    def transition(self) -> FloatArray | None:
        """(K, K) estimate of P(given | true), rows true classes in ``summary.class_names`` order."""
        return self.summary.transition

    def precision_at(self, k: int) -> Estimate | None:
        """Return the expected share of wrong labels among the ``k`` most suspicious rows.

        None if no row is assessed. Beyond the number of assessed rows, all of them count.

        Raises
        ------
        InputError
            If ``k`` is below 1.
        """
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1")
        return Scores(self.issues).precision_at(k)

    def ranked(self, n: int | None = None) -> pa.Table:
        """Return the ``n`` most suspicious rows, worst first; by default all assessed rows.

        Raises
        ------
        InputError
            If ``n`` is negative.
        """
        if n is not None and n < 0:
            raise InputError(f"n is {n}; it must be 0 or more")
        assessed = self.issues.filter(pc.field("is_assessed"))
        return assessed.sort_by("rank").slice(0, n)

    def to_pandas(self) -> pd.DataFrame:
        """Return the issue table as a data frame."""
        frame: pd.DataFrame = self.issues.to_pandas()
        return frame

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as one self-contained HTML file and return its path."""
        target = Path(path)
        write_report(
            target,
            source=self.dataset.source if self.dataset is not None else "",
            summary=self.summary,
            issues=self.issues,
            dataset=self.dataset,
            neighbors=self.neighbors,
            run=self.path,
            random_state=self.random_state,
            annotators=self.annotators,
            identities=Identities(self.merges, self.splits),
            embedding_map=self.embedding_map,
        )
        return target

    @classmethod
    def load(cls, run: str | os.PathLike[str]) -> Audit:
        """Read a finished audit back from its run folder (without the data it was made from).

        The run of a training holds an issue table too: its verdict is read in the same way.

        Raises
        ------
        InputError
            If the folder is not the run of an audit or a training.
        RunError
            If the run has not finished, or a file is damaged.
        """
        folder = Path(run)
        if not (folder / "run.json").exists():
            raise InputError(f"{folder} holds no run.json; give the run folder that `tamis audit` printed")
        description = read_json(folder / "run.json")
        if description.get("command") not in WITH_ISSUES:
            raise InputError(
                f"{folder} is a run of {description.get('command')!r}, not of an audit or a training"
            )
        if description.get("status") != "finished":
            raise RunError(f"the run in {folder} has not finished; run the same command again to continue it")
        try:
            issues = pq.read_table(folder / "issues.parquet")
            summary = AuditSummary.from_json(description["summary"])
            seed = int(str(description.get("seed", 0)))
            tables = {name: _table(folder / f"{name}.parquet") for name in TABLES}
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise RunError(
                f"{folder} is damaged ({error}); run the same command again to rebuild it"
            ) from error
        neighbors = folder / "neighbors.npy"
        found = np.load(neighbors, mmap_mode="r", allow_pickle=False) if neighbors.exists() else None
        return cls(issues, summary, folder, None, found, seed, **tables)


TABLES = ("annotators", "merges", "splits", "embedding_map")
"""Tables that an audit may have beside its issues: attributes of `Audit`, and files of the run folder."""


def _table(path: Path) -> pa.Table | None:
    return pq.read_table(path) if path.exists() else None
