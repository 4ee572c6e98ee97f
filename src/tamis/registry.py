"""Registries: things that announce themselves in their own file and are found by a scan.

A registry belongs to one package. A decorator beside each class or function names it and states its
facts; the first question to the registry imports every public module of the package, so no central list
is ever edited. Other distributions take part through an entry point group of the same name.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Generic, NamedTuple, TypeVar, cast

from tamis.errors import InputError, TamisWarning
from tamis.types import Task

T = TypeVar("T")
C = TypeVar("C")


@dataclass(frozen=True)
class Facts:
    """What is known about a registered thing without running it.

    Attributes
    ----------
    title : str
        A few words for tables and menus.
    inputs : tuple of str
        What it needs beside the given labels, e.g. ``("pred_probs",)`` or ``("features",)``.
    task : {"classification", "multilabel", "retrieval", "crowd"}
    issue : str
        Issue type that it gives evidence for.
    year : int or None
        Year of publication, None where there is no paper.
    paper : str
        Authors, title and place, empty where there is no paper.
    """

    title: str
    inputs: tuple[str, ...]
    task: Task = "classification"
    issue: str = "label"
    year: int | None = None
    paper: str = ""


class Entry(NamedTuple, Generic[T]):
    """A registered thing: its name, its facts and the thing itself."""

    name: str
    facts: Facts
    target: T


class Registry(Generic[T]):
    """Named things of one kind, found by scanning a package and an entry point group.

    Parameters
    ----------
    kind : str
        Singular noun for messages, e.g. ``"detector"``.
    package : str
        Package whose public modules are imported by the first question.
    group : str, optional
        Entry point group for other distributions; ``package`` where it is not given. An entry point names
        a module (or anything in it): importing it must run the decorator.

    Examples
    --------
    >>> colours = Registry[type]("colour", package="tamis.issues")
    >>> @colours.register("red", Facts(title="Red", inputs=()))
    ... class Red: ...
    >>> colours.get("red") is Red, colours.names()
    (True, ('red',))
    """

    def __init__(self, kind: str, *, package: str, group: str | None = None) -> None:
        self.kind = kind
        self.package = package
        self.group = package if group is None else group
        self._entries: dict[str, Entry[T]] = {}
        self._is_scanned = False

    def register(self, name: str, facts: Facts) -> Callable[[C], C]:
        """Return a decorator that registers a class or function under ``name``.

        Raises
        ------
        InputError
            The name is already taken by something defined elsewhere, or is not a lower-case identifier.
        """
        if not name.isidentifier() or name != name.lower():
            raise InputError(
                f"{self.kind} name {name!r} must be a lower-case identifier such as 'neighbor_vote'"
            )

        def decorate(target: C) -> C:
            known = self._entries.get(name)
            if known is not None and _origin(known.target) != _origin(target):
                raise InputError(
                    f"{self.kind} name {name!r} is already taken by {_origin(known.target)}; "
                    f"register {_origin(target)} under another name"
                )
            self._entries[name] = Entry(name, facts, cast(T, target))
            return target

        return decorate

    def entry(self, name: str) -> Entry[T]:
        """Return the entry called ``name``.

        Raises
        ------
        InputError
            Nothing has that name; the message lists near names and all legal ones.
        """
        self._scan()
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise InputError(
                f"unknown {self.kind} {name!r}; {hint}known: {', '.join(self.names()) or 'none'}"
            )
        return self._entries[name]

    def get(self, name: str) -> T:
        """Return the thing registered as ``name``; see `entry` for what is raised."""
        return self.entry(name).target

    def facts(self, name: str) -> Facts:
        """Return the facts of ``name``; see `entry` for what is raised."""
        return self.entry(name).facts

    def names(self) -> tuple[str, ...]:
        """Return every registered name, sorted."""
        self._scan()
        return tuple(sorted(self._entries))

    def __iter__(self) -> Iterator[Entry[T]]:
        """Iterate over the entries in the order of their names."""
        return iter([self._entries[name] for name in self.names()])

    def __contains__(self, name: object) -> bool:
        """Return whether something is registered as ``name``."""
        self._scan()
        return name in self._entries

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.names())

    def _scan(self) -> None:
        if self._is_scanned:
            return
        # Set first: a module of the package may itself ask the registry while it is imported.
        self._is_scanned = True
        try:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self.package}.{module.name}")
        except BaseException:
            self._is_scanned = False
            raise
        self._load_entry_points()

    def _load_entry_points(self) -> None:
        for point in sorted(
            metadata.entry_points(group=self.group), key=lambda point: (point.name, point.value)
        ):
            try:
                point.load()
            # A broken plug-in of someone else must not take the built-in ones with it.
            except Exception as error:
                message = f"{self.kind} plug-in {point.name!r} ({point.value}) cannot be loaded: {error}"
                warnings.warn(message, TamisWarning, stacklevel=2)


def _origin(target: object) -> str:
    module = getattr(target, "__module__", "?")
    return f"{module}.{getattr(target, '__qualname__', repr(target))}"
