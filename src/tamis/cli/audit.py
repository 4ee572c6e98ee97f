"""``tamis audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import (
    FeaturesOption,
    IdOption,
    ImageOption,
    JsonOption,
    LabelOption,
    LabelsOption,
    LimitPrintOption,
    SeedOption,
    SourceArgument,
    SplitOption,
    TextOption,
    default_run,
)
from tamis.errors import InputError

EXAMPLES = """\b
Examples:
  tamis audit photos/
  tamis audit reviews.csv --text body --label stars
  tamis audit --features X.npy --labels y.npy --out runs/x
  tamis audit reviews.csv --pred-probs P.npy
  tamis audit people/ --task retrieval
  tamis audit answers.csv --item task_id --worker annotator
  tamis audit photos/ --zero-shot --encoder openai/clip-vit-base-patch32 --prompts prompts.json
"""


def run(
    source: SourceArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder.", show_default="runs/audit-<source>")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Name of the encoder, or a model folder.", show_default="built-in"),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="auto, classification, crowd or retrieval.")] = "auto",
    label: LabelOption = None,
    image: ImageOption = None,
    text: TextOption = None,
    id_: IdOption = None,
    split: SplitOption = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Column of groups: rows of one group (patient, video) never vouch for each other.",
            show_default="found by name",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="SOURCE is a published data set: animal10n, cifar_n, clothing1m, food101n, image_list, "
            "red_mini_imagenet, webvision or webvision_mini.",
        ),
    ] = None,
    item: Annotated[
        str | None,
        typer.Option("--item", help="Crowd answers: column of the tasks.", show_default="found by name"),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker", help="Crowd answers: column of the annotators.", show_default="found by name"
        ),
    ] = None,
    features: FeaturesOption = None,
    labels: LabelsOption = None,
    pred_probs: Annotated[
        Path | None,
        typer.Option(
            "--pred-probs", help=".npy file of out-of-sample predicted probabilities, shape (n, classes)."
        ),
    ] = None,
    out_of_sample: Annotated[
        bool,
        typer.Option(
            "--out-of-sample", help="Vouch that --pred-probs come from models that did not train on the row."
        ),
    ] = False,
    zero_shot: Annotated[
        bool,
        typer.Option(
            "--zero-shot",
            help="Compare images with prompts of the classes, too; --encoder is a vision-language model.",
        ),
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            help="With --zero-shot: .json, .toml or text file of phrases for each class.",
            show_default="class names alone",
        ),
    ] = None,
    memory_budget: Annotated[
        str, typer.Option("--memory-budget", help="Working memory to stay within, such as 64MiB.")
    ] = "2GiB",
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    limit_print: LimitPrintOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Find the labels of a data set that are probably wrong.

    Writes a run folder: issues.parquet (a calibrated score and a suggestion for every label), report.html
    (readable offline) and run.json. Interrupted, it continues when the same command is run again. The data
    are never modified.
    """
    columns = {"label": label, "image": image, "text": text, "id": id_, "split": split, "group": group}
    columns |= {"item": item, "worker": worker}
    columns["format"] = format_
    options = {name: value for name, value in columns.items() if value is not None}
    arrays = {"--features": features, "--labels": labels, "--pred-probs": pred_probs}
    _check_combination(source, arrays, options)

    from tamis.auditing import audit
    from tamis.cli.findings import findings_json, print_findings
    from tamis.cli.screen import Screen
    from tamis.data.array_files import load_array

    named = source if source is not None else next(str(path) for path in arrays.values() if path is not None)
    screen = Screen(as_json=as_json)
    finished = audit(
        source,
        features=None if features is None else load_array(features),
        labels=None if labels is None else load_array(labels),
        pred_probs=None if pred_probs is None else load_array(pred_probs),
        task=task,
        encoder=encoder,
        out_of_sample=out_of_sample or None,
        memory_budget=memory_budget,
        random_state=seed,
        out=out or default_run(named),
        device=device,
        zero_shot=zero_shot,
        prompts=prompts,
        read_options=options,
    )
    print_findings(screen, finished, limit_print)
    screen.result(findings_json(finished, "audit", limit_print))


def _check_combination(source: str | None, arrays: dict[str, Path | None], options: dict[str, str]) -> None:
    """Refuse what cannot go together before anything is loaded."""
    given = [name for name, path in arrays.items() if path is not None]
    if source is None and not {"--features", "--pred-probs"} & set(given):
        raise InputError("give SOURCE, or --features or --pred-probs together with --labels")
    if source is None and "--labels" not in given:
        raise InputError(f"{' and '.join(given)} without SOURCE needs --labels FILE.npy")
    if source is None and options:
        listed = ", ".join(f"--{name}" for name in options)
        raise InputError(f"{listed} tell of SOURCE, and there is none")
