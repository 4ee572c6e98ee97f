"""Names and values of hyper-parameters, sorted into those of the method and those of the recipe."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Literal

from tamis.backbones import BACKBONES
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
        There is no such method or parameter, a value is of the wrong type, or epochs are given twice.

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
        if general.get("epochs", epochs) != epochs:
            raise InputError(
                f"epochs is {epochs}, and params say epochs={general['epochs']}; give one of the two"
            )
        general["epochs"] = _as_type("epochs", epochs, int)
    return own, kind.recipe.changed(**general)


def checked_options(backbone: str, options: Params | None) -> dict[str, Value]:
    """Return options of a backbone in the types that it asks for; names are checked when it is built."""
    kinds = typing.get_type_hints(BACKBONES.get(backbone))
    return {name: _as_type(name, value, kinds.get(name, object)) for name, value in (options or {}).items()}


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
    # The first constructor on the way to the base: a class without its own has that of its parent.
    makers = [vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)]
    return typing.get_type_hints(makers[0]).get(name, object)


def checked(name: str, value: Value, kind: type) -> Value:
    """Return a value in the type that the class's argument asks for; `InputError` where it is of another."""
    return _as_type(name, value, type_of(kind, name))


def _as_type(name: str, value: Value, wanted: object) -> Value:
    """Return a value as one of the types that an annotation allows: whole numbers serve as numbers."""
    if wanted is object:
        return value
    legal = list(_members(wanted))
    if isinstance(value, list | tuple) and any(typing.get_origin(each) is tuple for each in legal):
        return tuple(value)
    for each in legal:
        if typing.get_origin(each) is Literal:
            if value in typing.get_args(each):
                return value
        elif isinstance(each, type) and type(value) is each:
            return value
    if isinstance(value, int) and not isinstance(value, bool) and float in legal:
        return float(value)
    # One number where a list of them is meant.
    if isinstance(value, int | float) and any(typing.get_origin(each) is tuple for each in legal):
        return (value,)
    raise InputError(f"{name} is {value!r}; expected {' or '.join(_spelled(each) for each in legal)}")


def _members(wanted: object) -> Iterator[object]:
    """Yield the members of a union, and a type that is none itself."""
    if typing.get_origin(wanted) in {typing.Union, types.UnionType}:
        for each in typing.get_args(wanted):
            yield from _members(each)
    else:
        yield wanted


def _spelled(wanted: object) -> str:
    if typing.get_origin(wanted) is Literal:
        return ", ".join(repr(each) for each in typing.get_args(wanted))
    if typing.get_origin(wanted) is tuple:
        return "a list of numbers"
    names = {float: "a number", int: "a whole number", str: "a word", bool: "true or false"}
    names[type(None)] = "nothing (null)"
    return names.get(wanted, str(wanted)) if isinstance(wanted, type) else str(wanted)


def _unknown(name: str, owner: str, legal: list[str]) -> InputError:
    near = difflib.get_close_matches(name, legal, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{owner} has no parameter {name!r}; {hint}legal: {', '.join(legal) or 'none'}")
