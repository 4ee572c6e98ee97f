"""Writes the report of an audit: one HTML file without scripts and without any outside request."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from pathlib import Path

import jinja2
import pyarrow as pa
from markupsafe import Markup

from tamis.data.dataset import Dataset
from tamis.errors import InputError
from tamis.issues.schema import issue_schema
from tamis.issues.summary import AuditSummary
from tamis.reporting.curves import TrainingSection
from tamis.reporting.identities import Identities
from tamis.reporting.view import Page, build_page
from tamis.runs import write_text
from tamis.types import IntArray


def write_report(
    path: Path,
    *,
    source: str,
    summary: AuditSummary,
    issues: pa.Table,
    dataset: Dataset | None,
    neighbors: IntArray | None,
    n_examples: int = 60,
    run: Path | None = None,
    random_state: int | None = None,
    annotators: pa.Table | None = None,
    training: TrainingSection | None = None,
    identities: Identities | None = None,
    embedding_map: pa.Table | None = None,
) -> None:
    """Write the report of an audit as one HTML file that can be read offline.

    The file holds no script and asks for nothing from outside; its content policy forbids both. Every
    name and text is escaped, and characters that hide or reorder others are spelled out. With 60
    examples it stays under 5 MB. The same input gives the same bytes.

    Parameters
    ----------
    path : Path
        Where to write; replaced atomically.
    source : str
        Where the data came from, for people.
    summary : AuditSummary
    issues : pyarrow.Table
        Issue table of ``n`` rows in data-set order.
    dataset : Dataset or None
        Brings pictures (``inputs["image"]``) and texts (``inputs["text"]``); None shows ids only.
    neighbors : (n, k) integer array or None
        Row indices of the nearest samples, nearest first, -1 = none.
    n_examples : int
        Labels in the gallery at most.
    run : Path or None
        Folder of the run, for the next command; default: the folder of ``path`` if it holds an issue table.
    random_state : int or None
        Seed of the audit, if it should be named.
    annotators : pyarrow.Table or None
        Of a crowd audit: worker, n_answers, quality.
    training : TrainingSection or None
        Of the run of a training: its method, its settings and its curves.
    identities : Identities or None
        Of an audit of identities: pairs that may be one, and those that may be two.
    embedding_map : pyarrow.Table or None
        Samples on a map of the features: row, x, y; metadata ``variance``.

    Raises
    ------
    InputError
        The table lacks columns, or lengths do not match.

    Examples
    --------
    >>> import tempfile
    >>> from tamis.issues.schema import issue_schema
    >>> nothing = issue_schema(pa.string(), ()).empty_table()
    >>> summary = AuditSummary(0, 0, 0, 0, (), None, None, 0.5, None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "report.html"
    ...     write_report(path, source="none", summary=summary, issues=nothing, dataset=None, neighbors=None)
    ...     "No sample carries a label" in path.read_text(encoding="utf-8")
    True
    """
    _check(issues, dataset, neighbors, n_examples)
    if run is None and (path.parent / "issues.parquet").exists():
        run = path.parent
    page = build_page(
        source=source,
        summary=summary,
        issues=issues,
        dataset=dataset,
        neighbors=neighbors,
        n_examples=n_examples,
        run=run,
        random_state=random_state,
        annotators=annotators,
        training=training,
        identities=identities,
        embedding_map=embedding_map,
    )
    write_text(path, _render(page))


def _check(issues: pa.Table, dataset: Dataset | None, neighbors: IntArray | None, n_examples: int) -> None:
    n = issues.num_rows
    missing = [name for name in issue_schema(pa.string(), ()).names if name not in issues.column_names]
    if missing:
        raise InputError(f"issues lacks the columns {missing}; build the table with tamis.audit")
    if dataset is not None and len(dataset) != n:
        raise InputError(
            f"dataset has {len(dataset)} rows but issues has {n}; pass the data that were audited"
        )
    if neighbors is not None and (neighbors.ndim != 2 or len(neighbors) != n):
        raise InputError(
            f"neighbors has shape {neighbors.shape}; it must be ({n}, k), one row per row of issues"
        )
    if neighbors is not None and neighbors.size and not -1 <= neighbors.min() <= neighbors.max() < n:
        raise InputError(
            f"neighbors holds row indices from {neighbors.min()} to {neighbors.max()}; "
            f"legal are 0 to {n - 1}, and -1 for none"
        )
    if n_examples < 0:
        raise InputError(f"n_examples is {n_examples}; it must be 0 or more")


def _render(page: Page) -> str:
    css = resources.files("tamis.reporting").joinpath("templates", "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("report.html")
    # The style sheet is our own file; its hash in the policy lets no other style through.
    return template.render(page=page, css=Markup(css), policy=policy)  # noqa: S704


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("tamis.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
