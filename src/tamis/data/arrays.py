"""Arrays in memory or in ``.npz`` files -> a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.data.array_names import ArrayRoles
from tamis.data.assembling import as_text, id_column, known_problems, require_usable, row_numbers
from tamis.data.dataset import Dataset, Input, LabelName, label_column
from tamis.data.inputs import ImageArrayInput, TextInput
from tamis.data.labels import encode_labels
from tamis.data.matrices import as_matrix
from tamis.errors import InputError


def from_arrays(
    features: object = None,
    labels: object = None,
    pred_probs: object = None,
    ids: Iterable[object] | None = None,
    splits: Iterable[object] | None = None,
    groups: Iterable[object] | None = None,
    class_names: Sequence[LabelName] | None = None,
    *,
    images: object = None,
    texts: Sequence[str | None] | None = None,
    source: str = "arrays",
) -> Dataset:
    """Build a data set from arrays; numpy arrays, torch tensors and lists are accepted.

    Parameters
    ----------
    features : (n, d) float or int, optional
        Memory-mapped arrays stay mapped. Rows with NaN or infinity become ``problems``.
    labels : (n,) labels, or one-hot (n, K)
        Text, integers, booleans; None, NaN and "" are unlabelled.
    pred_probs : (n, K) float, optional
        Column k belongs to class k of ``class_names``; without names to the k-th smallest label, or to the
        integer label k where all labels are integers from 0 to K - 1.
    ids, splits, groups : (n,) text or integers, optional
        Default ids: the row numbers.
    class_names : sequence of str or int, optional
    images : (n, height, width) or (n, height, width, 3) uint8, optional
    texts : (n,) text, optional
    source : str
        Where the arrays come from, for people.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If nothing or no label is given, lengths differ, an array has a wrong shape or type, ids repeat,
        labels cannot be read, or no row is usable.

    Examples
    --------
    >>> dataset = from_arrays([[0.0, 1.0], [2.0, 3.0]], labels=["cat", "dog"])
    >>> len(dataset), dataset.class_names
    (2, ('cat', 'dog'))
    """
    matrix = None if features is None else as_matrix(as_array(features), "features")
    probs = None if pred_probs is None else as_matrix(as_array(pred_probs), "pred_probs")
    inputs: dict[str, Input] = {}
    if images is not None:
        inputs["image"] = ImageArrayInput(as_array(images))
    if texts is not None:
        inputs["text"] = _text_input(texts)
    n_rows = _n_rows(
        {"features": matrix, "pred_probs": probs, "images": inputs.get("image"), "texts": inputs.get("text")},
        labels,
    )
    encoded = encode_labels(
        _plain(labels), class_names=class_names, n_columns=None if probs is None else probs.shape[1]
    )
    if len(encoded.codes) != n_rows:
        raise InputError(
            f"labels has {len(encoded.codes)} rows but the data have {n_rows}; one label a row is needed"
        )
    found = [values.problems() if isinstance(values, TextInput) else {} for values in inputs.values()]
    problems = known_problems(matrix, probs is not None, found)
    require_usable(encoded.codes, problems, source)
    nothing = pa.nulls(n_rows, pa.string())
    table = {
        "id": row_numbers(n_rows) if ids is None else id_column(_column(ids, "ids", n_rows), "ids"),
        "label": label_column(encoded.codes),
        "split": nothing if splits is None else as_text(_column(splits, "splits", n_rows), "splits"),
        "group": nothing if groups is None else as_text(_column(groups, "groups", n_rows), "groups"),
    }
    return Dataset(
        table=pa.table(table),
        class_names=encoded.class_names,
        inputs=inputs,
        features={} if matrix is None else {"features": matrix},
        pred_probs=probs,
        source=source,
        problems=problems,
    )


def dataset_of_arrays(
    arrays: Mapping[str, object], roles: ArrayRoles, class_names: Sequence[LabelName] | None, source: str
) -> Dataset:
    """Return the data set of named arrays whose roles are known."""
    parts = [{role: as_array(arrays[name]) for role, name in part.items()} for part in roles.parts]
    joined = {role: _joined([part[role] for part in parts]) for role in parts[0]}
    splits: Iterable[object] | None = joined.get("split")
    if roles.split_names:
        splits = np.repeat(roles.split_names, [len(part["label"]) for part in parts])
    names = class_names
    if names is None and roles.class_names is not None:
        names = np.asarray(arrays[roles.class_names]).tolist()
    return from_arrays(
        features=joined.get("features"),
        labels=joined["label"],
        pred_probs=joined.get("pred_probs"),
        ids=joined.get("id"),
        splits=splits,
        groups=joined.get("group"),
        class_names=names,
        images=joined.get("image"),
        texts=joined["text"].tolist() if "text" in joined else None,
        source=source,
    )


def as_array(values: object) -> npt.NDArray[np.generic]:
    """Return values as a numpy array without a copy where possible; torch tensors are moved to the CPU.

    Raises
    ------
    InputError
        If rows have different lengths, or the array is sparse.
    """
    if isinstance(values, np.ndarray):
        return values
    if type(values).__module__.split(".")[0] == "torch":
        return _array_of_tensor(values)
    if hasattr(values, "toarray"):
        raise InputError(
            f"a sparse {type(values).__name__} was given; pass a dense array, such as features.toarray()"
        )
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return np.asarray(values.to_numpy() if isinstance(values, pa.ChunkedArray) else values.to_pandas())
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            "array has rows of different lengths; every row needs the same number of values"
        ) from error


def _array_of_tensor(values: object) -> npt.NDArray[np.generic]:
    import torch

    if not isinstance(values, torch.Tensor):
        raise InputError(f"array is a {type(values).__name__}; pass tensors or numpy arrays")
    tensor = values.detach().cpu()
    # numpy has no bfloat16.
    dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
    array: npt.NDArray[np.generic] = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    return array


def _plain(labels: object) -> object:
    if isinstance(labels, pa.Array | pa.ChunkedArray | list | tuple):
        return labels
    is_torch = type(labels).__module__.split(".")[0] == "torch"
    return as_array(labels) if is_torch or hasattr(labels, "__array__") else labels


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        raise InputError(
            f"the splits have arrays of the shapes {[part.shape for part in parts]}; they must fit together"
        )
    return np.concatenate(parts)


def _text_input(texts: Sequence[str | None]) -> TextInput:
    try:
        return TextInput(texts)
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        raise InputError(
            f"texts hold something else than text ({str(error)[:120]}); pass strings or None"
        ) from error


def _n_rows(given: Mapping[str, object], labels: object) -> int:
    lengths = {name: len(values) for name, values in given.items() if hasattr(values, "__len__")}
    if not lengths:
        raise InputError(
            "neither features nor pred_probs nor images nor texts are given; pass at least one of them"
        )
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"the arrays have different numbers of rows: {lengths}; row i must be the same sample in each"
        )
    if labels is None:
        raise InputError(
            "labels are missing; an audit needs the given label of every row (None = unlabelled)"
        )
    n_rows = next(iter(lengths.values()))
    if n_rows == 0:
        raise InputError(f"{' and '.join(lengths)} have no rows; at least one labelled row is needed")
    return n_rows


def _column(values: Iterable[object], name: str, n_rows: int) -> pa.Array:
    cells = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if len(cells) != n_rows:
        raise InputError(
            f"{name} has {len(cells)} values but the data have {n_rows} rows; one value a row is needed"
        )
    try:
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        raise InputError(
            f"{name} mix types ({str(error)[:120]}); pass all as text or all as integers"
        ) from error
