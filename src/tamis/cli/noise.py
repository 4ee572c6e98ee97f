"""``tamis noise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.options import (
    ForceOption,
    IdOption,
    ImageOption,
    JsonOption,
    LabelOption,
    SeedOption,
    SourceArgument,
    TextOption,
)
from tamis.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from tamis.cli.noise_table import Planted
    from tamis.cli.screen import Json, Screen

_N_CONFUSIONS = 10

EXAMPLES = """\b
Examples:
  tamis noise --list
  tamis noise reviews.csv --model symmetric --convention exclude_true --rate 0.2 --out noisy.csv
  tamis noise --labels y.npy --model pair_flip --rate 0.45 --seed 3 --out noisy.parquet
  tamis noise photos/ --model semantic --using classes.json --rate 0.3 --out noisy.jsonl
  tamis noise --features X.npy --labels y.npy --model instance_dependent --set std=0.2 --out noisy.csv
"""


def run(
    source: SourceArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, ending in .csv, .parquet or .jsonl.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Name of the noise model; see --list.")] = "symmetric",
    rate: Annotated[
        float | None, typer.Option("--rate", help="Nominal noise rate, 0 to 1.", show_default="the model's")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            "--convention",
            help="Which of the readings in use of the model to follow; see --list.",
            show_default="the model's first",
        ),
    ] = None,
    exact: Annotated[
        str | None,
        typer.Option(
            "--exact",
            help="none: each sample on its own. global, per_class: exact counts.",
            show_default="none",
        ),
    ] = None,
    using: Annotated[
        str | None,
        typer.Option(
            "--using",
            help="What the model needs besides labels and features: a map or ontology of class names "
            "(.json), a matrix or embeddings (.npy, classes in order); for asymmetric also cifar10 or mnist.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A further argument of the model; may be repeated."),
    ] = None,
    label: LabelOption = None,
    image: ImageOption = None,
    text: TextOption = None,
    id_: IdOption = None,
    features: Annotated[
        Path | None,
        typer.Option("--features", help=".npy file of features, shape (n, d), for models that need them."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help=".npy file of labels, shape (n,), in place of SOURCE.")
    ] = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    list_: Annotated[bool, typer.Option("--list", help="List the noise models and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plant label errors in a data set, and write down which.

    Writes a table of id, label (the noisy one), true_label, is_wrong and is_open, and prints the nominal and
    the realised rate, the convention, a digest and the most frequent confusions. Rows without a label stay
    without. The source is never modified.
    """
    from tamis.cli.screen import Screen

    screen = Screen(as_json=as_json)
    if list_:
        _print_models(screen)
        return
    columns = {"label": label, "image": image, "text": text, "id": id_}
    options = {name: value for name, value in columns.items() if value is not None}
    if out is None:
        raise InputError("give --out FILE, ending in .csv, .parquet or .jsonl; --list lists the noise models")
    if (source is None) == (labels is None):
        raise InputError("give SOURCE, or --labels FILE.npy in its place" + (", not both" if source else ""))
    if source is None and options:
        listed = ", ".join(f"--{name}" for name in options)
        raise InputError(f"{listed} name columns of SOURCE, and there is none")

    from tamis.cli.noise_arguments import Wishes, read_labelled
    from tamis.cli.noise_table import noise_table, plant, target_format
    from tamis.exporting.writers import write_file

    kind = target_format(out, source, force=force)
    dataset = read_labelled(source, options, labels, features)
    wishes = Wishes(rate, convention, exact, using, tuple(settings or ()), seed)
    planted = plant(dataset, model, wishes)
    table = noise_table(dataset, planted)
    write_file(table, out, kind)
    _print_planted(screen, planted, table, out, is_csv=kind == "csv")
    screen.result(_facts(planted, table, out, seed))


def _print_models(screen: Screen) -> None:
    from tamis.cli.noise_arguments import described_models
    from tamis.cli.screen import Column

    models = described_models()
    headings = ("model", "what", "needs besides labels", "conventions", "arguments")
    rows = [
        (each.name, each.title, ", ".join(each.needs), ", ".join(each.conventions), ", ".join(each.arguments))
        for each in models
    ]
    screen.table([Column(heading) for heading in headings], rows)
    listed: list[Json] = [
        {
            "name": each.name,
            "title": each.title,
            "needs": each.needs,
            "conventions": each.conventions,
            "arguments": each.arguments,
        }
        for each in models
    ]
    screen.result({"command": "noise", "status": "finished", "models": listed})


def _print_planted(screen: Screen, planted: Planted, table: pa.Table, out: Path, *, is_csv: bool) -> None:
    from tamis.cli.screen import Column
    from tamis.exporting.spreadsheet import count_dangerous
    from tamis.reporting.wording import counted, shown

    noisy = planted.noisy
    n_wrong = int(noisy.is_wrong.sum())
    screen.line(f"{noisy.model}, convention: {noisy.convention}.")
    expected = "" if noisy.expected_rate is None else f", expected {_share(noisy.expected_rate)}"
    screen.line(
        f"{counted(n_wrong, 'wrong label')} in {counted(len(noisy.labels), 'labelled row')}: nominal rate "
        f"{_share(noisy.nominal_rate)}{expected}, realised {_share(noisy.realised_rate)}."
    )
    if noisy.is_open.any():
        screen.line(f"{_share(noisy.open_rate)} of the rows belong to none of the classes (open set).")
    n_unlabelled = table.num_rows - len(noisy.labels)
    if n_unlabelled:
        screen.line(f"{counted(n_unlabelled, 'row')} without a label left as they are.")
    for name, value in noisy.details.items():
        screen.line(f"  {name.replace('_', ' ')}: {value:,.6g}")
    screen.line(f"Digest {noisy.digest}")
    confusions = planted.confusions(_N_CONFUSIONS)
    if confusions:
        screen.line(f"\nThe {len(confusions)} most frequent confusions")
        columns = [Column("true"), Column("noisy")]
        columns += [Column("rows", is_number=True), Column("of the class", is_number=True)]
        cells = [
            (shown(true, 40).text, shown(wrong, 40).text, f"{count:,}", _share(share))
            for true, wrong, count, share in confusions
        ]
        screen.table(columns, cells)
    if is_csv and (count := count_dangerous(table)):
        screen.line(f"Note: {counted(count, 'cell')} would run as formulas in a spreadsheet.")
    screen.line(f"\nWritten {out}")


def _share(value: float) -> str:
    # Two decimals: nominal and realised rate often agree to the percent.
    return f"{100 * value:.2f} %"


def _facts(planted: Planted, table: pa.Table, out: Path, seed: int) -> dict[str, Json]:
    noisy = planted.noisy
    return {
        "command": "noise",
        "status": "finished",
        "path": str(out),
        "model": noisy.model,
        "convention": noisy.convention,
        "seed": seed,
        "n_rows": table.num_rows,
        "n_labelled": len(noisy.labels),
        "n_wrong": int(noisy.is_wrong.sum()),
        "n_open": int(noisy.is_open.sum()),
        "nominal_rate": noisy.nominal_rate,
        "expected_rate": noisy.expected_rate,
        "realised_rate": noisy.realised_rate,
        "open_rate": noisy.open_rate,
        "closed_rate": noisy.closed_rate,
        "digest": noisy.digest,
        "details": dict(noisy.details),
        "confusions": [
            {"true": true, "noisy": wrong, "n_rows": count, "share": share}
            for true, wrong, count, share in planted.confusions(_N_CONFUSIONS)
        ],
    }
