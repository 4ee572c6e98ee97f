"""What a finished audit prints, and the same as JSON; shared by the verbs that run an audit."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from tamis.cli.screen import Column, Json, Screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tamis.auditing import Audit
    from tamis.issues.summary import AuditSummary
    from tamis.types import Estimate


def next_command(audit: Audit) -> str:
    """Return the command to run after an audit."""
    return f"tamis export {shlex.quote(str(audit.path))} --to csv"


def print_findings(screen: Screen, audit: Audit, n_worst: int) -> None:
    """Print the headline numbers, the worst labels, the notes and where everything lies."""
    for text in _headline(audit.summary):
        screen.line(text)
    _print_worst(screen, audit, n_worst)
    issues = {name: n for name, n in audit.summary.issue_counts.items() if n and name != "label"}
    if issues:
        listed = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in issues.items())
        screen.line(f"\nOther issues (rows): {listed}")
    _print_hints(screen, audit)
    if audit.summary.notes:
        screen.line("\nNotes")
        for note in audit.summary.notes:
            screen.line(f"  - {note}")
    screen.line()
    if audit.path is not None:
        screen.line(f"Report  {audit.path / 'report.html'}")
        screen.line(f"Table   {audit.path / 'issues.parquet'}")
        screen.line(f"Next    {next_command(audit)}")


def _print_hints(screen: Screen, audit: Audit) -> None:
    if audit.merges is None or audit.splits is None:
        return
    one, two = n_likely(audit.merges), n_likely(audit.splits)
    screen.line(f"\nIdentities: {one:,} pairs are perhaps one, {two:,} identities are perhaps two")


def n_likely(table: pa.Table | None) -> int | None:
    """Return how many rows of ``merges`` or ``splits`` are likely; None without the table."""
    return None if table is None else int(table["is_likely"].to_numpy().sum())


def _headline(summary: AuditSummary) -> list[str]:
    from tamis.reporting.wording import count, count_interval, counted, percent, percent_interval

    lines = [f"{counted(summary.n_assessed, 'label')} assessed in {counted(summary.n_samples, 'row')}."]
    wrong, precision = summary.expected_wrong, summary.flag_precision
    if wrong is None:
        lines.append("How many labels are wrong cannot be known here; see the notes.")
    else:
        share = f", {percent(summary.noise_rate.estimate)}" if summary.noise_rate else ""
        lines.append(
            f"About {count(wrong.estimate)} are probably wrong "
            f"(95 % interval {count_interval(wrong)}{share})."
        )
    flagged = f"{summary.n_flagged:,} flagged"
    if precision is not None and summary.n_flagged:
        flagged += f"; {percent(precision.estimate)} of them expected wrong ({percent_interval(precision)})"
    lines.append(f"{flagged}.")
    if summary.not_assessed:
        listed = ", ".join(f"{reason} {n:,}" for reason, n in summary.not_assessed.items())
        lines.append(f"Not assessed: {listed}.")
    return lines


def _print_worst(screen: Screen, audit: Audit, n_worst: int) -> None:
    from tamis.reporting.wording import percent, shown

    rows = audit.ranked(n_worst).to_pylist() if n_worst > 0 else []
    rows = [row for row in rows if row["label_score"] is not None]
    if not rows:
        return
    screen.line(f"\nThe {len(rows)} most suspicious labels")
    columns = (
        Column("rank", is_number=True),
        Column("id"),
        Column("given"),
        Column("suggested"),
        Column("given is right", is_number=True),
    )
    cells = [
        (
            str(place),
            shown(row["id"], 120).text,
            shown(row["given_label"], 24).text,
            shown(row["suggested_label"], 24).text,
            percent(row["label_score"]),
        )
        for place, row in enumerate(rows, start=1)
    ]
    screen.table(columns, cells)


def findings_json(audit: Audit, command: str, n_worst: int) -> dict[str, Json]:
    """Return an audit as the JSON object of ``--json``; NaN becomes null."""
    summary, run = audit.summary, audit.path
    worst = audit.ranked(n_worst).to_pylist() if n_worst > 0 else []
    shown_columns = ("rank", "id", "given_label", "suggested_label", "label_score")
    return {
        "command": command,
        "status": "finished",
        "run": None if run is None else str(run),
        "issues": None if run is None else str(run / "issues.parquet"),
        "report": None if run is None else str(run / "report.html"),
        "n_samples": summary.n_samples,
        "n_labelled": summary.n_labelled,
        "n_assessed": summary.n_assessed,
        "n_flagged": summary.n_flagged,
        "expected_wrong": _estimate(summary.expected_wrong),
        "noise_rate": _estimate(summary.noise_rate),
        "flag_threshold": _number(summary.flag_threshold),
        "flag_precision": _estimate(summary.flag_precision),
        "precision_at": {str(k): _estimate(value) for k, value in summary.precision_at.items()},
        "issue_counts": dict(summary.issue_counts),
        "not_assessed": dict(summary.not_assessed),
        "n_merges": n_likely(audit.merges),
        "n_splits": n_likely(audit.splits),
        "worst": [{name: _json(row.get(name)) for name in shown_columns} for row in worst],
        "notes": list(summary.notes),
        "seconds": _numbers(summary.timings),
        "next": None if run is None else next_command(audit),
    }


def _json(value: object) -> Json:
    if isinstance(value, float):
        return _number(value)
    return value if value is None or isinstance(value, int) else str(value)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Mapping[str, float]) -> dict[str, Json]:
    return {name: _number(value) for name, value in values.items()}


def _estimate(value: Estimate | None) -> dict[str, Json] | None:
    return None if value is None else _numbers(value._asdict())
