"""The data of a training run: which rows, which inputs, which classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tamis.auditing.material import attach
from tamis.backbones import InputKind
from tamis.data import Dataset, from_arrays, read
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Source:
    """A data set and the inputs a network shall see.

    Attributes
    ----------
    dataset : Dataset
    kind : {"features", "image", "text"}
        What the network takes.
    features : (n, d) float array or None
        Where ``kind`` is features: given, or made by an encoder.
    encoder : str or None
        The encoder that made them.
    unreadable : mapping of row to reason
    """

    dataset: Dataset
    kind: InputKind
    features: FloatArray | None
    encoder: str | None
    unreadable: Mapping[int, str]

    @property
    def labels(self) -> IntArray:
        """(n,) int64 label codes; -1 where there is none."""
        return self.dataset.label_codes

    @property
    def is_usable(self) -> BoolArray:
        """(n,) bool: rows that could be read."""
        usable = np.ones(len(self.dataset), dtype=np.bool_)
        usable[list(self.unreadable)] = False
        return usable


def as_dataset(
    data: object,
    features: object = None,
    labels: object = None,
    *,
    class_names: Sequence[str | int] | None = None,
    read_options: Mapping[str, object] | None = None,
) -> Dataset:
    """Return the data set of a call.

    Raises
    ------
    InputError
        Neither data nor labels with features were given, or both.
    """
    options = dict(read_options or {})
    if data is None:
        if labels is None:
            raise InputError("labels is missing; pass data, or features and labels")
        if features is None:
            raise InputError("features is missing; pass data, or features and labels")
        if options:
            raise InputError(f"read_options {sorted(options)} belong to data, and there is none")
        return from_arrays(features, labels, class_names=class_names)
    if labels is not None:
        raise InputError("labels was given beside data; pass data with its labels, or features and labels")
    if class_names is not None:
        options["class_names"] = class_names
    dataset = data if isinstance(data, Dataset) else read(data, **options)  # type: ignore[arg-type]
    return attach(dataset, features=features, pred_probs=None)[0]


def choose_source(
    dataset: Dataset,
    wanted: InputKind | None,
    *,
    encoder: object,
    device: str,
) -> Source:
    """Return what a network of the wanted kind sees: inputs as they are, or features made of them.

    Parameters
    ----------
    dataset : Dataset
    wanted : {"features", "image", "text"} or None
        None: features where there are any, else what an encoder makes of images or texts.
    encoder : None, str, Encoder or callable
        Of features that have to be made.
    device : str
        Of the encoder.

    Raises
    ------
    InputError
        The data have no such inputs.
    """
    if wanted in {"image", "text"}:
        if wanted not in dataset.inputs:
            held = [*dataset.inputs, *dataset.features] or ["nothing"]
            raise InputError(f"this backbone takes {wanted} inputs, but the data hold {', '.join(held)}")
        return Source(dataset, wanted, None, None, dict(dataset.problems))
    if dataset.features and encoder is None:
        features, bad = _finite(next(iter(dataset.features.values())), dataset.problems)
        return Source(dataset, "features", features, None, bad)
    if not dataset.inputs and dataset.features:
        raise InputError(
            f"encoder is {encoder!r}, but the data hold features alone, and no images or texts to encode; "
            "leave it out"
        )
    if not dataset.inputs:
        raise InputError("the data hold nothing a network could take: give images, texts or features")
    from tamis.encoders import encode

    encoded = encode(dataset, encoder=encoder, device=device)  # type: ignore[arg-type]
    dataset = replace(dataset, notes=(*dataset.notes, *encoded.notes))
    unreadable = dict(encoded.unreadable)
    return Source(dataset, "features", encoded.features, encoded.encoder_name, unreadable)


def source_for_model(dataset: Dataset, kind: InputKind, *, encoder: str | None, device: str) -> Source:
    """Return what a trained model sees of new data.

    Raises
    ------
    InputError
        The model was trained on features that were given, and the data hold none (those of an encoder would
        be others); or on those of an encoder, and the data hold nothing to encode; or the data have no such
        inputs at all.
    """
    held = ", ".join([*dataset.inputs, *dataset.features])
    if kind == "features" and encoder is None and not dataset.features and dataset.inputs:
        raise InputError(
            f"the model was trained on features that were given to it, and the data hold {held}; give "
            "features made in the same way, such as a .npy file of shape (n, d)"
        )
    if kind == "features" and encoder is not None and not dataset.inputs and dataset.features:
        raise InputError(
            f"the model encodes its inputs itself, with {encoder}, and the data hold features alone; give "
            "the images or texts"
        )
    return choose_source(dataset, kind, encoder=encoder, device=device)


def _finite(features: FloatArray, problems: Mapping[int, str]) -> tuple[FloatArray, dict[int, str]]:
    """Return features with zeros in rows that hold NaN or infinity, and the reasons of all unusable rows."""
    bad = {int(row): "features contain NaN or infinity" for row in _not_finite(features)}
    bad |= dict(problems)
    if len(bad) == len(features):
        raise InputError("features holds no row without NaN or infinity; nothing can be trained on")
    if bad:
        features = np.array(features)
        features[list(bad)] = 0
    return features, bad


def _not_finite(features: FloatArray, block: int = 65_536) -> IntArray:
    found = [
        start + np.flatnonzero(~np.isfinite(features[start : start + block]).all(axis=1))
        for start in range(0, len(features), block)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
