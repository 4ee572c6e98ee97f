r"""The page of the training benchmarks, from what they measured.

    python benchmarks/training_page.py \
      "Features=runs/bench-training-features" "Pixels=runs/bench-training-pixels" \
      --figures runs/bench/engine_overhead.json runs/bench/gpu_speed.json --out docs/training_benchmarks.md

Run folders of `tamis bench`, each with a heading, and JSON files of engine_overhead.py and gpu_speed.py.
Curves are copied beside the page.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from results import markdown

from tamis.benchmarks import TrainingConfig, parse_config
from tamis.benchmarks.training.table import training_table
from tamis.runs import read_json, write_text

HEAD = """# Training benchmarks

<!-- Written by benchmarks/training_page.py from the runs; do not edit. -->

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
"""

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


def section(heading: str, folder: Path, page: Path | None) -> str:
    """Return the tables of a run, with what they depend on, and its curves."""
    results, run = read_json(folder / "results.json"), read_json(folder / "run.json")
    config = parse_config(run["config"])
    assert isinstance(config, TrainingConfig)
    text = f"## {heading}\n\n{state(config, results)}\n\n{training_table(config, results['rows'])}"
    for curves in sorted(folder.glob("curves-*.png")):
        slug = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        name = f"training-{slug}-{curves.name}"
        if page is not None:
            shutil.copyfile(curves, page.parent / name)
        text += f"\n![{curves.stem.removeprefix('curves-').replace('_', ' ')}]({name})\n"
    return text


def state(config: TrainingConfig, results: Mapping[str, object]) -> str:
    """Return a sentence about how much has been run, and on what."""
    done, wanted = results["n_done"], results["n_trials"]
    machine = results["machine"]
    assert isinstance(machine, Mapping)
    rates = ", ".join(f"{rate:g}" for rate in config.lr)
    settings = ", ".join(f"{key} {value}" for key, value in config.recipe.items())
    part = "All" if done == wanted else f"{done} of"
    return (
        f"{part} {wanted} trainings. Learning rates to choose from: {rates}; recipe of all: "
        f"{settings or 'their own'}; device {config.device}, precision {config.precision}, "
        f"{config.workers} at a time on {machine['cores']} cores ({machine['processor']})."
    )


def figures(path: Path) -> str:
    """Return the table of a script's JSON file."""
    found = read_json(path)
    heading, sentence = FIGURES[str(found["benchmark"])]
    columns = importlib.import_module(str(found["benchmark"])).COLUMNS
    return f"## {heading}\n\n{sentence}\n\n{markdown(columns, found['rows'])}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help="HEADING=FOLDER, a run of tamis bench")
    parser.add_argument("--figures", nargs="*", type=Path, default=[], help="JSON files of the scripts")
    parser.add_argument("--out", type=Path, help="Markdown file; default: print")
    arguments = parser.parse_args(argv)
    parts = [HEAD]
    for each in arguments.runs:
        heading, is_given, folder = each.partition("=")
        if not is_given:
            parser.error(f"{each!r}: write HEADING=FOLDER")
        parts.append(section(heading, Path(folder), arguments.out))
    parts += [figures(path) for path in arguments.figures]
    if len(parts) == 1:
        parts.append("Nothing has been measured yet.")
    text = "\n".join(part.rstrip("\n") + "\n" for part in parts)
    if arguments.out is None:
        print(text)
    else:
        write_text(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
