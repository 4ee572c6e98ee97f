"""Which of several named arrays plays which role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tamis.data.columns import (
    FEATURE_NAMES,
    GROUP_NAMES,
    ID_NAMES,
    LABEL_NAMES,
    PROBS_NAMES,
    SPLIT_NAMES,
    TEXT_NAMES,
    Columns,
    NameTiers,
    check_given,
    find_name,
)
from tamis.errors import InputError

_SPLITS = ("train", "val", "valid", "validation", "dev", "test")
_LABELS: NameTiers = (*LABEL_NAMES[:2], ("y", "label_codes"))
_FEATURES: NameTiers = (*FEATURE_NAMES, ("data", "feats"))
_PROBS: NameTiers = ((*PROBS_NAMES[0], "proba", "predict_proba"),)
_IMAGES: NameTiers = (("images", "image", "imgs", "img"),)
_IDS: NameTiers = (("ids", *ID_NAMES[0]), *ID_NAMES[1:])
_CLASSES: NameTiers = (("class_names", "label_names", "classes", "target_names"),)


@dataclass(frozen=True)
class ArrayRoles:
    """Role -> array name, once for each part that is joined below the other.

    Attributes
    ----------
    parts : tuple of mapping
        Roles are label, features, image, text, pred_probs, id, split, group.
    split_names : tuple of str
        One for each part where the parts are splits, else empty.
    class_names : str or None
        The array that holds the class names.
    """

    parts: tuple[dict[str, str], ...]
    split_names: tuple[str, ...] = ()
    class_names: str | None = None


def find_array_roles(shapes: Mapping[str, tuple[int, ...]], columns: Columns, source: str) -> ArrayRoles:
    """Return the roles of arrays, by the names the caller gave or by usual names.

    Parameters
    ----------
    shapes : mapping of array name to shape
    columns : Columns
    source : str
        For messages.

    Raises
    ------
    InputError
        If a given name does not exist, or labels or something to audit are not found.
    """
    given = columns.given()
    names = list(shapes)
    check_given(names, given)
    if any(len(wanted) > 1 for wanted in given.values()):
        raise InputError("features= names several arrays; arrays are given one for each role")
    class_names = find_name([name for name in names if len(shapes[name]) == 1], _CLASSES, "class_names")
    taken = {name for wanted in given.values() for name in wanted} | {class_names}
    free = [name for name in names if name not in taken]
    chosen = {role: wanted[0] for role, wanted in given.items()}
    if not given:
        parts = _split_parts(shapes)
        if parts:
            return ArrayRoles(tuple(parts.values()), tuple(parts), class_names)
    tiers = {
        "label": _LABELS,
        "features": _FEATURES,
        "image": _IMAGES,
        "text": TEXT_NAMES,
        "pred_probs": _PROBS,
    }
    tiers |= {"id": _IDS, "split": SPLIT_NAMES, "group": GROUP_NAMES}
    for role, usual in tiers.items():
        found = None if role in chosen else find_name(free, usual, role)
        if found is not None:
            chosen[role] = found
    _move_images(chosen, shapes)
    shown = ", ".join(f"{name!r} {shape}" for name, shape in shapes.items())
    if "label" not in chosen:
        raise InputError(
            f"no labels in {source}: found the arrays {shown}; pass label= with one of these names"
        )
    if not {"features", "image", "text", "pred_probs"} & set(chosen):
        raise InputError(
            f"{source} has labels ({chosen['label']!r}) but nothing to audit them with: found the arrays"
            f" {shown}; pass features= (or image=, text=) with one of these names"
        )
    return ArrayRoles((chosen,), (), class_names)


def _move_images(chosen: dict[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    # (n, height, width[, channels]) under a name of features is an array of images.
    name = chosen.get("features")
    if name is not None and len(shapes[name]) in (3, 4) and "image" not in chosen:
        chosen["image"] = chosen.pop("features")


def _split_parts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, str]]:
    """Return the roles of x_train/y_train, X_test/y_test, or train/train_label, by split."""
    lower = {name.lower(): name for name in shapes}
    parts: dict[str, dict[str, str]] = {}
    for split in _SPLITS:
        data = next(
            (lower[n] for n in (f"x_{split}", f"{split}_x", f"{split}_features", split) if n in lower), None
        )
        label = next(
            (
                lower[n]
                for n in (f"y_{split}", f"{split}_y", f"{split}_labels", f"{split}_label")
                if n in lower
            ),
            None,
        )
        if data is not None and label is not None:
            parts[split] = {"label": label, "features": data}
            _move_images(parts[split], shapes)
    return parts
