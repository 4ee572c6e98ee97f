"""Condensed tables of the detection benchmark: for each group of sets one table a figure.

    python benchmarks/detection_page.py runs/bench-detection --out tables.md

Reads what `tamis bench benchmarks/detection.toml` wrote. Cells are means over seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from results import Cell, Column, hand_over, markdown

from tamis.runs import read_json

Row = dict[str, Cell]
FIGURES = (
    ("ap", "Average precision", ".3f"),
    ("auroc", "AUROC", ".3f"),
    ("f1", "F1 at the flag", ".3f"),
    ("ece", "Calibration error of the scores read as probabilities", ".3f"),
)
COST = (("cpu", "CPU seconds", ".2f"), ("added_mb", "Peak memory beyond the inputs, MB", ".0f"))
SHORT = {"symmetric 0.2": "sym 20", "symmetric 0.4": "sym 40", "pair_flip 0.2": "pair 20"}
SHORT |= {"instance_dependent 0.2": "inst 20"}


class Group(NamedTuple):
    """Sets that share tables: a heading, which rows, and the heading of a row's column."""

    heading: str
    has: Callable[[Row], bool]
    column: Callable[[Row], str]
    figures: Sequence[tuple[str, str, str]]


def is_crowd(row: Row) -> bool:
    return data_of(row).startswith("crowd ") or "three" in data_of(row)


def data_of(row: Row) -> str:
    return str(row["data"])


def size_of(row: Row) -> str:
    """Return the column of a row in tables of costs: one for each shape of inputs."""
    name = data_of(row)
    return (
        "CIFAR-10N" if name.startswith("CIFAR-10N ") and "three" not in name else name.removeprefix("crowd ")
    )


CROWD = (("suggested_right", "Accuracy of the labels that are suggested", ".3f"), FIGURES[0], FIGURES[3])
GROUPS = (
    Group(
        "CIFAR-10N",
        lambda row: size_of(row) == "CIFAR-10N",
        lambda row: data_of(row).removeprefix("CIFAR-10N "),
        FIGURES,
    ),
    Group(
        "Planted errors",
        lambda row: row["noise"] is not None,
        lambda row: f"{data_of(row)} {SHORT.get(str(row['noise']), row['noise'])}",
        FIGURES,
    ),
    Group(
        "Errors that people confirmed",
        lambda row: "test" in data_of(row) or "verdicts" in data_of(row),
        data_of,
        FIGURES,
    ),
    Group(
        "Crowds",
        is_crowd,
        lambda row: data_of(row).removeprefix("crowd ").replace("CIFAR-10N three annotators", "CIFAR-10N x3"),
        CROWD,
    ),
    Group("Cost", lambda row: not is_crowd(row), size_of, COST),
    Group("Cost on crowds", is_crowd, size_of, COST),
)


def values_of(rows: Sequence[Row], key: str) -> list[float]:
    return [float(value) for row in rows if isinstance(value := row.get(key), int | float)]


def pivot(rows: Sequence[Row], column: Callable[[Row], str], key: str, heading: str, form: str) -> str:
    """Return a Markdown table: a line a candidate, best mean first (costs: alphabetical), a column a set."""
    headings = list(dict.fromkeys(column(row) for row in rows))
    lines: list[tuple[float, Row]] = []
    for name in sorted({str(row["candidate"]) for row in rows}):
        line: Row = {"candidate": name}
        for each in headings:
            found = values_of([row for row in rows if row["candidate"] == name and column(row) == each], key)
            line[each] = statistics.fmean(found) if found else None
        means = [mean for each in headings for mean in values_of([line], each)]
        if means:
            lines.append((statistics.fmean(means), line))
    if key not in {"cpu", "added_mb"}:
        lines.sort(key=lambda each: each[0], reverse=key != "ece")
    columns = [Column("candidate", heading), *(Column(each, each, form) for each in headings)]
    return markdown(columns, [line for _, line in lines])


def spread(rows: Sequence[Row], key: str) -> str:
    """Return the median and the largest standard deviation over seeds."""
    groups: dict[tuple[Cell, ...], list[float]] = {}
    for row in rows:
        place = (row["data"], row["noise"], row["candidate"])
        groups.setdefault(place, []).extend(values_of([row], key))
    found = [statistics.stdev(values) for values in groups.values() if len(values) > 1]
    if not found:
        return ""
    return (
        f"Standard deviation over seeds: median {statistics.median(found):.3f}, largest {max(found):.3f}.\n\n"
    )


def page(rows: Sequence[Row]) -> str:
    # What also judges single labels is no method for crowds, where features make it applicable.
    on_others = {row["candidate"] for row in rows if not is_crowd(row)}
    for_crowds = {row["candidate"] for row in rows} - on_others | {"audit"}
    text = ""
    for group in GROUPS:
        chosen = [row for row in rows if group.has(row)]
        if group.heading in {"Crowds", "Cost on crowds"}:
            chosen = [row for row in chosen if row["candidate"] in for_crowds]
        if not chosen:
            continue
        text += f"### {group.heading}\n\n{rates(chosen, group)}"
        for key, heading, form in group.figures:
            if values_of(chosen, key):
                text += pivot(chosen, group.column, key, heading, form) + "\n"
            text += "" if group.figures is COST else spread(chosen, key)
    return text


def rates(rows: Sequence[Row], group: Group) -> str:
    """Return one sentence about rows and realised rates of each column."""
    if group.figures is COST:
        return ""
    told = []
    for each in dict.fromkeys(group.column(row) for row in rows):
        of = [row for row in rows if group.column(row) == each]
        told.append(f"{each} {of[0]['rows']:,} rows, {statistics.fmean(values_of(of, 'realised_rate')):.1%}")
    return f"Rows whose truth is known, and realised share of wrong labels: {'; '.join(told)}.\n\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of tamis bench")
    parser.add_argument("--out", type=Path, help="Markdown file; default: print")
    arguments = parser.parse_args(argv)
    rows = read_json(arguments.run / "results.json")["rows"]
    text = page(rows)
    hand_over(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
