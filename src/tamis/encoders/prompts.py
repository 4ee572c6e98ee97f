"""Prompts of classes for a vision-language model: templates, phrases from a file, their embeddings."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from tamis.errors import InputError
from tamis.types import FloatArray

TEMPLATE = "a photo of a {name} {phrase}."
_EXAMPLE = '{"cat": ["which has whiskers"], "dog": ["which barks"]}'


@runtime_checkable
class EncodesTexts(Protocol):
    """An encoder of images that embeds texts into the same space, as vision-language models do."""

    @property
    def name(self) -> str:
        """How reports and messages call it."""

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return (len(texts), d) float32."""


@dataclass(frozen=True)
class Prompts:
    """What is said of each class.

    Attributes
    ----------
    phrases : mapping of class name to tuple of str
        Descriptions such as "which has whiskers"; a class without any gets the template without a phrase.
    templates : tuple of str
        With ``{name}`` and, where phrases go, ``{phrase}``; every template meets every phrase.

    Examples
    --------
    >>> Prompts({"cat": ("which has whiskers",)}).of(["cat", "Border_Collie, sheepdog"])
    [['a photo of a cat which has whiskers.'], ['a photo of a border collie.']]
    """

    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    templates: tuple[str, ...] = (TEMPLATE,)

    def __post_init__(self) -> None:
        """Refuse templates that cannot be filled."""
        if not self.templates:
            raise InputError('templates is empty; give at least one, such as "a photo of a {name}"')
        for template in self.templates:
            if "{name}" not in template or "{" in _filled(template, "", ""):
                raise InputError(
                    f"template {template!r} needs {{name}} and may have {{phrase}}, nothing else in braces"
                )

    def of(self, class_names: Sequence[str | int]) -> list[list[str]]:
        """Return the prompts of each class, at least one a class, without repeats.

        A name is written in lower case, underscores as spaces; of several, parted by commas, the first.

        Raises
        ------
        InputError
            There are phrases for something that is no class.
        """
        known = {str(name) for name in class_names}
        for name in self.phrases:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                some = ", ".join(map(repr, sorted(known)[:10]))
                raise InputError(f"prompts describe {name!r}, which is no class; {hint}classes: {some}")
        return [
            list(
                dict.fromkeys(
                    _filled(template, _spoken(str(name)), phrase)
                    for phrase in self.phrases.get(str(name)) or ("",)
                    for template in self.templates
                )
            )
            for name in class_names
        ]


def read_prompts(path: Path) -> Prompts:
    r"""Read phrases of classes from a ``.json``, ``.toml`` or text file.

    JSON and TOML map a class to its phrases, or hold ``classes`` (such a mapping) and ``templates`` (a list).
    Any other file is text: one phrase a line, ``class: phrase``; empty lines and those with ``#`` in front
    are skipped.

    Raises
    ------
    InputError
        The file cannot be read or says something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "prompts.txt"
    >>> _ = path.write_text("cat: which has whiskers\ncat: which purrs\n")
    >>> read_prompts(path).of(["cat"])
    [['a photo of a cat which has whiskers.', 'a photo of a cat which purrs.']]
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            found: object = json.loads(text)
        elif path.suffix.lower() == ".toml":
            found = tomllib.loads(text)
        else:
            return Prompts(_phrases_of_lines(text, path))
    except (OSError, ValueError) as error:  # both parsers and the decoder raise ValueErrors
        if isinstance(error, InputError):
            raise
        raise InputError(f"prompts file {path} cannot be read ({error}); write it like {_EXAMPLE}") from error
    templates: object = [TEMPLATE]
    if isinstance(found, dict) and isinstance(found.get("classes"), dict) and found.keys() <= _PARTS:
        templates, found = found.get("templates", templates), found["classes"]
    if not _is_texts(templates):
        raise InputError(f"templates in {path} are {templates!r}; expected a list of texts")
    return Prompts(_phrases_of_mapping(found, path), tuple(templates))  # type: ignore[arg-type]  # checked above


_PARTS = {"classes", "templates"}


def encode_prompts(encoder: EncodesTexts, prompts: Sequence[Sequence[str]]) -> list[FloatArray]:
    """Return one (m_c, d) array of embeddings a class; all prompts are encoded in one go.

    Raises
    ------
    InputError
        The encoder has no text side.
    """
    flat = [prompt for each in prompts for prompt in each]
    embedded = encoder.encode_texts(flat)
    edges = np.cumsum([len(each) for each in prompts])[:-1]
    return np.split(embedded, edges)


def _filled(template: str, name: str, phrase: str) -> str:
    text = " ".join(template.replace("{name}", name).replace("{phrase}", phrase).split())
    # Where a phrase is left out no space stays before the full stop.
    return text.replace(" .", ".").replace(" ,", ",")


def _spoken(name: str) -> str:
    return name.split(",")[0].replace("_", " ").strip().lower()


def _phrases_of_lines(text: str, path: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, phrase = (part.strip() for part in line.partition(":"))
        if not (name and colon and phrase):
            raise InputError(f"{path} line {number} is {line.strip()!r}; write 'class: phrase'")
        found[name] = (*found.get(name, ()), phrase)
    return found


def _phrases_of_mapping(found: object, path: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(found, dict) or not all(_is_texts(phrases) for phrases in found.values()):
        raise InputError(f"{path} does not map classes to lists of phrases; write it like {_EXAMPLE}")
    return {str(name): tuple(phrases) for name, phrases in found.items()}


def _is_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
