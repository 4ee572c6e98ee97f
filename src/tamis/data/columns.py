"""Which column of a table plays which role: named by the caller, or found by its usual names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

import pyarrow as pa

from tamis.data.frames import Frame
from tamis.errors import InputError

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "bmp",
        "dib",
        "gif",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
    )
)

NameTiers: TypeAlias = tuple[tuple[str, ...], ...]

# Tiers: names of an earlier tier win over a later one; two names of one tier are ambiguous.
# An exported copy holds the label and, beside it, the given label.
LABEL_NAMES: NameTiers = (("label", "labels", "class", "target", "category"), ("given_label",), ("y",))
ID_NAMES: NameTiers = (("id", "uid", "key"), ("sample_id",))
SPLIT_NAMES: NameTiers = (("split", "splits"), ("fold", "subset"))
GROUP_NAMES: NameTiers = (("group", "groups", "group_id"),)
TEXT_NAMES: NameTiers = (("text", "texts", "sentence", "content", "body", "document"),)
IMAGE_NAMES: NameTiers = (("image", "images", "img", "image_path", "img_path", "image_file"),)
PATH_NAMES: NameTiers = (("path", "file", "file_name", "filename", "filepath", "file_path"),)
FEATURE_NAMES: NameTiers = (("features", "feature", "embedding", "embeddings"), ("vector", "x"))
PROBS_NAMES: NameTiers = (("pred_probs", "probs", "probabilities"),)
# Numbers of an exported copy that say something about the label: never features of the sample.
VERDICT_NAMES = frozenset({"given_label", "suggested_label", "label_score", "rank"})


@dataclass(frozen=True)
class Columns:
    """Column names the caller gave; None = find by usual names."""

    label: str | None = None
    image: str | None = None
    text: str | None = None
    features: str | Sequence[str] | None = None
    id: str | None = None
    split: str | None = None
    group: str | None = None

    def given(self) -> dict[str, tuple[str, ...]]:
        """Return role -> names, for the roles that were given."""
        values = {"label": self.label, "image": self.image, "text": self.text, "features": self.features}
        values |= {"id": self.id, "split": self.split, "group": self.group}
        for role, value in values.items():
            names = (
                [] if value is None else [value] if isinstance(value, str) or role != "features" else value
            )
            if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
                raise InputError(f"{role}={value!r} is no column name; pass text, such as {role}='name'")
        return {
            role: (value,) if isinstance(value, str) else tuple(value)
            for role, value in values.items()
            if value is not None
        }


@dataclass(frozen=True)
class Roles:
    """The columns of a table by role; None or empty where a role is not filled."""

    label: str
    image: str | None
    text: str | None
    features: tuple[str, ...]
    pred_probs: str | None
    id: str | None
    split: str | None
    group: str | None

    @property
    def used(self) -> set[str]:
        """Names of all columns with a role."""
        single = {self.label, self.image, self.text, self.pred_probs, self.id, self.split, self.group}
        return {name for name in single | set(self.features) if name is not None}


def find_name(names: Sequence[str], tiers: NameTiers, role: str) -> str | None:
    """Return the one name that is usual for a role, None if there is none; upper and lower case are equal.

    Raises
    ------
    InputError
        If several names are equally usual.

    Examples
    --------
    >>> find_name(["Target", "age"], LABEL_NAMES, "label")
    'Target'
    """
    for tier in tiers:
        found = [name for name in names if name.lower() in tier]
        if len(found) > 1:
            raise InputError(f"{role}= could be any of the columns {found}; pass {role}= with one of them")
        if found:
            return found[0]
    return None


def check_given(names: Sequence[str], given: dict[str, tuple[str, ...]]) -> None:
    """Raise `InputError` if a column that was asked for does not exist or was asked for twice."""
    taken: dict[str, str] = {}
    for role, wanted in given.items():
        for name in wanted:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(f"{role}={name!r} is not among the columns {_shown(names)}{hint}")
            if name in taken:
                raise InputError(f"column {name!r} is given as {taken[name]}= and as {role}=; one role each")
            taken[name] = role


def find_roles(frame: Frame, columns: Columns) -> Roles:
    """Return which column plays which role.

    Raises
    ------
    InputError
        If a given column does not exist, a role is ambiguous, there is no label, or there is nothing that
        could be audited; the message lists the columns.
    """
    given = columns.given()
    check_given(frame.names, given)
    free = [name for name in frame.names if name not in {name for names in given.values() for name in names}]
    label = columns.label or find_name(free, LABEL_NAMES, "label")
    if label is None:
        raise InputError(
            f"no label column in {frame.source}: found {_shown(frame.names)};"
            f" pass label= with one of them, or call it {LABEL_NAMES[0][0]!r}"
        )
    image = columns.image or _find_image(frame, free)
    text = columns.text or find_name([n for n in free if _is_text(frame, n)], TEXT_NAMES, "text")
    listed = [name for name in free if _is_list(frame, name)]
    pred_probs = find_name(listed, PROBS_NAMES, "pred_probs")
    found = find_name(listed, FEATURE_NAMES, "features")
    features = given.get("features") or ((found,) if found else ())
    roles = Roles(
        label,
        image,
        text,
        features,
        pred_probs,
        columns.id or find_name(free, ID_NAMES, "id"),
        columns.split or find_name(free, SPLIT_NAMES, "split"),
        columns.group or find_name(free, GROUP_NAMES, "group"),
    )
    if image is None and text is None and not features and pred_probs is None:
        roles = replace(roles, features=_numeric_features(frame, roles))
    return roles


def _find_image(frame: Frame, free: Sequence[str]) -> str | None:
    in_bytes = [name for name in free if name in frame.lazy or _is_binary(frame, name)]
    found = find_name(in_bytes, IMAGE_NAMES, "image") or find_name(in_bytes, PATH_NAMES, "image")
    if found is not None:
        return found
    if len(in_bytes) == 1:
        return in_bytes[0]
    paths = [name for name in free if _is_text(frame, name)]
    return find_name(paths, IMAGE_NAMES, "image") or find_name(
        [name for name in paths if _names_images(frame.columns[name])], PATH_NAMES, "image"
    )


def _names_images(column: pa.ChunkedArray) -> bool:
    values = [str(value) for value in column.slice(0, 1000).to_pylist() if value]
    hits = sum(PurePosixPath(value).suffix.lower() in IMAGE_SUFFIXES for value in values)
    return bool(values) and 2 * hits > len(values)


def _numeric_features(frame: Frame, roles: Roles) -> tuple[str, ...]:
    """Return the columns of numbers of a plain table; refuse to guess where it is not one."""
    rest = [name for name in frame.columns if name not in roles.used]
    if "label_score" in rest:
        rest = [name for name in rest if name not in VERDICT_NAMES]
    whole = [name for name in rest if pa.types.is_integer(frame.typed(name).type)]
    broken = [name for name in rest if pa.types.is_floating(frame.typed(name).type)]
    if not broken:
        raise InputError(
            f"{frame.source} has the label column {roles.label!r} but no image, text or feature column"
            f" was recognised among {_shown(frame.names)}; pass image=, text= or features= with column names"
        )
    if whole:
        raise InputError(
            f"{frame.source} holds the numbers {_shown(broken)} and the integers {_shown(whole)}, which"
            " may be features or something else; pass features=[...] with the columns to use"
        )
    frame.notes.append(f"features are the {len(broken)} columns of numbers {_shown(broken)}")
    return tuple(broken)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:30])) + (f", ... ({len(names)} in all)" if len(names) > 30 else "")


def _is_text(frame: Frame, name: str) -> bool:
    if name not in frame.columns:
        return False
    kind = frame.columns[name].type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(frame: Frame, name: str) -> bool:
    return name in frame.columns and is_image_type(frame.columns[name].type)


def is_image_type(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds image bytes: binary, or a struct of bytes and path."""
    if pa.types.is_struct(kind):
        return {kind.field(at).name for at in range(kind.num_fields)} == {"bytes", "path"}
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(is_binary or pa.types.is_fixed_size_binary(kind))


def _is_list(frame: Frame, name: str) -> bool:
    if name not in frame.columns:
        return False
    kind = frame.columns[name].type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))
