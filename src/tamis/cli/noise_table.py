"""The table that ``tamis noise`` writes, and where it may be written."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tamis.cli.noise_arguments import AGGREGATIONS, Wishes, model_arguments
from tamis.data import Dataset
from tamis.errors import InputError
from tamis.exporting.writers import SUFFIXES, Format
from tamis.noise import NOISE_MODELS, AnnotatorPool, NoisyLabels
from tamis.types import IntArray


class Planted(NamedTuple):
    """Noisy labels of the labelled rows of a data set, with the names behind the codes."""

    noisy: NoisyLabels
    rows: IntArray
    true_names: tuple[str | int, ...]
    noisy_names: tuple[str | int, ...]

    def confusions(self, n: int) -> list[tuple[str | int, str | int, int, float]]:
        """Return the most frequent errors as (true, noisy, rows, share of the class), by name."""
        found = self.noisy.top_confusions(n)
        return [
            (self.true_names[each.true], self.noisy_names[each.noisy], each.n_samples, each.share)
            for each in found
        ]


def target_format(out: Path, source: str | None, *, force: bool) -> Format:
    """Return the format of the file to write.

    Raises
    ------
    InputError
        If the suffix is none of a table's, the file exists and ``force`` is not given, or it would touch the
        source.
    """
    kind = SUFFIXES.get(out.suffix.lower())
    if kind is None:
        raise InputError(f"--out {str(out)!r} must end in {', '.join(SUFFIXES)}")
    if source is not None:
        here, origin = out.resolve(), Path(source).resolve()
        if here == origin or (origin.is_dir() and origin in here.parents):
            raise InputError(f"{out} would modify the source {source}; give an --out elsewhere")
    if out.is_dir():
        raise InputError(f"{out} is a folder; give an --out elsewhere")
    if out.exists() and not force:
        raise InputError(f"{out} exists; give another --out, or --force to replace it")
    return kind


def plant(dataset: Dataset, model: str, wishes: Wishes) -> Planted:
    """Return what the model called ``model`` makes of the labelled rows.

    Raises
    ------
    InputError
        If there is no such model, or it refuses its arguments.
    """
    entry = NOISE_MODELS.entry(model)
    rows = np.flatnonzero(dataset.is_labelled)
    arguments = model_arguments(entry, dataset, rows, wishes)
    convention = wishes.convention or AGGREGATIONS[0]
    if entry.facts.task == "crowd" and convention not in AGGREGATIONS:
        raise InputError(f"{model} has no convention {convention!r}; give one of {', '.join(AGGREGATIONS)}")
    found = entry.target(dataset.label_codes[rows], **arguments)
    if isinstance(found, AnnotatorPool):
        found = {"majority": found.majority, "worst": found.worst, "random": found.random}[convention]()
    names = dataset.class_names
    kept = names if found.class_ids is None else tuple(names[code] for code in found.class_ids)
    return Planted(found, rows, names, kept)


def noise_table(dataset: Dataset, planted: Planted) -> pa.Table:
    """Return one row for each of the data set: id, label, true_label, is_wrong, is_open.

    ``replacement`` follows where the model replaces samples: the row of the foreign data, null = keep. Rows
    without a label have nulls.
    """
    noisy, n_rows = planted.noisy, len(dataset)
    kind = pa.int64() if all(isinstance(name, int) for name in dataset.class_names) else pa.string()
    columns = {
        "id": dataset.table.column("id"),
        "label": _names(noisy.labels, planted.noisy_names, kind).take(_places(planted.rows, n_rows)),
        "true_label": _names(noisy.true_labels, planted.true_names, kind).take(_places(planted.rows, n_rows)),
        "is_wrong": pa.array(noisy.is_wrong).take(_places(planted.rows, n_rows)),
        "is_open": pa.array(noisy.is_open).take(_places(planted.rows, n_rows)),
    }
    if noisy.replacement is not None:
        foreign = pa.array(noisy.replacement, mask=noisy.replacement < 0)
        columns["replacement"] = foreign.take(_places(planted.rows, n_rows))
    return pa.table(columns)


def _names(codes: IntArray, names: tuple[str | int, ...], kind: pa.DataType) -> pa.Array:
    """Return the names behind codes; null behind -1."""
    if kind == pa.string():
        names = tuple(str(name) for name in names)
    return pa.array(list(names), type=kind).take(pa.array(codes, mask=codes < 0))


def _places(rows: IntArray, n_rows: int) -> pa.Array:
    """Return for every row of the data set its place among the labelled ones; null where it is none."""
    places = np.full(n_rows, -1)
    places[rows] = np.arange(len(rows))
    return pa.array(places, mask=places < 0)
