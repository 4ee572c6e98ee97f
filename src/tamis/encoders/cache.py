"""Features on disk: shards while they are computed, one memory-mapped file when all are done.

A shard is two files: ``000012.npy`` with the numbers, then ``000012.json`` with their checksum. Both are
written to a temporary name and renamed, the second only after the first, so after a kill at any moment a
shard either counts as finished or does not exist. Several runs may fill the same folder: equal keys mean
equal features, so it does not matter whose shard stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tamis.errors import RunError
from tamis.runs import atomic_path, read_json, write_json
from tamis.types import FloatArray, IntArray

_FORMAT = 1
_BLOCK_ROWS = 4096
# A temporary file this old belongs to a run that was killed.
_ABANDONED_SECONDS = 3600.0


def default_cache_folder() -> Path:
    """Return the folder of cached features of this user.

    ``$TAMIS_CACHE/features``, else ``$XDG_CACHE_HOME/tamis/features``, else ``~/.cache/tamis/features``.

    Examples
    --------
    >>> default_cache_folder().name
    'features'
    """
    if chosen := os.environ.get("TAMIS_CACHE"):
        return Path(chosen) / "features"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tamis" / "features"


@dataclass(frozen=True)
class Shard:
    """Encoded rows in a row.

    Attributes
    ----------
    features : (n, d) float32
        Zeros where a row could not be read.
    unreadable : mapping of position in the shard to reason
    n_cut : int
        Samples that were too long to be read to their end.
    """

    features: FloatArray
    unreadable: Mapping[int, str] = field(default_factory=dict)
    n_cut: int = 0


@dataclass(frozen=True)
class Finished:
    """All features of one key: (n, d) float32 memory-mapped, unreadable rows, number of samples cut."""

    features: FloatArray
    unreadable: Mapping[int, str]
    n_cut: int


class FeatureCache:
    """The folder of one key.

    Parameters
    ----------
    folder : Path
        Belongs to one key; created when the first shard is saved.
    rows : (m,) int64
        Row of the result at each encoded position; of several rows with one content there is one.
    same_as : (n,) int64
        For each row of the result the position (0..m-1) that holds its features, -1 for zeros.
    shard_rows : int
        Positions per shard.
    """

    def __init__(self, folder: Path, rows: IntArray, same_as: IntArray, shard_rows: int) -> None:
        self.folder = folder
        self._rows = rows
        self._same_as = same_as
        self._shard_rows = shard_rows

    @property
    def n_shards(self) -> int:
        """How many shards there are in all."""
        return -(-len(self._rows) // self._shard_rows)

    def positions(self, shard: int) -> range:
        """Return the encoded positions of one shard."""
        start = shard * self._shard_rows
        return range(start, min(start + self._shard_rows, len(self._rows)))

    def save_shard(self, shard: int, content: Shard) -> None:
        """Keep a finished shard."""
        features = np.ascontiguousarray(content.features, dtype="<f4")
        with atomic_path(self._numbers(shard)) as temporary:
            np.save(temporary, features, allow_pickle=False)
        state = {
            "format": _FORMAT,
            "checksum": _checksum(features),
            "unreadable": {str(row): reason for row, reason in content.unreadable.items()},
            "n_cut": content.n_cut,
        }
        write_json(self._numbers(shard).with_suffix(".json"), state)

    def load_shard(self, shard: int) -> Shard | None:
        """Return a shard, or None where it has not finished or is damaged."""
        try:
            state = read_json(self._numbers(shard).with_suffix(".json"))
            features = np.load(self._numbers(shard), allow_pickle=False)
        except (RunError, OSError, ValueError, EOFError):
            return None
        is_whole = features.dtype == np.float32 and features.ndim == 2
        is_whole = is_whole and len(features) == len(self.positions(shard))
        if not is_whole or state.get("format") != _FORMAT or state.get("checksum") != _checksum(features):
            return None
        return Shard(features, _reasons(state), _count(state))

    def load_finished(self) -> Finished | None:
        """Return all features memory-mapped, or None where they are not complete."""
        try:
            state = read_json(self.folder / "features.json")
            features = np.load(self.folder / "features.npy", mmap_mode="r", allow_pickle=False)
        except (RunError, OSError, ValueError, EOFError):
            return None
        if state.get("format") != _FORMAT or features.dtype != np.float32:
            return None
        if features.ndim != 2 or len(features) != len(self._same_as):
            return None
        return Finished(features, _reasons(state), _count(state))

    def assemble(self) -> bool:
        """Join all shards into the final file and remove them; False where one is missing or damaged."""
        first = self.load_shard(0)
        if first is None:
            return False
        shape = (len(self._same_as), first.features.shape[1])
        try:
            with atomic_path(self.folder / "features.npy") as temporary:
                target = np.lib.format.open_memmap(temporary, mode="w+", dtype="<f4", shape=shape)
                reasons, n_cut = self._fill(target)
                target.flush()
                del target
        except _ShardGoneError:
            return False
        unreadable = {str(row): reason for row, reason in sorted(reasons.items())}
        write_json(
            self.folder / "features.json", {"format": _FORMAT, "unreadable": unreadable, "n_cut": n_cut}
        )
        self._remove_shards()
        return True

    def _fill(self, target: FloatArray) -> tuple[dict[int, str], int]:
        reasons: dict[int, str] = {}
        n_cut = 0
        for index in range(self.n_shards):
            shard = self.load_shard(index)
            if shard is None or shard.features.shape[1] != target.shape[1]:
                raise _ShardGoneError
            positions = self.positions(index)
            rows = self._rows[positions.start : positions.stop]
            target[rows] = shard.features
            reasons |= {int(rows[at]): reason for at, reason in shard.unreadable.items()}
            n_cut += shard.n_cut
        repeated = self._repeated()
        for start in range(0, len(repeated), _BLOCK_ROWS):
            part = repeated[start : start + _BLOCK_ROWS]
            sources = self._rows[self._same_as[part]]
            target[part] = target[sources]
            pairs = zip(part.tolist(), sources.tolist(), strict=True)
            reasons |= {row: reasons[source] for row, source in pairs if source in reasons}
        return reasons, n_cut

    def _repeated(self) -> IntArray:
        is_encoded = np.zeros(len(self._same_as), dtype=bool)
        is_encoded[self._rows] = True
        repeated: IntArray = np.flatnonzero(~is_encoded & (self._same_as >= 0))
        return repeated

    def _numbers(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _remove_shards(self) -> None:
        for path in self._shard_files():
            with contextlib.suppress(OSError):
                path.unlink()

    def _shard_files(self) -> Iterator[Path]:
        now = time.time()
        for path in self.folder.iterdir():
            if path.name.startswith(".") and ".tmp" in path.name:
                with contextlib.suppress(OSError):
                    if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                        yield path
            elif path.stem.isdigit():
                yield path


class _ShardGoneError(Exception):
    """A shard vanished or broke between encoding and assembling."""


def _checksum(features: FloatArray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16).hexdigest()


def _reasons(state: Mapping[str, object]) -> dict[int, str]:
    found = state.get("unreadable")
    return {int(row): str(reason) for row, reason in found.items()} if isinstance(found, dict) else {}


def _count(state: Mapping[str, object]) -> int:
    found = state.get("n_cut")
    return found if isinstance(found, int) else 0
