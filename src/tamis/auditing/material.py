"""What an audit works on: checked features and probabilities, content hashes, rows that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tamis.auditing.zero_shot import PromptChoice, embed_prompts, vision_language_encoder
from tamis.data import Dataset, feature_digests
from tamis.data.arrays import as_array
from tamis.errors import InputError
from tamis.statistics.canonical import canonical_columns
from tamis.statistics.probabilities import best_column_permutation, check_probabilities, looks_in_sample
from tamis.types import FloatArray

if TYPE_CHECKING:
    from tamis.encoders import EncoderChoice


@dataclass(frozen=True)
class Material:
    """Everything an audit computes from, rows in data-set order.

    Attributes
    ----------
    dataset : Dataset
    features : (n, d) float array or None
        Finite; zeros in the rows of ``unreadable``.
    pred_probs : (n, K) float64 array or None
        Rows sum to 1.
    digests : (n, 2) uint64
        Hashes of the content, or of the probabilities where there is nothing else; (0, 0) for no content.
    unreadable : mapping of row to reason
    notes : tuple of str
    speed : float or None
        Images or texts encoded per second; None where nothing was encoded.
    text_features : tuple of K arrays (m_c, d), or None
        Embeddings of the prompts of each class.
    """

    dataset: Dataset
    features: FloatArray | None
    pred_probs: FloatArray | None
    digests: npt.NDArray[np.uint64]
    unreadable: Mapping[int, str]
    notes: tuple[str, ...]
    speed: float | None = None
    text_features: tuple[FloatArray, ...] | None = None

    @property
    def shows_duplicates(self) -> bool:
        """Whether equal digests mean equal samples; two samples may well have the same probabilities."""
        return bool(self.dataset.inputs) or self.features is not None


def gather(
    dataset: Dataset,
    *,
    encoder: EncoderChoice,
    out_of_sample: bool | None,
    has_named_columns: bool,
    memory_budget: str | int | None,
    device: str,
    zero_shot: bool = False,
    prompts: PromptChoice = None,
) -> Material:
    """Collect what can be audited, encoding images or texts where there is nothing else.

    Raises
    ------
    InputError
        If the probabilities are not probabilities or are in sample, or there is nothing to audit from.
    """
    pred_probs, notes = None, list(dataset.notes)
    unreadable = dict(dataset.problems)
    if dataset.pred_probs is not None:
        pred_probs, found = _usable_probs(dataset, dataset.pred_probs, out_of_sample, has_named_columns)
        notes += found
    features, speed = _features(dataset, unreadable), None
    texts = None
    if zero_shot:
        encoder = vision_language_encoder(dataset, encoder, device)
        texts = embed_prompts(dataset, encoder, prompts)
    elif prompts is not None:
        raise InputError("prompts were given without zero_shot; set zero_shot, or leave them out")
    if encoder is not None and not dataset.inputs:
        raise InputError(
            f"encoder is {encoder!r}, but the data hold no images or texts to encode; leave it out"
        )
    if dataset.inputs and (encoder is not None or (features is None and pred_probs is None)):
        from tamis.encoders import encode

        encoded = encode(dataset, encoder=encoder, memory_budget=memory_budget, device=device)
        features, speed = encoded.features, encoded.images_per_second
        unreadable |= encoded.unreadable
        notes.append(f"Features come from the encoder {encoded.encoder_name}.")
        notes += encoded.notes
    if features is None and pred_probs is None:
        raise InputError(
            "there is nothing to audit from: give images, texts, features or predicted probabilities"
        )
    if features is None:
        notes.append(
            "Only predicted probabilities were given: no neighbours, duplicates or outliers were looked for."
        )
    return Material(
        dataset,
        features,
        pred_probs,
        _digests(dataset, features, pred_probs, unreadable),
        unreadable,
        tuple(notes),
        speed,
        texts,
    )


def attach(dataset: Dataset, *, features: object, pred_probs: object) -> tuple[Dataset, bool]:
    """Return the data set with matrices given beside it, and whether columns of ``pred_probs`` had names.

    Raises
    ------
    InputError
        If shapes do not match or the names of the columns are not the classes.
    """
    columns = getattr(pred_probs, "columns", None)
    names = [] if columns is None else [str(name) for name in columns]
    is_named = bool(names) and names != [str(position) for position in range(len(names))]
    if features is not None:
        dataset = replace(dataset, features={"features": _matrix(features, "features", len(dataset))})
    if pred_probs is not None:
        values = getattr(pred_probs, "to_numpy", lambda: pred_probs)() if columns is not None else pred_probs
        matrix = _matrix(values, "pred_probs", len(dataset))
        if is_named:
            matrix = matrix[:, _named_order(names, dataset)]
        if matrix.shape[1] != dataset.n_classes:
            raise InputError(
                f"pred_probs has {matrix.shape[1]} columns, the data have {dataset.n_classes} classes "
                f"({', '.join(str(name) for name in dataset.class_names[:10])}); pass one column per class, "
                "or class_names= in the order of the columns"
            )
        dataset = replace(dataset, pred_probs=matrix)
    return dataset, is_named


def _named_order(names: list[str], dataset: Dataset) -> list[int]:
    wanted = [str(name) for name in dataset.class_names]
    if sorted(names) != sorted(wanted):
        extra, missing = sorted(set(names) - set(wanted))[:5], sorted(set(wanted) - set(names))[:5]
        raise InputError(
            f"the columns of pred_probs do not match the classes: columns without class {extra}, classes "
            f"without column {missing}; name the columns after the labels"
        )
    return [names.index(name) for name in wanted]


def _matrix(values: object, name: str, n_rows: int) -> FloatArray:
    array = as_array(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{name} has shape {array.shape} and type {array.dtype}; pass numbers of shape (n, d)"
        )
    if len(array) != n_rows:
        raise InputError(f"{name} has {len(array)} rows but the data have {n_rows}; they must match")
    return array if array.dtype.kind == "f" else array.astype(np.float32)  # type: ignore[return-value]


def _features(dataset: Dataset, unreadable: dict[int, str]) -> FloatArray | None:
    if not dataset.features:
        return None
    features = next(iter(dataset.features.values()))
    if features.dtype.kind != "f":
        features = features.astype(np.float32)
    bad = [row for row in _rows_not_finite(features) if row not in unreadable]
    unreadable |= dict.fromkeys(bad, "features contain NaN or infinity")
    if len(unreadable) == len(features):
        raise InputError("features holds no row without NaN or infinity; nothing can be audited")
    if unreadable:
        features = np.array(features)
        features[list(unreadable)] = 0
    return features


def _rows_not_finite(features: FloatArray, block: int = 65_536) -> list[int]:
    found: list[int] = []
    for start in range(0, len(features), block):
        is_bad = ~np.isfinite(features[start : start + block]).all(axis=1)
        found += (start + np.flatnonzero(is_bad)).tolist()
    return found


def _usable_probs(
    dataset: Dataset, pred_probs: FloatArray, out_of_sample: bool | None, has_named_columns: bool
) -> tuple[FloatArray, list[str]]:
    probs = check_probabilities(pred_probs, n_classes=dataset.n_classes)
    codes = dataset.label_codes
    is_labelled = codes >= 0
    labels, labelled = codes[is_labelled], probs[is_labelled]
    if not out_of_sample and looks_in_sample(labelled, labels):
        raise InputError(
            f"pred_probs look in-sample: not one of {len(labels)} rows has another arg-max than its label. A "
            "model that was trained on these labels repeats their errors. Pass out-of-sample probabilities "
            "(for instance from cross-validation), or out_of_sample=True if they are"
        )
    notes = []
    if not has_named_columns:
        order = best_column_permutation(labelled, labels)
        if order is not None:
            names = [dataset.class_names[int(code)] for code in order]
            notes.append(
                "Warning: the columns of pred_probs fit the labels far better in another order "
                f"({', '.join(str(name) for name in names[:10])}); check the order of the classes."
            )
    return probs, notes


def _digests(
    dataset: Dataset,
    features: FloatArray | None,
    pred_probs: FloatArray | None,
    unreadable: Mapping[int, str],
) -> npt.NDArray[np.uint64]:
    if dataset.inputs:
        name = "image" if "image" in dataset.inputs else next(iter(dataset.inputs))
        return dataset.inputs[name].digests()
    if features is None:
        assert pred_probs is not None  # one of the two exists, `gather` has checked
        digests = feature_digests(pred_probs[:, canonical_columns(pred_probs, dataset.label_codes)])
    else:
        digests = feature_digests(features)
    # What could not be read was replaced by zeros, which are nobody's content.
    digests[list(unreadable)] = 0
    return digests
