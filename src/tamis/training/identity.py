"""What makes a run what it is: a hash that a checkpoint and a folder are known by."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from tamis.auditing import Audit
from tamis.data import Dataset
from tamis.methods import Plugin


def run_key(*parts: object) -> str:
    """Return a hash of JSON-ready values, 32 hex digits.

    Examples
    --------
    >>> run_key("a", {"lr": 0.1}) == run_key("a", {"lr": 0.1})
    True
    >>> run_key("a", "b") == run_key("ab", "")
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def digest_of(value: object) -> str | bool | None:
    """Return a few characters that tell one selection, audit, file of prompts or test set from another.

    Words, True, False and None stand for themselves.

    Examples
    --------
    >>> digest_of("audit"), digest_of(None), digest_of(np.array([True, False]))
    ('audit', None, 'bool (2,) 0bf83934')
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Audit):
        scores = value.issues.column("label_score").to_numpy(zero_copy_only=False)
        return "audit " + _short(np.ascontiguousarray(scores, dtype=np.float64).tobytes())
    if isinstance(value, Dataset):
        return f"{len(value)} rows {value.fingerprint()[:8]}"
    if isinstance(value, str | os.PathLike):
        return _of_path(os.fspath(value))
    if isinstance(value, tuple):
        return ", ".join(str(digest_of(each)) for each in value)
    try:
        array = np.ascontiguousarray(np.asarray(value))
    except ValueError:
        return repr(value)
    if array.dtype.hasobject:
        return repr(value)
    return f"{array.dtype} {array.shape} {_short(array.tobytes())}"


def described_plugin(plugin: Plugin) -> dict[str, object]:
    """Return the class of a plug-in and its settings, ready for JSON."""
    simple = {
        name: value
        for name, value in vars(plugin).items()
        if not name.startswith("_")
        and name != "training"
        and isinstance(value, str | int | float | bool | tuple)
    }
    return {"plugin": type(plugin).__name__, **simple}


def _of_path(text: str | bytes) -> str:
    name = os.fsdecode(text)
    path = Path(name)
    try:
        file = path / "issues.parquet" if path.is_dir() else path
        if file.is_file():
            return f"{path.name} {_short(file.read_bytes())}"
    except (OSError, ValueError):
        # A name too long for a path is no path.
        pass
    return name


def _short(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=4).hexdigest()
