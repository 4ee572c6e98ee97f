"""``tamis train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.cli.assignments import assignments, plugin_of
from tamis.cli.epochs import epoch_printer
from tamis.cli.options import (
    FeaturesOption,
    IdOption,
    ImageOption,
    JsonOption,
    LabelOption,
    LabelsOption,
    LimitPrintOption,
    ModelDeviceOption,
    SeedOption,
    SourceArgument,
    SplitOption,
    TextOption,
    default_run,
)
from tamis.cli.processes import is_helper, silent_helper
from tamis.errors import InputError

EXAMPLES = """\b
Examples:
  tamis train photos/ --method elr
  tamis train reviews.csv --method gce --param q=0.5 --epochs 20
  tamis train photos/ --method dividemix --initial-selection audit --validation 0.1
  tamis train --features X.npy --labels y.npy --method bare --test test.npz
  tamis train products/ --task retrieval --loss contrastive --memory 8192 --selector prism_vmf
"""


def run(
    source: SourceArgument = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Name of the method; `tamis methods` lists all.")
    ] = None,
    task: Annotated[
        Literal["auto", "classification", "retrieval"],
        typer.Option("--task", help="What to train: classes, or embeddings for retrieval."),
    ] = "auto",
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            help="For retrieval: contrastive, multi_similarity, soft_triple, proxy_anchor or proxy_nca.",
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option("--memory", help="For retrieval: how many past embeddings a pair loss compares with."),
    ] = None,
    selector: Annotated[
        str | None,
        typer.Option("--selector", help="For retrieval: none, prism_average or prism_vmf."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder.", show_default="runs/train-<source>-<method>"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="How long to train.", show_default="the method's own")
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="Name of the network; `tamis methods` lists all.")
    ] = "auto",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="Hyper-parameter of the method, or lr, batch_size, ... of its recipe. Repeatable.",
        ),
    ] = None,
    backbone_option: Annotated[
        list[str] | None,
        typer.Option("--backbone-option", metavar="NAME=VALUE", help="Option of the backbone. Repeatable."),
    ] = None,
    validation: Annotated[
        float, typer.Option("--validation", help="Share of the rows held out to choose the best epoch.")
    ] = 0.0,
    initial_selection: Annotated[
        str | None,
        typer.Option(
            "--initial-selection",
            help="Rows to trust at the start: audit, clipcleaner, a detector of features, or an audit's "
            "run folder.",
        ),
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="NAME[:KEY=VALUE,...]", help="Add a plug-in to the method. Repeatable."
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", help="Labelled data; accuracy is recorded, nothing is chosen by it."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Encoder of images and texts where the network takes features.",
            show_default="built-in",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="Phrases for each class, for --initial-selection clipcleaner."),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit/--no-audit", help="Weigh the verdict with an audit of the same data.")
    ] = True,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Side of the squares that images are brought to."),
    ] = None,
    augmentation: Annotated[
        Literal["auto", "none", "weak", "strong"],
        typer.Option("--augmentation", help="What weakly augmented rows get."),
    ] = "auto",
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Whether a mirror image keeps its class.")
    ] = True,
    label: LabelOption = None,
    image: ImageOption = None,
    text: TextOption = None,
    id_: IdOption = None,
    split: SplitOption = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Column of groups: rows of one group (patient, video) are held out together.",
            show_default="found by name",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="SOURCE is a published data set; see `tamis audit --help`."),
    ] = None,
    features: FeaturesOption = None,
    labels: LabelsOption = None,
    precision: Annotated[
        Literal["auto", "32-true", "bf16-mixed", "16-mixed"],
        typer.Option("--precision", help="Numbers to compute in; auto: bfloat16 on a GPU that has it."),
    ] = "auto",
    processes: Annotated[
        int, typer.Option("--processes", help="Each computes part of every batch.", min=1)
    ] = 1,
    memory_budget: Annotated[
        str, typer.Option("--memory-budget", help="Decoded images up to this size stay in memory.")
    ] = "2GiB",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write event files.")] = False,
    seed: SeedOption = 0,
    device: ModelDeviceOption = "auto",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="One line an epoch, also where there is no terminal.")
    ] = False,
    limit_print: LimitPrintOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier, or embeddings, on labels that are partly wrong, and hear what it thinks of each.

    Writes a run folder: model.safetensors, issues.parquet and report.html (as an audit does), metrics.jsonl,
    curves.png, run.json. Killed, it goes on where it stood when the same command is run again.
    """
    columns = {"label": label, "image": image, "text": text, "id": id_, "split": split, "group": group}
    columns["format"] = format_
    options = {name: value for name, value in columns.items() if value is not None}
    _check_combination(source, features, labels, options)
    composed = {"loss": loss, "memory": memory, "selector": selector}
    params = assignments("--param", param) | {
        name: value for name, value in composed.items() if value is not None
    }
    if method is None and (task == "retrieval" or any(value is not None for value in composed.values())):
        method = "metric"
    if method is None:
        raise InputError("--method is missing; `tamis methods` lists all, for example --method elr")

    wanted: dict[str, object] = {
        "method": method,
        "params": params,
        "task": task,
        "backbone": backbone,
        "backbone_options": assignments("--backbone-option", backbone_option),
        "epochs": epochs,
        "initial_selection": initial_selection,
        "validation": validation,
        "device": device,
        "random_state": seed,
        "out": out or _default_run(str(source if source is not None else features), method),
        "audit": audit,
        "test": test,
        "encoder": encoder,
        "prompts": prompts,
        "image_size": image_size,
        "augmentation": augmentation,
        "flip": flip,
        "precision": precision,
        "processes": processes,
        "memory_budget": memory_budget,
        "tensorboard": tensorboard,
        "read_options": options,
        "report_epoch": epoch_printer(is_verbose=verbose),
    }
    with silent_helper():
        _train(source, features, labels, plugin or [], wanted, limit_print, as_json=as_json)


def _train(
    source: str | None,
    features: Path | None,
    labels: Path | None,
    plugins: list[str],
    wanted: dict[str, object],
    limit_print: int,
    *,
    as_json: bool,
) -> None:
    from tamis.cli.screen import Screen
    from tamis.cli.trained import print_trained
    from tamis.data.array_files import load_array
    from tamis.training import train

    trained = train(
        source,
        features=None if features is None else load_array(features),
        labels=None if labels is None else load_array(labels),
        plugins=[plugin_of(each) for each in plugins],
        **wanted,  # type: ignore[arg-type]  # the options of this command, by their own types
    )
    if not is_helper():
        print_trained(Screen(as_json=as_json), trained, limit_print)


def _default_run(name: str, method: str) -> Path:
    folder = default_run(name)
    return folder.with_name(f"{folder.name.replace('audit-', 'train-', 1)}-{method}")


def _check_combination(
    source: str | None, features: Path | None, labels: Path | None, options: dict[str, str]
) -> None:
    """Refuse what cannot go together before anything is loaded."""
    if source is None and (features is None or labels is None):
        raise InputError("give SOURCE, or --features together with --labels")
    if source is not None and labels is not None:
        raise InputError("--labels goes with --features alone; SOURCE has its own labels")
    if source is None and options:
        listed = ", ".join(f"--{name}" for name in options)
        raise InputError(f"{listed} tell of SOURCE, and there is none")
