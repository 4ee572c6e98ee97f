"""``tamis methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.cli.options import JsonOption

if TYPE_CHECKING:
    from tamis.cli.screen import Json
    from tamis.registry import Registry

EXAMPLES = """\b
Examples:
  tamis methods
  tamis methods --json
"""


def run(as_json: JsonOption = False) -> None:
    """List the methods that `tamis train` knows, the plug-ins and the backbones.

    With --json also the hyper-parameters of each and their defaults.
    """
    from tamis.backbones import BACKBONES
    from tamis.cli.screen import Column, Screen
    from tamis.methods import METHODS, PLUGINS

    screen = Screen(as_json=as_json)
    kinds: list[tuple[str, Registry[object], str]] = [
        ("Methods", METHODS, "--method"),  # type: ignore[list-item]  # only read; Registry is invariant
        ("Plug-ins", PLUGINS, "--plugin"),  # type: ignore[list-item]
        ("Backbones", BACKBONES, "--backbone"),  # type: ignore[list-item]
    ]
    found: dict[str, Json] = {}
    for heading, registry, option in kinds:
        listed = _listed(registry)
        found[heading.lower().replace("-", "")] = listed
        if not listed:
            continue
        screen.line(f"{heading} ({option} NAME)")
        columns = [Column(name) for name in ("name", "what", "task", "needs", "year", "paper")]
        keys = ("name", "title", "task", "needs", "year", "paper")
        screen.table(columns, [["" if row[key] is None else str(row[key]) for key in keys] for row in listed])
        screen.line()
    follow = "tamis train DATA --method elr"
    screen.line(f"Next    {follow}")
    screen.result({"command": "methods", "status": "finished", **found, "next": follow})


def _listed(registry: Registry[object]) -> list[dict[str, Json]]:
    return [
        {
            "name": entry.name,
            "title": entry.facts.title,
            "task": entry.facts.task,
            "needs": ", ".join("images" if need == "image" else need for need in entry.facts.inputs),
            "year": entry.facts.year,
            "paper": entry.facts.paper,
            "params": _params(entry.target),
        }
        for entry in registry
    ]


def _params(target: object) -> dict[str, Json]:
    from tamis.training.settings import options_of

    found: dict[str, Json] = {}
    for name, parameter in options_of(target).items():  # type: ignore[arg-type]  # class or function alike
        default = parameter.default
        legal = isinstance(default, bool | int | float | str) or default is None
        found[name] = list(default) if isinstance(default, tuple) else default if legal else None
    return found
