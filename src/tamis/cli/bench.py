"""``tamis bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import JsonOption

EXAMPLES = """\b
Examples:
  tamis bench detection.toml
  tamis bench detection.toml --out runs/bench-detection --json
  tamis bench training.toml
  tamis bench retrieval.toml
"""


def run(
    config: Annotated[
        Path, typer.Argument(help="TOML file, see the page on benchmarks.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder.", show_default="runs/bench-<config>")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare detectors, training methods or metric learning on data whose wrong labels are known.

    Runs data x noise x seeds x detectors (or methods) as the file says and writes
    results.json, table.md and, of trainings, curves. Interrupted, it continues when the same command is run
    again.
    """
    from tamis.benchmarks import (
        BenchConfig,
        TrainingConfig,
        read_config,
        run_detection,
        run_retrieval,
        run_training,
    )
    from tamis.cli.screen import Screen

    screen = Screen(as_json=as_json)
    asked, folder = read_config(config), out or Path("runs") / f"bench-{config.stem}"
    if isinstance(asked, BenchConfig):
        bench = run_detection(asked, folder)
    elif isinstance(asked, TrainingConfig):
        bench = run_training(asked, folder)
    else:
        bench = run_retrieval(asked, folder)
    outcomes = [row["outcome"] for row in bench.rows]
    n_refused, n_failed = outcomes.count("refused"), outcomes.count("failed")
    screen.line((bench.folder / "table.md").read_text(encoding="utf-8"))
    if n_failed:
        screen.line(f"{n_failed} of {len(outcomes)} trials failed; the same command tries them again.")
    screen.line(f"Table   {bench.folder / 'table.md'}")
    screen.result(
        {
            "command": "bench",
            "status": "finished",
            "run": str(bench.folder),
            "table": str(bench.folder / "table.md"),
            "n_trials": len(bench.rows),
            "n_refused": n_refused,
            "n_failed": n_failed,
            "rows": bench.rows,
        }
    )
