"""Tables of a benchmark: one block a data set and noise, mean and spread over seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tamis.benchmarks.config import BenchConfig
from tamis.benchmarks.judging import Cell

_COLUMNS = (
    ("ap", "AP", ".3f"),
    ("auroc", "AUROC", ".3f"),
    ("f1", "F1 at flag", ".3f"),
    ("ece", "ECE", ".3f"),
    ("suggested_right", "suggestion right", ".3f"),
    ("cpu", "CPU s", ".2f"),
    ("added_mb", "added MB", ".0f"),
)

_TRUSTED = "Detectors that take trusted rows are told of {n} right ones, which do not count in their figures."

Row = Mapping[str, Cell]


def detection_table(config: BenchConfig, rows: Sequence[Row]) -> str:
    """Return Markdown: candidates sorted by average precision; mean (and standard deviation over seeds)."""
    described = {data.name: data for data in config.data}
    blocks: dict[tuple[Cell, Cell], dict[Cell, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        blocks[row["data"], row["noise"]][row["candidate"]].append(row)
    text = ""
    for (name, noise), by_candidate in blocks.items():
        data = described[str(name)]
        text += f"### {name}{f', {noise}' if noise else ''}\n\n{_rates(next(iter(by_candidate.values())))}"
        text += f" {data.note}" if data.note else ""
        text += f" {_TRUSTED.format(n=data.trusted)}" if data.trusted else ""
        text += "\n\n| method | " + " | ".join(heading for _, heading, _ in _COLUMNS) + " |\n"
        text += "| --- " * (1 + len(_COLUMNS)) + "|\n"
        ranked = sorted(
            by_candidate.items(), key=lambda item: (-(_mean(item[1], "ap") or -1.0), str(item[0]))
        )
        for candidate, trials in ranked:
            text += f"| {candidate} | " + " | ".join(_cells(trials)) + " |\n"
        text += "\n"
    return text


def _cells(trials: Sequence[Row]) -> list[str]:
    errors = [str(trial["error"]) for trial in trials if "error" in trial]
    if not errors:
        return [_cell(trials, key, form) for key, _, form in _COLUMNS]
    said = " ".join(errors[0].split()).replace("|", "\\|")[:200]
    count = f" ({len(errors)} of {len(trials)} seeds)" if len(trials) > 1 else ""
    return [f"{said}{count}", *[""] * (len(_COLUMNS) - 1)]


def _rates(trials: Sequence[Row]) -> str:
    nominal, realised = _mean(trials, "nominal_rate"), _mean(trials, "realised_rate")
    asked = "" if nominal is None else f"nominal rate {nominal:.1%}, "
    seeds = f", {len(trials)} seeds (mean, standard deviation)" if len(trials) > 1 else ""
    found = "unknown" if realised is None else f"{realised:.1%}"
    return f"{trials[0]['rows']:,} rows; {asked}realised rate {found}{seeds}."


def _values(trials: Sequence[Row], key: str) -> list[float]:
    found = [trial.get(key) for trial in trials]
    return [float(value) for value in found if isinstance(value, int | float)]


def _mean(trials: Sequence[Row], key: str) -> float | None:
    values = _values(trials, key)
    return math.fsum(values) / len(values) if values else None


def _cell(trials: Sequence[Row], key: str, form: str) -> str:
    values = _values(trials, key)
    if not values:
        return "-"
    mean = math.fsum(values) / len(values)
    if len(values) == 1 or key in {"cpu", "added_mb"}:
        return format(mean, form)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:{form}} ({spread:{form}})"
