"""``NAME=VALUE`` on the command line: hyper-parameters, options of backbones and plug-ins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tamis.errors import InputError

if TYPE_CHECKING:
    from tamis.methods import Plugin
    from tamis.training.settings import Value


def assignments(option: str, given: Sequence[str] | None) -> dict[str, Value]:
    """Return ``NAME=VALUE`` pairs: values are numbers, true, false, null, lists with commas, or words.

    Examples
    --------
    >>> assignments("--param", ["lr=1e-2", "noise_rate=estimate", "milestones=0.5,0.8", "frozen=true"])
    {'lr': 0.01, 'noise_rate': 'estimate', 'milestones': (0.5, 0.8), 'frozen': True}
    """
    found: dict[str, Value] = {}
    for each in given or []:
        name, sign, value = each.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise InputError(f"{option} {each!r} is no assignment; write {option} NAME=VALUE")
        if name in found:
            raise InputError(f"{option} {name} is given twice; give it once")
        found[name] = _value(option, each, value.strip())
    return found


def plugin_of(text: str) -> str | Plugin:
    """Return the plug-in of ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``."""
    name, sign, rest = text.partition(":")
    if not sign:
        return name
    from tamis.training.settings import make_plugin

    return make_plugin(name, assignments("--plugin", rest.split(",")))


def _value(option: str, each: str, text: str) -> Value:
    if "," in text.strip("[]()"):
        items = [_single(item.strip()) for item in text.strip("[]()").split(",") if item.strip()]
        if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
            raise InputError(f"{option} {each!r}: a list holds numbers alone, such as 0.5,0.8")
        return tuple(items)  # type: ignore[arg-type]  # numbers, as just checked
    return _single(text)


def _single(text: str) -> Value:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) or value is None else text
