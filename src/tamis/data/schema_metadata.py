"""Class names that travel in the metadata of an Arrow schema."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from tamis.data.dataset import LabelName
from tamis.data.labels import check_class_names
from tamis.errors import InputError


def label_names_of_schema(schema: pa.Schema) -> tuple[dict[str, tuple[LabelName, ...]], dict[str, int]]:
    """Return class names by column, and the code that means unlabelled by column.

    Two conventions are known: a JSON list under ``class_names`` (for any column, name ``""``), and the
    features that the Hugging Face ``datasets`` library writes, where -1 means unlabelled. Anything else is
    ignored.
    """
    metadata = schema.metadata or {}
    names: dict[str, tuple[LabelName, ...]] = {}
    listed = _json(metadata.get(b"class_names"))
    if isinstance(listed, list):
        try:
            names[""] = check_class_names(listed)
        except InputError as error:
            raise InputError(f"metadata of the table: {error}") from error
    described = _json(metadata.get(b"huggingface"))
    info = described.get("info") if isinstance(described, dict) else None
    found = class_label_names(info.get("features") if isinstance(info, dict) else None)
    return names | found, dict.fromkeys(found, -1)


def class_label_names(features: object) -> dict[str, tuple[LabelName, ...]]:
    """Return column -> names for the class-label columns of a Hugging Face feature description."""
    if not isinstance(features, Mapping):
        return {}
    return {
        str(column): check_class_names(description["names"])
        for column, description in features.items()
        if isinstance(description, Mapping)
        and description.get("_type") == "ClassLabel"
        and isinstance(description.get("names"), list)
    }


def _json(content: bytes | None) -> object:
    try:
        value: object = json.loads(content or b"null")
    except (ValueError, RecursionError):
        return None
    return value
