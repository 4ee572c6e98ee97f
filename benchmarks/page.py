r"""The page of a benchmark that trains, from what it measured.

    python benchmarks/page.py "Features=runs/bench-training-features" "Pixels=runs/bench-training-pixels" \
      --figures runs/bench/engine_overhead.json runs/bench/gpu_speed.json --out docs/training_benchmarks.md
    python benchmarks/page.py "Filters=runs/bench-retrieval" "Other methods=runs/bench-retrieval-methods" \
      --out docs/retrieval_benchmarks.md

Run folders of `tamis bench`, each with a heading, all of one task; and JSON files of engine_overhead.py and
gpu_speed.py. Curves are copied beside the page.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from results import hand_over, markdown

from tamis.benchmarks import RetrievalConfig, TrainingConfig, parse_config
from tamis.benchmarks.retrieval.table import retrieval_table
from tamis.benchmarks.training.table import training_table
from tamis.runs import read_json

HEADS = {
    "training": """# Training benchmarks

<!-- Written by benchmarks/page.py from the runs; do not edit. -->

What training methods reach on labels that are partly wrong, at the same number of epochs, with the same
learning rates to choose from. Every table comes from a file in `benchmarks/` that `tamis bench` runs, such as
`benchmarks/training_features.toml`; [tamis bench](bench.md) explains the files.

## What the columns mean

| column | meaning |
|---|---|
| lr | the learning rate with the highest accuracy on the noisy held-out part, last epoch, first seed |
| last epoch | test accuracy on true labels after the last epoch, %: the figure to compare |
| best epoch by validation | of the epoch with the highest accuracy on the noisy held-out part |
| (best test epoch) | the highest of all epochs. Nobody can choose that epoch without true labels |
| wrong labels fitted | share of the wrong training labels that the trained network predicts, % |
| oracle rate: last epoch | of methods that ask for the noise rate: told the realised one, not the audit's |
| AP of verdict | average precision of the method's verdict on the training labels, wrong ones first |
| AP with audit | of the verdict weighed with an audit's evidence |
| seconds | of one training, with a look at test, held-out and wrong labels after every epoch |

Mean ± standard deviation over seeds. Noise rates are those of the training part. Seconds are by the clock,
and other jobs ran on the machine (and were let go first now and then): they are upper bounds.
""",
    "retrieval": """# Retrieval benchmarks

<!-- Written by benchmarks/page.py from the runs; do not edit. -->

What metric learning reaches on labels that are partly wrong, with one recipe for all candidates: nothing is
chosen by the figures shown. Classes that are tested are none that were trained on. Every table comes from a
file in `benchmarks/` that `tamis bench` runs, such as `benchmarks/retrieval.toml`;
[tamis bench](bench.md#metric-learning) explains the files.

## What the tables mean

| figure | meaning |
|---|---|
| P@1, R@k, R-precision, MAP@R | of test rows among each other, last epoch, %; R@1 is P@1 |
| points above a candidate | differences of P@1 with the same seed, so with the same errors planted |
| filters | precision and recall of what a filter drops from the batches, second half of the training |
| (best test epoch) | the highest P@1 of all epochs. Nobody can choose that epoch without true labels |
| AP of verdict | average precision of the method's verdict on the training labels, wrong ones first |
| seconds, CPU s | of one training, with a look at the test rows after every epoch |

[Retrieval metrics](retrieval_metrics.md) defines the figures. Mean ± standard deviation over seeds. Filters
are told the share of wrong labels that was planted; with clean labels, the share that the table names. The
oracle filter trains on the rows with right labels alone: what a filter could reach. Seconds are by the clock,
and other jobs ran on the machine: they are upper bounds.
""",
}

FIGURES = {
    "engine_overhead": (
        "Cost of the engine",
        "The same training step through the engine and in a loop written by hand, in turns; processor time.",
    ),
    "gpu_speed": (
        "On a GPU",
        "The floor: operations of the layers over the speed of one large matrix product on the same device.",
    ),
}


def section(heading: str, folder: Path, page: Path | None) -> tuple[str, str]:
    """Return the task of a run and its tables, with what they depend on, and its curves."""
    results, run = read_json(folder / "results.json"), read_json(folder / "run.json")
    config = parse_config(run["config"])
    settings = ", ".join(f"{key} {value}" for key, value in getattr(config, "recipe", {}).items())
    if isinstance(config, TrainingConfig):
        rates = ", ".join(f"{rate:g}" for rate in config.lr)
        what = f"trainings. Learning rates to choose from: {rates}; recipe of all: {settings or 'their own'}"
        table = training_table(config, results["rows"])
    elif isinstance(config, RetrievalConfig):
        what = f"trials. Recipe of all: {settings or 'that of each method'}"
        table = retrieval_table(config, results["rows"])
    else:
        raise SystemExit(f"{folder} holds a benchmark of detectors; its page is made by detection_page.py")
    done, wanted, machine = results["n_done"], results["n_trials"], results["machine"]
    part = "All" if done == wanted else f"{done} of"
    text = (
        f"## {heading}\n\n{part} {wanted} {what}; device {config.device}, precision {config.precision}, "
        f"{config.workers} at a time on {machine['cores']} cores ({machine['processor']}).\n\n{table}"
    )
    for curves in sorted(folder.glob("curves-*.png")):
        words = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        name = f"{config.task}-{words}-{curves.name}"
        if page is not None:
            shutil.copyfile(curves, page.parent / name)
        text += f"\n![{curves.stem.removeprefix('curves-').replace('_', ' ')}]({name})\n"
    return config.task, text


def figures(path: Path) -> str:
    """Return the table of a script's JSON file."""
    found = read_json(path)
    heading, sentence = FIGURES[str(found["benchmark"])]
    columns = importlib.import_module(str(found["benchmark"])).COLUMNS
    return f"## {heading}\n\n{sentence}\n\n{markdown(columns, found['rows'])}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="HEADING=FOLDER, a run of tamis bench")
    parser.add_argument("--figures", nargs="*", type=Path, default=[], help="JSON files of the scripts")
    parser.add_argument("--out", type=Path, help="Markdown file; default: print")
    arguments = parser.parse_args(argv)
    tasks, parts = set(), []
    for each in arguments.runs:
        heading, is_given, folder = each.partition("=")
        if not is_given:
            parser.error(f"{each!r}: write HEADING=FOLDER")
        task, text = section(heading, Path(folder), arguments.out)
        tasks.add(task)
        parts.append(text)
    if len(tasks) > 1:
        parser.error(f"the runs are of {' and '.join(sorted(tasks))}; a page is about one")
    parts = [HEADS[tasks.pop()], *parts, *map(figures, arguments.figures)]
    text = "\n".join(part.rstrip("\n") + "\n" for part in parts)
    hand_over(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
