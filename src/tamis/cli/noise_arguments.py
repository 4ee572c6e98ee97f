"""From the options of ``tamis noise`` to the arguments of a noise model."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tamis.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tamis.data import Dataset
    from tamis.noise.models import NoiseModel
    from tamis.registry import Entry

CONVENTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "symmetric": ("convention", {"exclude_true": "exclude_true", "include_true": "include_true"}),
    "asymmetric_cifar100": (
        "blocks",
        {"superclass": "superclass", "consecutive_swap": "consecutive_swap", "all": "all"},
    ),
    "instance_dependent": ("per_class_projection", {"per_class": True, "shared": False}),
    "open_set": ("open_labels", {"keep": "keep", "uniform": "uniform"}),
    "semantic": ("weighting", {"uniform": "uniform", "tree_distance": "tree_distance"}),
}
"""Model -> its argument that names a convention, and the value behind every word; the default first."""

AGGREGATIONS = ("majority", "worst", "random")
"""The conventions of models that return the answers of a crowd: how one label comes of them."""

_OWN_OPTIONS = {"rate": "--rate", "exact": "--exact", "random_state": "--seed"}
_NEVER_SET = frozenset({"labels", "n_classes", "class_names", "keep_probs", "compat"})


class Wishes(NamedTuple):
    """What the command line says about the model."""

    rate: float | None
    convention: str | None
    exact: str | None
    using: str | None
    settings: tuple[str, ...]
    seed: int


class Described(NamedTuple):
    """One line of ``tamis noise --list``."""

    name: str
    title: str
    needs: tuple[str, ...]
    conventions: tuple[str, ...]
    arguments: tuple[str, ...]


def described_models() -> list[Described]:
    """Return what there is to know about every noise model."""
    from tamis.noise import NOISE_MODELS

    return [
        Described(
            entry.name,
            entry.facts.title,
            entry.facts.inputs,
            conventions(entry),
            tuple(name for name in _parameters(entry) if name in {"rate", "exact"}) + _free_arguments(entry),
        )
        for entry in NOISE_MODELS
    ]


def conventions(entry: Entry[NoiseModel]) -> tuple[str, ...]:
    """Return the conventions of a model by name, the default first; empty where it has one only."""
    if entry.facts.task == "crowd":
        return AGGREGATIONS
    return tuple(CONVENTIONS[entry.name][1]) if entry.name in CONVENTIONS else ()


def read_labelled(
    source: str | None, options: Mapping[str, str], labels: Path | None, features: Path | None
) -> Dataset:
    """Return the data set of SOURCE, or of ``--labels``, with the features of ``--features`` if given."""
    import dataclasses

    import numpy as np

    from tamis.data import from_arrays, read
    from tamis.data.array_files import load_array
    from tamis.data.matrices import as_matrix

    matrix = None if features is None else as_matrix(load_array(features), "features")
    if source is not None:
        dataset = read(source, **options)
        return dataset if matrix is None else dataclasses.replace(dataset, features={"features": matrix})
    if labels is None:
        raise InputError("give SOURCE, or --labels FILE.npy in its place")
    codes = load_array(labels)
    if matrix is None:
        # Labels alone make no data set; nothing will read this column.
        return dataclasses.replace(
            from_arrays(np.zeros((len(codes), 1), np.float32), codes, source=str(labels)), features={}
        )
    return from_arrays(matrix, codes, source=str(labels))


def model_arguments(
    entry: Entry[NoiseModel], dataset: Dataset, rows: npt.NDArray[np.intp], wishes: Wishes
) -> dict[str, object]:
    """Return the keyword arguments of a model for the labelled rows of a data set.

    Raises
    ------
    InputError
        If an option is not one of the model's, or something the model needs is missing.
    """
    known = _parameters(entry)
    arguments: dict[str, object] = {"random_state": wishes.seed}
    for name, value in (("rate", wishes.rate), ("exact", wishes.exact)):
        if value is not None and name not in known:
            _refuse(name, entry)
        if value is not None:
            arguments[name] = value
    if "n_classes" in known:
        arguments["n_classes"] = dataset.n_classes
    if wishes.convention is not None and entry.facts.task != "crowd":
        arguments |= _convention(entry, wishes.convention)
    arguments |= _settings(entry, wishes.settings)
    return arguments | _needs(entry, dataset, rows, wishes.using)


def _parameters(entry: Entry[NoiseModel]) -> tuple[str, ...]:
    return tuple(inspect.signature(entry.target).parameters)


def _free_arguments(entry: Entry[NoiseModel]) -> tuple[str, ...]:
    """Return the arguments that ``--set`` may give."""
    taken = {"rate", "exact", "random_state", *entry.facts.inputs, *_NEVER_SET}
    if entry.name in CONVENTIONS:
        taken.add(CONVENTIONS[entry.name][0])
    return tuple(name for name in _parameters(entry) if name not in taken)


def _refuse(name: str, entry: Entry[NoiseModel]) -> NoReturn:
    words = {*({"rate", "exact"} & set(_parameters(entry))), *_free_arguments(entry)}
    raise InputError(f"{entry.name} takes no {name}; it takes: {', '.join(sorted(words)) or 'nothing'}")


def _convention(entry: Entry[NoiseModel], convention: str) -> dict[str, object]:
    legal = conventions(entry)
    if convention not in legal:
        what = f"its conventions: {', '.join(legal)}" if legal else "it has one only; leave --convention out"
        raise InputError(f"{entry.name} has no convention {convention!r}; {what}")
    name, values = CONVENTIONS[entry.name]
    return {name: values[convention]}


def _settings(entry: Entry[NoiseModel], settings: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign:
            raise InputError(f"--set {setting!r} is not NAME=VALUE")
        if name in _OWN_OPTIONS:
            raise InputError(f"--set {setting!r}: use {_OWN_OPTIONS[name]} for that")
        if name not in _free_arguments(entry):
            _refuse(name, entry)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _needs(
    entry: Entry[NoiseModel], dataset: Dataset, rows: npt.NDArray[np.intp], using: str | None
) -> dict[str, object]:
    """Return what the model needs beside labels and numbers."""
    found: dict[str, object] = {}
    is_used = False
    for need in entry.facts.inputs:
        if need == "features":
            found[need] = _features(entry, dataset, rows)
            continue
        if using is None:
            if need == "fine_to_coarse" and dataset.n_classes == 100:
                continue
            raise InputError(f"{entry.name} needs --using FILE: {_WHAT.get(need, need)}")
        is_used = True
        found |= _from_file(need, using, dataset)
    if using is not None and not is_used:
        raise InputError(f"{entry.name} needs nothing from a file; leave --using out")
    return found


_WHAT = {
    "mapping": "cifar10, mnist, or a .json object of class name to the class it is taken for",
    "fine_to_coarse": "a .json object of class name to super-class (only CIFAR-100's are known)",
    "transition": "a .npy or .json matrix, row i = P(noisy | true = class i), classes in order",
    "ontology": "a .json object, class name to parent, or nested objects with the classes innermost",
    "class_embeddings": "a .npy matrix, one row a class, classes in order",
    "confusions": "a .npy array of shape (annotators, classes, classes)",
}


def _features(entry: Entry[NoiseModel], dataset: Dataset, rows: npt.NDArray[np.intp]) -> object:
    if not dataset.features:
        raise InputError(
            f"{entry.name} needs features: give --features FILE.npy, one row for each row of the data"
        )
    matrix = next(iter(dataset.features.values()))
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _from_file(need: str, using: str, dataset: Dataset) -> dict[str, object]:
    """Return the arguments that the file ``using`` stands for."""
    names = [str(name) for name in dataset.class_names]
    if need == "mapping" and using in {"cifar10", "mnist"}:
        return {need: using}
    if need == "mapping":
        pairs = _json_object(using)
        return {need: {_code(a, names, using): _code(b, names, using) for a, b in pairs.items()}}
    if need == "fine_to_coarse":
        coarse = {_code(fine, names, using): str(above) for fine, above in _json_object(using).items()}
        missing = [name for code, name in enumerate(names) if code not in coarse]
        if missing:
            raise InputError(f"{using} lacks the super-class of {len(missing)} classes, first {missing[0]!r}")
        numbers = {name: number for number, name in enumerate(sorted(set(coarse.values())))}
        return {need: [numbers[coarse[code]] for code in range(len(names))]}
    if need == "ontology":
        return {need: _json_object(using), "class_names": names}
    if Path(using).suffix.lower() == ".json":
        return {need: _json(using, as_text=False)}
    from tamis.data.array_files import load_array

    return {need: load_array(using)}


def _code(name: object, names: list[str], using: str) -> int:
    if str(name) not in names:
        raise InputError(
            f"{using} names the class {name!r}, which the data do not have: {', '.join(names[:20])}"
        )
    return names.index(str(name))


def _json_object(path: str) -> dict[str, object]:
    value = _json(path, as_text=True)
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object")
    return value


def _json(path: str, *, as_text: bool) -> object:
    """Return the value in a JSON file; with ``as_text`` its whole numbers are names of classes."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text, parse_int=str if as_text else None)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
