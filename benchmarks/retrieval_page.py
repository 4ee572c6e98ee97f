r"""The page of the retrieval benchmarks, from what they measured.

    python benchmarks/retrieval_page.py \
      "Filters=runs/bench-retrieval" "Methods and losses=runs/bench-retrieval-methods" \
      --out docs/retrieval_benchmarks.md

Run folders of `tamis bench`, each with a heading. Curves are copied beside the page.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tamis.benchmarks import RetrievalConfig, parse_config
from tamis.benchmarks.retrieval.table import retrieval_table
from tamis.runs import read_json, write_text

HEAD = """# Retrieval benchmarks

<!-- Written by benchmarks/retrieval_page.py from the runs; do not edit. -->

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
"""


def section(heading: str, folder: Path, page: Path | None) -> str:
    """Return the tables of a run, with what they depend on, and its curves."""
    results, run = read_json(folder / "results.json"), read_json(folder / "run.json")
    config = parse_config(run["config"])
    if not isinstance(config, RetrievalConfig):
        raise SystemExit(f"{folder} holds no benchmark of metric learning")
    text = f"## {heading}\n\n{state(config, results)}\n\n{retrieval_table(config, results['rows'])}"
    for curves in sorted(folder.glob("curves-*.png")):
        slug = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        name = f"retrieval-{slug}-{curves.name}"
        if page is not None:
            shutil.copyfile(curves, page.parent / name)
        text += f"\n![{curves.stem.removeprefix('curves-').replace('_', ' ')}]({name})\n"
    return text


def state(config: RetrievalConfig, results: Mapping[str, object]) -> str:
    """Return a sentence about how much has been run, and on what."""
    done, wanted = results["n_done"], results["n_trials"]
    machine = results["machine"]
    assert isinstance(machine, Mapping)
    settings = ", ".join(f"{key} {value}" for key, value in config.recipe.items())
    part = "All" if done == wanted else f"{done} of"
    return (
        f"{part} {wanted} trials. Recipe of all: {settings or 'that of each method'}; device "
        f"{config.device}, precision {config.precision}, {config.workers} at a time on "
        f"{machine['cores']} cores ({machine['processor']})."
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help="HEADING=FOLDER, a run of tamis bench")
    parser.add_argument("--out", type=Path, help="Markdown file; default: print")
    arguments = parser.parse_args(argv)
    parts = [HEAD]
    for each in arguments.runs:
        heading, is_given, folder = each.partition("=")
        if not is_given:
            parser.error(f"{each!r}: write HEADING=FOLDER")
        parts.append(section(heading, Path(folder), arguments.out))
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
