"""`encode`: every sample of a data set through an encoder, into a cache that survives a kill."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamis.data.dataset import Dataset, Input
from tamis.encoders.cache import FeatureCache, Finished, Shard, default_cache_folder
from tamis.encoders.catalog import EncoderChoice, get_encoder
from tamis.encoders.content import content_key, plan_encoding
from tamis.encoders.encoder import CutsLongSamples, Encoder
from tamis.encoders.pieces import PieceEncoder, join_shards
from tamis.encoders.threads import n_workers, one_torch_thread_each
from tamis.errors import InputError, RunError, TamisWarning
from tamis.memory_budget import parse_memory_budget
from tamis.progress import track
from tamis.types import FloatArray

_SHARD_ROWS = 512
_PIECE_ROWS = {"image": 64, "text": 256}
_BLOCK_ROWS = 4096
_ATTEMPTS = 3


@dataclass(frozen=True)
class Encoded:
    """Features of a data set.

    Attributes
    ----------
    features : (n, d) float32
        Memory-mapped; row i belongs to row i of the data set, zeros where it could not be read.
    unreadable : mapping of row to reason
    encoder_name : str
    key : str
        Names encoder and samples: equal keys, equal features.
    notes : tuple of str
        Sentences for the reader of a report.
    images_per_second : float or None
        Samples encoded per second of this call, reading included; None where everything came from the cache.
    """

    features: FloatArray
    unreadable: Mapping[int, str]
    encoder_name: str
    key: str
    notes: tuple[str, ...]
    images_per_second: float | None


def encode(
    dataset: Dataset,
    *,
    encoder: EncoderChoice = None,
    input_name: str | None = None,
    unit_norm: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    memory_budget: str | int | None = "2GiB",
) -> Encoded:
    """Turn every sample of a data set into features, or fetch them from the cache.

    Finished shards of 512 rows are kept, so a killed call continues where it was; the result is bit for bit
    that of an uninterrupted one. Rows with the same content are encoded once. Features of a sample depend
    neither on its neighbours in the batch nor on row order or number of threads.

    Parameters
    ----------
    dataset : Dataset
    encoder : None, str, Encoder or callable
        None takes the built-in encoder of the input's kind; see `get_encoder` for names.
    input_name : str, optional
        Which input of the data set; not needed where there is one, or one called ``"image"``.
    unit_norm : bool
        Scale each row to Euclidean length 1 (rows of zeros stay).
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    cache : Path, optional
        Folder of cached features; see `default_cache_folder`.
    memory_budget : str, int or None
        Bounds the images that are decoded at the same time.

    Returns
    -------
    Encoded

    Raises
    ------
    InputError
        The data set has no such input, the encoder is for another kind of samples, or no sample can be read.
    MissingExtraError
        The encoder needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow as pa
    >>> from tamis.data.inputs import TextInput
    >>> from tamis.encoders import CallableEncoder
    >>> columns = {"id": ["a", "b"], "label": [0, 1], "split": [None, None], "group": [None, None]}
    >>> dataset = Dataset(pa.table(columns), ("x", "y"), inputs={"text": TextInput(["one", "three"])})
    >>> lengths = CallableEncoder(lambda texts: [[len(text)] for text in texts], name="length", kind="text")
    >>> encode(dataset, encoder=lengths).features.tolist()
    [[3.0], [5.0]]
    """
    source = _choose_input(dataset, input_name)
    model = get_encoder(encoder, source.kind, device=device)
    problems = dict(dataset.problems)
    digests = source.digests()
    fingerprint = model.fingerprint()
    key = content_key(fingerprint or secrets.token_hex(16), digests, problems)
    plan = plan_encoding(digests, problems)
    if not len(plan.rows):
        raise _nothing_readable(len(dataset), problems)
    with _cache_folder(cache, is_kept=fingerprint is not None) as folder:
        store = FeatureCache(folder / key, plan.rows, plan.same_as, _SHARD_ROWS)
        work = _Encoding(model, source, store, plan.rows.tolist(), parse_memory_budget(memory_budget))
        if not work.has_readable_rows():
            raise _nothing_readable(len(dataset), problems)
        finished, speed = work.run()
    unreadable = dict(finished.unreadable) | problems
    if len(unreadable) == len(dataset):
        raise _nothing_readable(len(dataset), unreadable)
    features = _unit_rows(finished.features) if unit_norm else finished.features
    notes = model.notes
    if finished.n_cut and isinstance(model, CutsLongSamples):
        notes += (model.describe_cut(finished.n_cut, len(plan.rows)),)
    return Encoded(features, dict(sorted(unreadable.items())), model.name, key, notes, speed)


def _choose_input(dataset: Dataset, name: str | None) -> Input:
    names = sorted(dataset.inputs)
    if name is None and names:
        name = "image" if "image" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise InputError(f"the data set has several inputs {names}; choose one with input_name=")
    if name is None or name not in dataset.inputs:
        raise InputError(
            f"input_name is {name!r} but the data set has the inputs {names or 'none'}; "
            "only images and texts can be encoded, features are used as they are"
        )
    return dataset.inputs[name]


def _nothing_readable(n: int, reasons: Mapping[int, str]) -> InputError:
    first = min(reasons, default=0)
    return InputError(
        f"none of the {n} samples could be read; row {first}: {reasons.get(first, 'no sample')}; "
        "check that the source holds the files it names"
    )


@contextlib.contextmanager
def _cache_folder(cache: Path | None, *, is_kept: bool) -> Iterator[Path]:
    folder = default_cache_folder() if cache is None else Path(cache)
    if is_kept:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if cache is not None:
                raise InputError(f"cache folder {folder} cannot be made ({error}); name another") from error
            is_kept = False
        if is_kept and os.access(folder, os.W_OK):
            yield folder
            return
        warnings.warn(
            f"cache folder {folder} cannot be written: features are not kept for the next run; "
            "set TAMIS_CACHE to a folder of yours",
            TamisWarning,
            stacklevel=4,
        )
    # The mapping of the features outlives the folder; where a system forbids that, the folder is left.
    with tempfile.TemporaryDirectory(prefix="tamis-features-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _unit_rows(features: FloatArray) -> FloatArray:
    # A file without a name: it goes when the array goes.
    with tempfile.TemporaryFile(prefix="tamis-unit-") as handle:
        unit = np.memmap(handle, dtype=np.float32, mode="w+", shape=features.shape)
    for start in range(0, len(features), _BLOCK_ROWS):
        block = features[start : start + _BLOCK_ROWS].astype(np.float64)
        length = np.sqrt((block * block).sum(axis=1, keepdims=True))
        unit[start : start + _BLOCK_ROWS] = block / np.where(length > 0, length, 1.0)
    return unit


class _Encoding:
    """One call: fills the missing shards of a cache and joins them."""

    def __init__(
        self, model: Encoder, source: Input, store: FeatureCache, rows: list[int], budget: int | None
    ) -> None:
        self._source = source
        self._store = store
        self._rows = rows
        self._is_parallel = bool(getattr(model, "is_thread_safe", False))
        self._workers = n_workers() if self._is_parallel else 1
        self._pieces = PieceEncoder(model, source, bytes_at_once=(budget or 2**31) // (8 * self._workers))
        self._piece_rows = _PIECE_ROWS[source.kind]

    def has_readable_rows(self) -> bool:
        """Whether there is anything to encode; may say True too early where the encoder knows its width."""
        return self._store.load_finished() is not None or self._pieces.learn_dim(self._rows)

    def run(self) -> tuple[Finished, float | None]:
        """Return all features and the speed, None where nothing had to be encoded."""
        n_encoded, seconds = 0, 0.0
        for _ in range(_ATTEMPTS):
            finished = self._store.load_finished()
            if finished is not None:
                return finished, n_encoded / seconds if n_encoded else None
            start = time.perf_counter()
            n_encoded += self._fill()
            seconds += time.perf_counter() - start
            self._store.assemble()
        raise RunError(
            f"features written to {self._store.folder} do not come back as written; "
            "check the disk, or name another folder with cache="
        )

    def _fill(self) -> int:
        missing = [shard for shard in range(self._store.n_shards) if self._store.load_shard(shard) is None]
        n_missing = sum(len(self._store.positions(shard)) for shard in missing)
        unit = "images" if self._source.kind == "image" else "texts"
        with track("encoding", len(self._rows), unit) as advance, contextlib.ExitStack() as stack:
            advance(len(self._rows) - n_missing)
            jobs = [self._split(shard) for shard in missing]
            done = stack.enter_context(contextlib.closing(self._encode(jobs)))
            for shard, pieces in zip(missing, jobs, strict=True):
                parts = []
                for piece in pieces:
                    parts.append(next(done))
                    advance(len(piece))
                self._store.save_shard(shard, join_shards(parts))
        return n_missing

    def _split(self, shard: int) -> list[list[int]]:
        positions = self._store.positions(shard)
        starts = range(positions.start, positions.stop, self._piece_rows)
        return [self._rows[start : min(start + self._piece_rows, positions.stop)] for start in starts]

    def _encode(self, jobs: list[list[list[int]]]) -> Generator[Shard, None, None]:
        pieces = (piece for job in jobs for piece in job)
        if not self._is_parallel:
            yield from map(self._pieces.encode, pieces)
            return
        with one_torch_thread_each(self._workers) as pool:
            pending: deque[Future[Shard]] = deque()
            for piece in pieces:
                pending.append(pool.submit(self._pieces.encode, piece))
                # Enough for every worker while the oldest is waited for, few enough to stay small.
                if len(pending) > 2 * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
