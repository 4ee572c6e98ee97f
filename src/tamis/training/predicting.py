"""Predictions and embeddings of new data as tables and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tamis.data import Dataset
from tamis.errors import InputError
from tamis.runs import atomic_path
from tamis.training.model import TrainedModel
from tamis.types import FloatArray


class Embedded(NamedTuple):
    """What `write_embeddings` wrote: rows, columns, and how many rows could not be read."""

    n_rows: int
    width: int
    n_unreadable: int


def predictions(model: TrainedModel, dataset: Dataset, *, probabilities: bool = False) -> pa.Table:
    """Return the predicted class of every row.

    Parameters
    ----------
    model : TrainedModel
    dataset : Dataset
    probabilities : bool
        Also a column ``p_<class>`` for every class.

    Returns
    -------
    pyarrow.Table
        ``id``, ``predicted_label``, ``probability``, and ``reason`` where a row could not be read; the first
        two are null there.
    """
    model.check_classifies()
    said = model.said_of(dataset)
    probs = _joined([block.logits.softmax(dim=1) for block in said.blocks])
    reasons = [said.unreadable.get(row) for row in range(len(probs))]
    is_bad = np.array([reason is not None for reason in reasons], dtype=np.bool_)
    names = pa.array(list(model.spec.class_names))
    chosen = pa.array(probs.argmax(axis=1), mask=is_bad)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "id": dataset.table.column("id"),
        "predicted_label": names.take(chosen),
        "probability": pa.array(probs.max(axis=1).astype(np.float64), mask=is_bad),
    }
    if probabilities:
        for code, name in enumerate(model.spec.class_names):
            columns[f"p_{name}"] = pa.array(probs[:, code].astype(np.float64), mask=is_bad)
    if is_bad.any():
        columns["reason"] = pa.array(reasons, pa.string())
    return pa.table(columns)


def write_embeddings(model: TrainedModel, dataset: Dataset, path: Path) -> Embedded:
    """Write what the last layer sees of every row; rows that cannot be read are NaN.

    Parameters
    ----------
    model : TrainedModel
    dataset : Dataset
    path : Path
        ``.npy`` (the matrix), ``.npz`` (``ids`` and ``features``) or ``.parquet`` (``id`` and ``embedding``).
    """
    said = model.said_of(dataset)
    found = _joined([block.features for block in said.blocks])
    found[list(said.unreadable)] = np.nan
    with atomic_path(path) as temporary:
        _write(found, dataset, temporary)
    return Embedded(len(found), found.shape[1], len(said.unreadable))


def _write(found: FloatArray, dataset: Dataset, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(path, found, allow_pickle=False)
    elif suffix == ".npz":
        arrays: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
            "ids": np.array(dataset.ids, dtype=np.str_),
            "features": found,
        }
        np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its options
    elif suffix == ".parquet":
        column = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
        pq.write_table(pa.table({"id": dataset.table.column("id"), "embedding": column}), path)
    else:
        raise InputError(f"{path.name} has the suffix {suffix!r}; legal are .npy, .npz and .parquet")


def _joined(blocks: list[torch.Tensor]) -> FloatArray:
    if not blocks:
        raise InputError("the data hold no rows")
    joined: FloatArray = torch.cat(blocks).cpu().numpy()
    return joined
