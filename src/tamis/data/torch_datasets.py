"""A torch map-style ``Dataset`` of ``(sample, label)`` -> a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyarrow as pa

from tamis.data.arrays import as_array, from_arrays
from tamis.data.assembling import require_usable, row_numbers
from tamis.data.dataset import Dataset, Image, LabelName, Unreadable, label_column
from tamis.data.digests import NO_DIGEST, content_digest, digest_array
from tamis.data.inputs import as_rgb
from tamis.data.labels import check_class_names, encode_labels
from tamis.errors import InputError
from tamis.progress import track

if TYPE_CHECKING:
    import torch.utils.data


def read_torch_dataset(
    source: torch.utils.data.Dataset[object], class_names: Sequence[LabelName] | None
) -> Dataset:
    """Return the data set of a torch ``Dataset`` whose items are ``(sample, label)``.

    Samples are images (PIL, uint8 arrays, tensors with channels first, floats from 0 to 1), vectors of
    numbers, or text. Images are asked for again whenever they are needed; vectors and texts are kept. Labels
    come from the attribute ``targets`` where it fits, else every item is asked for once. The attribute
    ``classes`` gives class names. Give it without random augmentation, or every look shows another sample.

    Raises
    ------
    InputError
        If it has no length, an item is no pair, or samples are of an unknown kind.
    """
    n_rows = _length(source)
    if n_rows == 0:
        raise InputError("the torch Dataset is empty; at least one labelled row is needed")
    sample = _first_sample(source)
    names = _class_names(source) if class_names is None else check_class_names(class_names)
    name = f"torch Dataset {type(source).__name__}"
    if isinstance(sample, str) or _is_vector(sample):
        samples, collected, failures = _collect(source, n_rows)
        if failures:
            row = min(failures)
            raise InputError(
                f"{name} fails at row {row}: {failures[row]}; correct it or leave the row out (Subset)"
            )
        if isinstance(sample, str):
            return from_arrays(
                labels=collected, texts=[str(text) for text in samples], class_names=names, source=name
            )
        vectors = [as_array(vector) for vector in samples]
        return from_arrays(features=vectors, labels=collected, class_names=names, source=name)
    image = _as_image(sample)
    if isinstance(image, str):
        raise InputError(f"{name}, row 0: {image}")
    targets = _targets(source, n_rows)
    labels: object = targets
    problems: dict[int, str] = {}
    if targets is None:
        _, labels, problems = _collect(source, n_rows, keep_samples=False)
    encoded = encode_labels(labels, class_names=names)
    require_usable(encoded.codes, problems, name)
    nothing = pa.nulls(n_rows, pa.string())
    columns = {
        "id": row_numbers(n_rows),
        "label": label_column(encoded.codes),
        "split": nothing,
        "group": nothing,
    }
    return Dataset(
        table=pa.table(columns),
        class_names=encoded.class_names,
        inputs={"image": TorchImageInput(source)},
        source=name,
        problems=problems,
    )


class TorchImageInput:
    """The images of a torch ``Dataset``, asked for row by row and never kept."""

    kind: Literal["image"] = "image"

    def __init__(self, source: torch.utils.data.Dataset[object]) -> None:
        self._source = source
        self._digests: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return _length(self._source)

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Return the given rows as RGB, in the order asked for."""
        return [self._read(int(row)) for row in rows]

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 hashes of the pixels; (0, 0) where a row cannot be read."""
        if self._digests is None:
            found = []
            with track("hashing", len(self), "images") as advance:
                for row in range(len(self)):
                    image = self._read(row)
                    is_bad = isinstance(image, Unreadable)
                    found.append(NO_DIGEST if is_bad else content_digest(_shaped_bytes(np.asarray(image))))
                    advance(1)
            self._digests = digest_array(found)
        return self._digests

    def _read(self, row: int) -> Image | Unreadable:
        try:
            image = _as_image(_item(self._source, row)[0])
        except Exception as error:
            # The caller's own code: whatever it raises concerns this row only.
            return Unreadable(row, f"the torch Dataset fails ({type(error).__name__}: {str(error)[:120]})")
        return Unreadable(row, image) if isinstance(image, str) else image


def _shaped_bytes(image: npt.NDArray[np.generic]) -> bytes:
    return f"{image.shape}".encode() + image.tobytes()


def _length(source: torch.utils.data.Dataset[object]) -> int:
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise InputError(
            f"{type(source).__name__} is not map-style; a torch Dataset with len() and [index] is needed"
        )
    return len(source)


def _item(source: torch.utils.data.Dataset[object], row: int) -> tuple[object, object]:
    item = source[row]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise InputError(
            f"row {row} of {type(source).__name__} is {type(item).__name__}; (sample, label) is needed"
        )
    return item[0], item[1]


def _first_sample(source: torch.utils.data.Dataset[object]) -> object:
    try:
        return _item(source, 0)[0]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{type(source).__name__}[0] fails ({type(error).__name__}: {str(error)[:120]}); its first item"
            " tells what the samples are, so it must work"
        ) from error


def _collect(
    source: torch.utils.data.Dataset[object], n_rows: int, *, keep_samples: bool = True
) -> tuple[list[object], list[object], dict[int, str]]:
    samples: list[object] = []
    labels: list[object] = []
    problems: dict[int, str] = {}
    with track("reading labels", n_rows, "items") as advance:
        for row in range(n_rows):
            try:
                sample, label = _item(source, row)
            except Exception as error:
                # The caller's own code: whatever it raises concerns this row only.
                sample, label = None, None
                problems[row] = f"the torch Dataset fails ({type(error).__name__}: {str(error)[:120]})"
            samples += [sample] if keep_samples else []
            labels.append(_plain_label(label))
            advance(1)
    return samples, labels, problems


def _plain_label(label: object) -> object:
    array = as_array(label) if hasattr(label, "__array__") or hasattr(label, "detach") else None
    if array is None:
        return label
    return array.item() if array.size == 1 else array


def _targets(source: torch.utils.data.Dataset[object], n_rows: int) -> object | None:
    """Return all labels from the attribute ``targets``, if it is there and agrees with three items."""
    targets = getattr(source, "targets", None)
    if targets is None or getattr(source, "target_transform", None) is not None or len(targets) != n_rows:
        return None
    labels = as_array(targets)
    if labels.ndim != 1:
        return None
    for row in {0, n_rows // 2, n_rows - 1}:
        if _plain_label(_item(source, row)[1]) != labels[row]:
            return None
    return labels


def _class_names(source: object) -> tuple[LabelName, ...] | None:
    # A Subset has the classes of what it is a subset of.
    while source is not None:
        names = getattr(source, "classes", None)
        if names is not None:
            return check_class_names(list(names))
        source = getattr(source, "dataset", None)
    return None


def _is_vector(sample: object) -> bool:
    return not isinstance(sample, PIL.Image.Image) and as_array(sample).ndim <= 1


def _as_image(sample: object) -> Image | str:
    """Return the sample as (h, w, 3) uint8, or why it is no image."""
    if isinstance(sample, PIL.Image.Image):
        return np.array(sample.convert("RGB"))
    array = as_array(sample)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        return f"sample has shape {array.shape}; images are (height, width), (h, w, 3) or (3, h, w)"
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            return (
                f"float image with values from {low:.3g} to {high:.3g}; legal is 0 to 1: leave out"
                " normalisation"
            )
        array = np.round(array.astype(np.float64) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        return f"image has the type {array.dtype}; uint8, or floats from 0 to 1, are legal"
    return as_rgb(array.view(np.ndarray))
