"""Exporting a finished audit: a corrected, filtered or annotated copy of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tamis.errors import InputError
from tamis.exporting.finished import FinishedAudit, read_finished
from tamis.exporting.modes import MODES, Mode, apply_mode
from tamis.exporting.source import add_source_columns
from tamis.exporting.spreadsheet import count_dangerous, defuse
from tamis.exporting.writers import FORMATS, HF_MARKER, SUFFIXES, Format, split_writable, write_file, write_hf

_RUN_FILES = frozenset({"run.json", "issues.parquet", "report.html"})


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote.

    Attributes
    ----------
    path : Path
        The file, or the folder for ``"hf"``.
    format : str
    mode : str
    n_rows : int
        Rows written.
    n_changed, n_removed : int
        Labels replaced by their suggestion; rows left out.
    n_unlabelled, n_not_assessed : int
        Rows written without a label; labelled rows written though the audit could not assess them.
    n_dangerous_cells : int
        CSV only: text cells that a spreadsheet would run as formulas (they have an apostrophe before them
        if ``spreadsheet_safe``).
    notes : tuple of str
        What a reader of the file must know.
    """

    path: Path
    format: Format
    mode: Mode
    n_rows: int
    n_changed: int
    n_removed: int
    n_unlabelled: int
    n_not_assessed: int
    n_dangerous_cells: int
    notes: tuple[str, ...]


def export_labels(
    run: str | Path,
    *,
    to: str = "csv",
    out: str | Path | None = None,
    mode: Mode = "corrected",
    threshold: float | None = None,
    spreadsheet_safe: bool = False,
    force: bool = False,
) -> ExportResult:
    """Write a copy of the audited data set with its labels corrected, filtered or annotated.

    The columns of the source are kept where it can be read again, else the copy holds ids and labels. The
    source itself is never modified, and the copy appears whole or not at all.

    Parameters
    ----------
    run : path
        Run folder of a finished audit.
    to : str
        ``"csv"``, ``"parquet"``, ``"jsonl"``, ``"hf"`` (a folder for ``datasets.load_from_disk``), or a file
        name with one of those suffixes.
    out : path, optional
        Where to write; by default a file named after the mode in the run folder.
    mode : {"corrected", "filtered", "annotated"}
        Flagged labels replaced by the suggestion; flagged rows left out; everything kept, with the verdict
        in columns of its own. Unlabelled rows and rows that were not assessed are always kept.
    threshold : float, optional
        Flag rows whose ``label_score`` (probability that the given label is right) is below it, in
        [0, 1]; by default the flags of the audit.
    spreadsheet_safe : bool
        CSV only: put an apostrophe before text cells that a spreadsheet would run as formulas. Off by
        default, and then the CSV holds exactly what the data hold.
    force : bool
        Replace an earlier export at ``out``.

    Returns
    -------
    ExportResult

    Raises
    ------
    InputError
        If an argument is not legal, or ``out`` exists, or is the source or a file of the run.
    RunError
        If the audit has not finished or its files are damaged.
    MissingExtraError
        If ``"hf"`` is asked for without the extra ``hub``.
    """
    kind, target = _target(Path(run), to, None if out is None else Path(out), mode)
    if spreadsheet_safe and kind != "csv":
        raise InputError(f"spreadsheet_safe is for CSV; {kind} is not run by a spreadsheet, leave it out")
    audit = read_finished(Path(run))
    _check_target(target, kind, audit, force=force)

    copy = apply_mode(audit.issues, mode, threshold)
    full = add_source_columns(copy.table, copy.rows, audit, with_images=kind == "hf")
    notes = list(full.notes)
    table, left_out = split_writable(full.table, kind)
    if left_out:
        notes.append(
            f"{kind} cannot hold bytes: left out the columns {', '.join(left_out)}; use parquet or hf"
        )
    n_dangerous = count_dangerous(table) if kind == "csv" else 0
    if n_dangerous:
        notes.append(_spreadsheet_note(n_dangerous, is_safe=spreadsheet_safe))
    if kind == "hf":
        write_hf(table, target, audit.class_names, full.image_column)
    else:
        write_file(defuse(table) if spreadsheet_safe else table, target, kind)
    return ExportResult(
        path=target,
        format=kind,
        mode=mode,
        n_rows=table.num_rows,
        n_changed=copy.n_changed,
        n_removed=copy.n_removed,
        n_unlabelled=copy.n_unlabelled,
        n_not_assessed=copy.n_not_assessed,
        n_dangerous_cells=n_dangerous,
        notes=tuple(notes),
    )


def _target(run: Path, to: str, out: Path | None, mode: str) -> tuple[Format, Path]:
    """Return the format and the path to write."""
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    for kind in FORMATS:
        if to == kind:
            return kind, out or run / (mode if kind == "hf" else f"{mode}.{kind}")
    suffix = Path(to).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"to is {to!r}; give one of {', '.join(FORMATS)}, or a file name ending in {', '.join(SUFFIXES)}"
        )
    if out is not None:
        raise InputError(f"to is the file {to!r} and out is {str(out)!r}; give the file name once")
    return SUFFIXES[suffix], Path(to)


def _check_target(target: Path, kind: Format, audit: FinishedAudit, *, force: bool) -> None:
    here, run = target.resolve(), audit.folder.resolve()
    if here == run or (here.parent == run and here.name in _RUN_FILES):
        raise InputError(f"{target} belongs to the audit itself; give another out")
    if audit.source is not None:
        source = audit.source.resolve()
        # The run folder may lie inside the audited folder; nothing else of that folder may be written.
        is_inside = source in here.parents and source.is_dir() and run not in here.parents
        if here == source or here in source.parents or is_inside:
            raise InputError(f"{target} would modify the source {audit.source}; give an out elsewhere")
    if here in run.parents:
        raise InputError(f"{target} holds the run folder itself; give another out")
    if target.exists() and not force:
        raise InputError(f"{target} exists; give another out, or force to replace it")
    is_saved_data_set = (target / HF_MARKER).is_file()
    if target.exists() and (not is_saved_data_set if kind == "hf" else target.is_dir()):
        raise InputError(f"{target} is not an earlier {kind} export; remove it yourself or give another out")


def _spreadsheet_note(count: int, *, is_safe: bool) -> str:
    if is_safe:
        return f"{count} cells that a spreadsheet would run as formulas have an apostrophe before them"
    return (
        f"{count} cells begin with = + - @, tab or carriage return: a spreadsheet may run them as formulas. "
        "Export with spreadsheet_safe (--spreadsheet-safe) before opening the file in one"
    )
