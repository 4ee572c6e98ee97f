"""Samples as the page shows them: name, label, and a picture or the first lines of a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.data.dataset import Dataset, Unreadable
from tamis.reporting.thumbnails import Thumbnail, make_thumbnails
from tamis.reporting.wording import Shown, excerpt, shown
from tamis.types import FloatArray

Size: TypeAlias = Literal["large", "small"]

_PIXELS: dict[Size, int] = {"large": 224, "small": 112}
_CHARACTERS: dict[Size, int] = {"large": 420, "small": 90}
_MOST_LINES = 8
_LONGEST_TEXT = 3_000


@dataclass(frozen=True)
class SampleView:
    """One sample.

    Attributes
    ----------
    id : Shown
    label : Shown
        The given label.
    split : Shown or None
    picture : Thumbnail or None
        None where the data hold no pictures.
    text : str
        The beginning of the text; empty where the data hold no texts.
    more : str
        A longer piece of the text, empty where ``text`` is all of it.
    """

    id: Shown
    label: Shown
    split: Shown | None = None
    picture: Thumbnail | None = None
    text: str = ""
    more: str = ""


class SampleReader:
    """Reads samples from an issue table and, where there is one, its data set."""

    def __init__(self, issues: pa.Table, dataset: Dataset | None) -> None:
        self._issues = issues
        self._dataset = dataset

    def read(self, rows: Iterable[int], size: Size) -> dict[int, SampleView]:
        """Return the samples of ``rows``; each is decoded once and only its thumbnail is kept."""
        wanted = sorted(set(rows))
        index = pa.array(wanted, pa.int64())
        ids = self._issues["id"].take(index).to_pylist()
        labels = self._issues["given_label"].take(index).to_pylist()
        pictures = self._pictures(wanted, size)
        texts = self._texts(wanted, size)
        return {
            row: SampleView(
                shown(sample_id, 64), shown(label), split, pictures.get(row), *texts.get(row, ("", ""))
            )
            for row, sample_id, label, split in zip(wanted, ids, labels, self._splits(wanted), strict=True)
        }

    @property
    def has_pictures(self) -> bool:
        """Whether the data hold pictures."""
        return self._dataset is not None and "image" in self._dataset.inputs

    @property
    def has_texts(self) -> bool:
        """Whether the data hold texts."""
        return self._dataset is not None and "text" in self._dataset.inputs

    def _pictures(self, rows: Sequence[int], size: Size) -> dict[int, Thumbnail]:
        if self._dataset is None or "image" not in self._dataset.inputs:
            return {}
        return make_thumbnails(self._dataset.inputs["image"], rows, _PIXELS[size])

    def _texts(self, rows: Sequence[int], size: Size) -> dict[int, tuple[str, str]]:
        if self._dataset is None or "text" not in self._dataset.inputs:
            return {}
        samples = self._dataset.inputs["text"].read(rows)
        return {row: _passages(sample, size) for row, sample in zip(rows, samples, strict=True)}

    def _splits(self, rows: Sequence[int]) -> list[Shown | None]:
        if self._dataset is None:
            return [None] * len(rows)
        splits = self._dataset.table["split"].take(pa.array(rows, pa.int64())).to_pylist()
        return [None if split is None else shown(split, 24) for split in splits]


def _passages(sample: object, size: Size) -> tuple[str, str]:
    """Return the beginning of a text, and for large samples a longer piece where there is more."""
    if isinstance(sample, Unreadable):
        return excerpt(f"(not readable: {sample.reason})", _LONGEST_TEXT), ""
    text = str(sample)
    if size == "small":
        return excerpt(text, _CHARACTERS["small"]) or "(empty text)", ""
    first = excerpt(text, _CHARACTERS["large"], _MOST_LINES)
    longer = excerpt(text, _LONGEST_TEXT)
    return first or "(empty text)", "" if longer == first else longer


def column_values(table: pa.Table, name: str) -> FloatArray:
    """Return a numeric column as (n,) float64; null becomes NaN."""
    column = table[name].combine_chunks()
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")), dtype=np.float64)


def flagged_rows(table: pa.Table, issue: str) -> list[int]:
    """Return the rows that carry an issue, in table order."""
    mask = np.asarray(table[f"is_{issue}_issue"].combine_chunks(), dtype=bool)
    return [int(row) for row in np.flatnonzero(mask)]


def lowest_rows(table: pa.Table, issue: str, n: int) -> list[int]:
    """Return at most ``n`` rows that carry an issue, the lowest score first; ties in table order."""
    rows = np.asarray(flagged_rows(table, issue), dtype=np.int64)
    scores = column_values(table, f"{issue}_score")[rows]
    return [int(row) for row in rows[np.argsort(scores, kind="stable")[:n]]]
