"""Names and values of hyper-parameters, sorted into those of the method and those of the recipe."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Mapping

from tamis.errors import InputError
from tamis.methods import METHODS, Method, Recipe
from tamis.methods.plugin import PLUGINS, Plugin
from tamis.methods.recipe import recipe_fields

Value = str | int | float | bool | None | list[float] | tuple[float, ...]
Params = Mapping[str, Value]

_GIVEN = frozenset({"self", "build", "n_samples", "n_classes", "input_shape", "seed"})


def options_of(kind: type[Method] | type[Plugin]) -> dict[str, inspect.Parameter]:
    """Return the hyper-parameters of a method or plug-in by name."""
    found = inspect.signature(kind).parameters
    return {name: parameter for name, parameter in found.items() if name not in _GIVEN}


def split_params(method: str, params: Params | None, epochs: int | None) -> tuple[dict[str, Value], Recipe]:
    """Return the hyper-parameters of a method and its recipe, with ``params`` and ``epochs`` put in.

    Raises
    ------
    InputError
        There is no such method or parameter, or a value is of the wrong type.

    Examples
    --------
    >>> own, recipe = split_params("cross_entropy", {"lr": 0.1}, epochs=3)
    >>> own, recipe.lr, recipe.epochs
    ({}, 0.1, 3)
    """
    kind = METHODS.get(method)
    legal = options_of(kind)
    own: dict[str, Value] = {}
    general: dict[str, Value] = {}
    for name, value in (params or {}).items():
        if name in legal:
            own[name] = checked(name, value, kind)
        elif name in recipe_fields():
            general[name] = _as_type(name, value, type_of(Recipe, name))
        else:
            raise _unknown(name, method, [*legal, *recipe_fields()])
    if epochs is not None:
        general["epochs"] = _as_type("epochs", epochs, int)
    return own, kind.recipe.changed(**general)


def make_plugin(name: str, params: Params | None = None) -> Plugin:
    """Return a plug-in by name, with its hyper-parameters."""
    kind = PLUGINS.get(name)
    legal = options_of(kind)
    for given in params or {}:
        if given not in legal:
            raise _unknown(given, name, list(legal))
    return kind(**{key: checked(key, value, kind) for key, value in (params or {}).items()})


def type_of(kind: type, name: str) -> object:
    """Return the annotated type of a constructor's argument."""
    return typing.get_type_hints(vars(kind).get("__init__", kind)).get(name, object)


def checked(name: str, value: Value, kind: type) -> Value:
    """Return a value in the type that the class's argument asks for; `InputError` where it is of another."""
    return _as_type(name, value, type_of(kind, name))


def _as_type(name: str, value: Value, wanted: object) -> Value:
    options = typing.get_args(wanted) if typing.get_origin(wanted) is not None else (wanted,)
    if isinstance(value, bool) and bool not in options and wanted is not object:
        raise InputError(f"{name} is {value!r}; expected {_spelled(wanted)}")
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in options and int not in options:
        return float(value)
    if wanted is float and not isinstance(value, float):
        raise InputError(f"{name} is {value!r}; expected a number")
    if wanted is int and not isinstance(value, int):
        raise InputError(f"{name} is {value!r}; expected a whole number")
    if wanted is bool and not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; expected true or false")
    return value


def _spelled(wanted: object) -> str:
    names = {float: "a number", int: "a whole number", str: "a word"}
    return names.get(wanted, str(wanted)) if isinstance(wanted, type) else str(wanted)


def _unknown(name: str, owner: str, legal: list[str]) -> InputError:
    near = difflib.get_close_matches(name, legal, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{owner} has no parameter {name!r}; {hint}legal: {', '.join(legal) or 'none'}")
