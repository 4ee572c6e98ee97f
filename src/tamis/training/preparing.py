"""From a data set to what a network is trained on: inputs, labels, rows, and the form they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tamis.data import Dataset
from tamis.engine import ChosenExamples, Evaluation, Examples
from tamis.errors import InputError
from tamis.training.choosing import choose_network
from tamis.training.inputs import (
    Gathered,
    InputForm,
    features_form,
    gather_features,
    gather_images,
    gather_texts,
)
from tamis.training.settings import Value
from tamis.training.source import Source, as_dataset, choose_source
from tamis.training.splitting import held_out, held_out_classes
from tamis.training.wishes import Wishes
from tamis.types import IntArray


@dataclass(frozen=True)
class Prepared:
    """Everything that depends on the data alone.

    Attributes
    ----------
    source : Source
    examples : Examples
        Of every row of the data set.
    rows, held : (m,) int64 arrays
        Rows to train on, and those held out.
    classes : (K,) int64 array
        Codes of the classes that are trained, in the order of the network's outputs.
    form : InputForm
    backbone : str
    backbone_options : dict
    """

    source: Source
    examples: Examples
    rows: IntArray
    held: IntArray
    classes: IntArray
    form: InputForm
    backbone: str
    backbone_options: dict[str, Value]

    def chosen(self, rows: IntArray, device: torch.device) -> Examples:
        """Return the inputs of some rows."""
        if len(rows) == self.examples.n_samples:
            return self.examples
        return ChosenExamples(self.examples, torch.from_numpy(rows).to(device))

    def labels(self, rows: IntArray, device: torch.device) -> torch.Tensor:
        """Return the label codes of some rows, (m,) int64: places in `classes`, then the other classes."""
        n_classes = self.source.dataset.n_classes
        order = np.concatenate([self.classes, np.setdiff1d(np.arange(n_classes), self.classes)])
        places = np.full(n_classes + 1, -1, dtype=np.int64)  # the last one for -1, no label
        places[order] = np.arange(n_classes)
        return torch.from_numpy(places[self.source.labels[rows]]).to(device)

    @property
    def class_names(self) -> tuple[str | int, ...]:
        """Names of the classes that are trained."""
        names = self.source.dataset.class_names
        return tuple(names[code] for code in self.classes)


def prepare(wishes: Wishes, dataset: Dataset, device: torch.device) -> Prepared:
    """Read, encode and split the data of a training.

    Raises
    ------
    InputError
        The data cannot be trained on, or not with this method and backbone.
    """
    network = choose_network(wishes, dataset, device)
    is_retrieval = wishes.task == "retrieval"
    split = held_out_classes if is_retrieval else held_out
    source = choose_source(dataset, network.kind, encoder=wishes.encoder, device=str(device))
    if source.features is None:
        form = network.form_of(source)
        found = gather(source, form, device, wishes.memory_budget)
        source = replace(source, unreadable={**source.unreadable, **found.unreadable})
        _check_classes(source)
        rows, held = split(source, wishes.validation)
    else:
        _check_classes(source)
        rows, held = split(source, wishes.validation)
        form = features_form(source.features, rows)
        found = gather_features(source.features, form, device)
    name, options = network.settled(form, len(rows))
    classes = np.arange(dataset.n_classes)
    if is_retrieval:
        # Without the classes that are held out whole.
        classes = np.unique(source.labels[rows])
        classes = classes[classes >= 0]
    return Prepared(source, found.examples, rows, held, classes, form, name, options)


def gather(
    source: Source, form: InputForm, device: torch.device, memory_budget: str | int | None
) -> Gathered:
    """Return the inputs of every row of a source in a form that is known."""
    if source.features is not None:
        return gather_features(source.features, form, device)
    if form.kind == "text":
        return gather_texts(source.dataset.inputs["text"], form, device)
    return gather_images(source.dataset.inputs["image"], form, device, memory_budget)


def frozen_features(prepared: Prepared, wishes: Wishes, device: torch.device) -> torch.Tensor:
    """Return features of the rows to train on, scaled: the inputs, those given beside them, or an encoder's.

    Raises
    ------
    InputError, MissingExtraError
        There are none, and no encoder takes these inputs.
    """
    examples, source = prepared.examples, prepared.source
    if source.features is None:
        found = choose_source(source.dataset, "features", encoder=wishes.encoder, device=str(device))
        assert found.features is not None  # of this kind
        examples = gather_features(
            found.features, features_form(found.features, prepared.rows), device
        ).examples
    return examples.fetch(torch.from_numpy(prepared.rows).to(device))


def has_features(prepared: Prepared, wishes: Wishes) -> bool:
    """Return whether there are features without a choice of ours: given, or of an encoder that was named."""
    source = prepared.source
    return source.features is not None or bool(source.dataset.features) or wishes.encoder is not None


def evaluation_of(test: object, prepared: Prepared, wishes: Wishes, device: torch.device) -> Evaluation:
    """Return labelled rows that are not trained on.

    Raises
    ------
    InputError
        They have another form than the training data or no labels, or, where classes are to be predicted,
        other classes.
    """
    names = prepared.source.dataset.class_names
    dataset = _test_data(test, wishes)
    encoder = wishes.encoder
    source = choose_source(dataset, prepared.form.kind, encoder=encoder, device=str(device))
    try:
        found = gather(source, prepared.form, device, wishes.memory_budget)
    except InputError as error:
        raise InputError(f"test: {error}") from error
    source = replace(source, unreadable={**source.unreadable, **found.unreadable})
    labels = source.labels.copy() if wishes.task == "retrieval" else _trained_codes(source, names)
    labels[list(source.unreadable)] = -1
    if not (labels >= 0).any():
        raise InputError("test has no row with a label that can be read")
    return Evaluation(found.examples, torch.from_numpy(labels).to(device))


def _trained_codes(source: Source, names: Sequence[str | int]) -> IntArray:
    """Return the labels of test data as codes of the trained classes."""
    dataset = source.dataset
    places = {str(name): code for code, name in enumerate(names)}
    unknown = [name for name in dataset.class_names if str(name) not in places]
    if unknown:
        raise InputError(
            f"test has classes that the training data lack: {unknown[:5]}; those have {list(names[:10])}"
        )
    codes = np.array([places[str(name)] for name in dataset.class_names], dtype=np.int64)
    labels: IntArray = np.where(source.labels >= 0, codes[np.maximum(source.labels, 0)], -1)
    return labels


def _test_data(test: object, wishes: Wishes) -> Dataset:
    if isinstance(test, tuple) and len(test) == 2:
        return as_dataset(None, test[0], test[1])
    try:
        return as_dataset(test, read_options=wishes.read_options)
    except InputError as error:
        raise InputError(f"test: {error}") from error


def _check_classes(source: Source) -> None:
    labels = source.labels[source.is_usable]
    n_seen = len(np.unique(labels[labels >= 0]))
    if n_seen < 2:
        what = "no row with a label" if not n_seen else "one class alone"
        raise InputError(
            f"the data have {what} among the {len(labels):,} rows that can be read; training needs at least "
            "two classes"
        )
