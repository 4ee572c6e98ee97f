"""Content hashes: equal digests mean equal content, whatever its name, place or number type."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.types import FloatArray

DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)
"""Digest of a row whose content cannot be read; it never counts as equal to another."""

_BLOCK_BYTES = 2**26


def content_digest(content: bytes | memoryview) -> bytes:
    """Return the 16-byte BLAKE2b hash of some bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def digest_array(digests: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """Return 16-byte digests as an (n, 2) uint64 array."""
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64).reshape(-1, 2)


def feature_digests(matrix: FloatArray, block_rows: int | None = None) -> npt.NDArray[np.uint64]:
    """Return a 128-bit hash of each row of a feature matrix.

    Rows are read block by block, so a memory-mapped file of any size may be given. Values are compared as
    float32 where the type has at most 32 bits (so float16, small integers and float32 agree), else as
    float64; -0.0 equals 0.0.

    Parameters
    ----------
    matrix : (n, d) float or int
    block_rows : int or None
        Rows read at once; None chooses about 64 MiB. The digests do not depend on it.

    Returns
    -------
    (n, 2) uint64
        (0, 0) for a row with NaN or infinity, which equals no other row.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = feature_digests(np.array([[1.0, -0.0], [1.0, 0.0]], dtype=np.float16))
    >>> bool((a == b).all())
    True
    """
    matrix = np.asanyarray(matrix)
    kind, bits = matrix.dtype.kind, matrix.dtype.itemsize * 8
    is_narrow = bits <= 32 if kind == "f" else bits <= 16
    target = np.dtype("<f4" if is_narrow else "<f8")
    row_bytes = matrix.shape[1] * target.itemsize
    step = block_rows or max(1, _BLOCK_BYTES // max(1, row_bytes))
    digests = np.zeros((len(matrix), 2), dtype=np.uint64)
    for start in range(0, len(matrix), step):
        # Adding zero turns -0.0 into 0.0 and makes a contiguous copy of the block.
        block = np.ascontiguousarray(matrix[start : start + step].astype(target) + target.type(0))
        digests[start : start + step] = row_digests(block)
        digests[start : start + step][~np.isfinite(block).all(axis=1)] = 0
    return digests


def row_digests(block: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Return (n, 2) uint64 hashes of the bytes of ``block[i]``; the block is C-contiguous."""
    if block.size == 0:
        return np.zeros((len(block), 2), dtype=np.uint64)
    content = np.ascontiguousarray(block).data.cast("B")
    step = content.nbytes // len(block)
    return digest_array(content_digest(content[at : at + step]) for at in range(0, content.nbytes, step))


def dataset_digest(
    table: pa.Table, class_names: tuple[str | int, ...], content: Mapping[str, npt.NDArray[np.uint64]]
) -> str:
    """Return 32 hex digits over the columns of a table, the class names and named content digests."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    state.update(json.dumps([list(class_names), table.column_names, sorted(content)]).encode())
    for name in table.column_names:
        # One batch size for every table, so that the chunks of the column do not matter.
        for batch in table.select([name]).combine_chunks().to_batches(max_chunksize=65_536):
            state.update(json.dumps(batch.column(0).to_pylist()).encode())
    for name in sorted(content):
        state.update(np.ascontiguousarray(content[name], dtype="<u8").tobytes())
    return state.hexdigest()
