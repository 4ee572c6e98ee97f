"""Tables of the benchmark of training methods: one block a data set and noise."""

from __future__ import annotations

from collections.abc import Sequence

from tamis.benchmarks.spread import mean_and_spread, mean_of, short_error, values_of
from tamis.benchmarks.training.config import TrainingConfig
from tamis.benchmarks.training.plan import Task, tasks
from tamis.benchmarks.trial import DONE, Row

_HEADINGS = (
    "method",
    "lr",
    "last epoch",
    "best epoch by validation",
    "(best test epoch)",
    "wrong labels fitted",
    "oracle rate: last epoch",
    "AP of verdict",
    "AP with audit",
    "seconds",
)


def training_table(config: TrainingConfig, rows: Sequence[Row]) -> str:
    """Return Markdown: best test accuracy of the last epoch first; mean and spread over seeds."""
    blocks = [_block(config, task, rows) for task in tasks(config)]
    return "\n".join(block for block in blocks if block)


def _block(config: TrainingConfig, task: Task, rows: Sequence[Row]) -> str:
    noise = None if task.noise is None else task.noise.name
    own = [row for row in rows if row["data"] == task.data.name and row["noise"] == noise]
    if not own:
        return ""
    text = f"### {task.data.name}{f', {noise}' if noise else ''}\n\n{_facts(config, task, own)}\n\n"
    text += f"| {' | '.join(_HEADINGS)} |\n{'| --- ' * len(_HEADINGS)}|\n"
    named = [
        (method.title, [row for row in own if row["candidate"] == method.title])
        for method in config.candidates(task.data)
    ]
    ranked = sorted((item for item in named if item[1]), key=lambda item: -(_mean(item[1], "last") or -1.0))
    for title, trials in ranked:
        text += f"| {title} | {' | '.join(_cells(trials))} |\n"
    missing = [title for title, trials in named if not trials]
    if missing:
        text += f"\nNot yet run: {'; '.join(missing)}.\n"
    return text


def _facts(config: TrainingConfig, task: Task, rows: Sequence[Row]) -> str:
    some = [row for row in rows if row["outcome"] == DONE]
    if not some:
        return f"No training has come to its end. {task.data.note}".rstrip()
    nominal, realised = _mean(some, "nominal_rate"), _mean(some, "realised_rate")
    seeds = len({row["seed"] for row in some})
    parts = [
        f"{some[0]['rows']:,} training rows, {some[0]['held_rows']:,} held out with labels as noisy, "
        f"{some[0]['test_rows']:,} test rows",
        f"{'' if nominal is None else f'nominal noise rate {nominal:.1%}, '}realised {realised:.1%}",
        f"{config.n_epochs(task.data)} epochs, {seeds} seed{'' if seeds == 1 else 's'}",
    ]
    rate, precision = _mean(some, "audit_noise_rate"), _mean(some, "audit_ap")
    if rate is not None:
        parts.append(f"noise rate estimated by the audit {rate:.1%}")
    if precision is not None:
        parts.append(f"AP of the audit alone {precision:.3f}")
    said = next((str(row["audit_error"]) for row in some if row.get("audit_error")), "")
    text = "; ".join(parts) + "." + (f" {task.data.note}" if task.data.note else "")
    return text + (f" No audit: {said}." if said else "")


def _cells(trials: Sequence[Row]) -> list[str]:
    main = [row for row in trials if not row.get("is_oracle")]
    done = [row for row in main if row["outcome"] == DONE]
    if not done:
        return [short_error(main[0]), *[""] * (len(_HEADINGS) - 2)]
    oracle = [row for row in trials if row.get("is_oracle") and row["outcome"] == DONE]
    lost = (
        f" ({len(main) - len(done)} of {len(main)} seeds ended without a result)"
        if len(done) < len(main)
        else ""
    )
    return [
        f"{done[0]['lr']:g}",
        _share(done, "last") + lost,
        _share(done, "best"),
        f"({_share(done, 'peak')})",
        _share(done, "fitted"),
        _share(oracle, "last"),
        mean_and_spread(values_of(done, "ap"), ".3f"),
        mean_and_spread(values_of(done, "ap_with_audit"), ".3f"),
        mean_and_spread(values_of(done, "seconds"), ".0f", with_spread=False),
    ]


def _mean(rows: Sequence[Row], key: str) -> float | None:
    return mean_of(values_of([row for row in rows if not row.get("is_oracle")], key))


def _share(rows: Sequence[Row], key: str) -> str:
    return mean_and_spread([100 * value for value in values_of(rows, key)], ".1f")
