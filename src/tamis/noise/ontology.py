"""An ontology of the classes: every class with its path from the root."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import numpy as np

from tamis.errors import InputError
from tamis.types import IntArray

Node: TypeAlias = str | int
Nested: TypeAlias = "Mapping[Node, Nested | None] | Sequence[Node]"
Ontology: TypeAlias = (
    "Mapping[Node, Node | None] | Mapping[Node, Nested | None] | Sequence[Sequence[Node]] | IntArray"
)
"""Child to parent, nested mappings, one path of ancestors a class, or an array of parent numbers."""

Path: TypeAlias = tuple[Node, ...]

_FORMS = (
    "a mapping of child to parent, nested mappings with the classes innermost, one list of ancestors for "
    "every class (root first), or an integer array of parents whose first entries are the classes"
)


class ClassTree:
    """The classes as leaves of a tree; nodes that are no class only hold them together.

    Parameters
    ----------
    ontology : mapping or sequence
        ``{child: parent}`` (roots have no entry, or the parent None); nested mappings such as ``{"pet":
        {"dog": {}, "cat": {}}, "vehicle": ["car", "truck"]}``; a list of ancestor paths, one a class, root
        first; an integer array of parents, -1 at a root, whose first K entries are the classes.
    class_names : sequence of str or int, optional
        The node of every class, in the order of the codes; by default the codes are the nodes' own names,
        and every node without a child is a class.

    Attributes
    ----------
    paths : list of tuple
        Of every class the names from the root to the class itself.

    Raises
    ------
    InputError
        If a class is missing or stands in two places, or a node is its own ancestor.

    Examples
    --------
    >>> tree = ClassTree({"pet": ["dog", "cat"], "car": {}}, ["cat", "car", "dog"])
    >>> tree.paths[0], tree.under(("pet",)).tolist()
    (('pet', 'cat'), [0, 2])
    """

    def __init__(self, ontology: Ontology, class_names: Sequence[Node] | None = None) -> None:
        self.paths = _class_paths(ontology, class_names)
        members: defaultdict[Path, list[int]] = defaultdict(list)
        for code, path in enumerate(self.paths):
            for depth in range(len(path) + 1):
                members[path[:depth]].append(code)
        self._members = {prefix: np.array(codes) for prefix, codes in members.items()}

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.paths)

    def under(self, prefix: Path) -> IntArray:
        """Return the codes of the classes whose path begins with ``prefix``; ``()`` is the root of all."""
        return self._members[prefix]

    def ancestor(self, code: int, levels: int = 1) -> Path:
        """Return the lowest node at least ``levels`` above a class that holds another class too."""
        path = self.paths[code]
        for depth in range(max(0, len(path) - levels), 0, -1):
            if len(self.under(path[:depth])) > 1:
                return path[:depth]
        return ()

    def distances(self, code: int, others: IntArray) -> IntArray:
        """Return the number of edges between a class and each of the others."""
        path = self.paths[code]
        found = []
        for other in others:
            far = self.paths[other]
            shared = 0
            while shared < min(len(path), len(far)) and path[shared] == far[shared]:
                shared += 1
            found.append(len(path) + len(far) - 2 * shared)
        return np.array(found, dtype=np.int64)


def _class_paths(ontology: Ontology, class_names: Sequence[Node] | None) -> list[Path]:
    names = None if class_names is None else list(class_names)
    if names is not None and len(set(names)) < len(names):
        raise InputError("class_names holds a name twice; every class needs its own")
    if isinstance(ontology, Mapping):
        is_nested = any(isinstance(value, Mapping | list | tuple) for value in ontology.values())
        # The check above tells the two kinds of mapping apart.
        if is_nested:
            return _select(_nested_paths(cast("Mapping[Node, Nested | None]", ontology)), names)
        return _select(_parent_paths(cast("Mapping[Node, Node | None]", ontology)), names)
    if isinstance(ontology, str) or not isinstance(ontology, Sequence | np.ndarray) or not len(ontology):
        raise InputError(f"ontology must be {_FORMS}; got {type(ontology).__name__}")
    if all(isinstance(parent, int | np.integer) for parent in ontology):
        numbers = np.asarray(ontology).tolist()
        parents: dict[Node, Node | None] = {
            node: None if parent < 0 else parent for node, parent in enumerate(numbers)
        }
        return _select(_parent_paths(parents), list(range(len(names))) if names else None)
    if any(isinstance(path, str) or not isinstance(path, Sequence) for path in ontology):
        raise InputError(f"ontology must be {_FORMS}")
    codes: list[Node] = list(range(len(ontology)))
    if names is not None and len(names) != len(ontology):
        raise InputError(
            f"ontology has {len(ontology)} paths and class_names {len(names)} names; give one each"
        )
    return [(*path, name) for path, name in zip(ontology, names or codes, strict=True)]


def _select(paths: Mapping[Node, list[Path]], names: Sequence[Node] | None) -> list[Path]:
    """Return the path of every class out of those of all nodes."""
    if names is None:
        inner = {node for found in paths.values() for path in found for node in path[:-1]}
        names = list(range(len([node for node in paths if node not in inner])))
    missing = [name for name in names if name not in paths]
    if missing:
        raise InputError(
            f"ontology lacks {len(missing)} of {len(names)} classes, first {missing[0]!r}; add them, or give "
            "class_names in the order of the label codes, spelt as in the ontology"
        )
    twice = [name for name in names if len(paths[name]) > 1]
    if twice:
        raise InputError(
            f"class {twice[0]!r} stands in {len(paths[twice[0]])} places of the ontology; keep one"
        )
    return [paths[name][0] for name in names]


def _parent_paths(parents: Mapping[Node, Node | None]) -> dict[Node, list[Path]]:
    """Return the path of every node of a mapping of child to parent."""
    paths: dict[Node, list[Path]] = {}
    for node in {**parents, **{parent: None for parent in parents.values() if parent is not None}}:
        path: list[Node] = []
        above: Node | None = node
        while above is not None:
            if above in path:
                raise InputError(f"ontology: {above!r} is its own ancestor; a tree has no circles")
            path.append(above)
            above = parents.get(above)
        paths[node] = [tuple(reversed(path))]
    return paths


def _nested_paths(nested: Mapping[Node, Nested | None]) -> dict[Node, list[Path]]:
    """Return the paths of every name in nested mappings and lists."""
    paths: defaultdict[Node, list[Path]] = defaultdict(list)
    waiting: list[tuple[Path, Nested | None]] = [((), nested)]
    while waiting:
        prefix, children = waiting.pop()
        if children is None:
            continue
        if not isinstance(children, Mapping | list | tuple):
            raise InputError(
                f"ontology: below {'/'.join(map(str, prefix))} stands {children!r}; nested mappings hold "
                "mappings, lists of classes or None"
            )
        for name in children:
            if not isinstance(name, str | int):
                raise InputError(f"ontology: {name!r} is no name; names are text or whole numbers")
            paths[name].append((*prefix, name))
            if isinstance(children, Mapping):
                waiting.append(((*prefix, name), children[name]))
    return dict(paths)
