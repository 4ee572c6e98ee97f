"""The inputs of a data set: image files, image cells, image arrays and texts, decoded row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.data.cells import ArrowCells, Cells
from tamis.data.dataset import Image, Unreadable
from tamis.data.decoding import decode_image
from tamis.data.digests import NO_DIGEST, content_digest, digest_array, row_digests
from tamis.data.local_files import read_file
from tamis.errors import InputError
from tamis.progress import track

EMPTY_TEXT = "text is missing or empty"


class ImageInput:
    """Images that are files or bytes; each is read, decoded and forgotten.

    Parameters
    ----------
    cells : Cells
        Bytes of image files, paths, or ``{"bytes": ..., "path": ...}``.
    root : Path or None
        Folder that paths are relative to and must stay in; None for tables of the caller's own program
        (relative paths below the current folder, absolute paths allowed).

    Examples
    --------
    >>> from pathlib import Path
    >>> images = ImageInput.from_files(Path("."), ["../a.png"])
    >>> images.read([0])
    [Unreadable(row=0, reason='path lies outside the data folder; nothing was opened')]
    """

    kind: Literal["image"] = "image"

    def __init__(self, cells: Cells, root: Path | None) -> None:
        self._cells = cells
        self._root = root if root is None else root.resolve()
        self._digests: npt.NDArray[np.uint64] | None = None

    @classmethod
    def from_files(cls, root: Path, paths: Sequence[str] | pa.ChunkedArray) -> ImageInput:
        """Return the input of image files below ``root``, named by relative paths."""
        column = (
            paths if isinstance(paths, pa.ChunkedArray) else pa.chunked_array([pa.array(paths, pa.string())])
        )
        return cls(ArrowCells(column), root)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._cells)

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Decode the given rows to RGB, in the order asked for."""
        cells = self._cells.take(rows)
        return [self._decode(int(row), cell) for row, cell in zip(rows, cells, strict=True)]

    def read_bytes(self, rows: Sequence[int]) -> list[bytes | Unreadable]:
        """Return the encoded images of the given rows as they are, in the order asked for; not decoded."""
        found: list[bytes | Unreadable] = []
        for row, cell in zip(rows, self._cells.take(rows), strict=True):
            try:
                found.append(_image_bytes(cell, self._root))
            except InputError as error:
                found.append(Unreadable(int(row), str(error)))
        return found

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 hashes of the encoded images, read one by one; kept after the first call."""
        if self._digests is None:
            found: list[bytes] = []
            with track("hashing", len(self), "images") as advance:
                for batch in self._cells.batches():
                    found += [self._digest(cell) for cell in batch]
                    advance(len(batch))
            self._digests = digest_array(found)
        return self._digests

    def _decode(self, row: int, cell: object) -> Image | Unreadable:
        try:
            return decode_image(_image_bytes(cell, self._root))
        except InputError as error:
            return Unreadable(row, str(error))

    def _digest(self, cell: object) -> bytes:
        try:
            return content_digest(_image_bytes(cell, self._root))
        except InputError:
            return NO_DIGEST


def _image_bytes(cell: object, root: Path | None) -> bytes:
    if isinstance(cell, dict):
        content, path = cell.get("bytes"), cell.get("path")
        cell = path if content is None else content
    if isinstance(cell, bytes):
        return cell
    if cell is None or isinstance(cell, str):
        return read_file(cell, root)
    raise InputError(f"image cell holds {type(cell).__name__}; image bytes or a path are legal")


class ImageArrayInput:
    """Images that are one uint8 array already, for example scikit-learn's digits.

    Parameters
    ----------
    images : (n, height, width), (n, height, width, 1) or (n, height, width, 3) uint8
        Grey or RGB, 0 = black.

    Raises
    ------
    InputError
        If the type or the shape is another.

    Examples
    --------
    >>> import numpy as np
    >>> images = ImageArrayInput(np.zeros((5, 8, 8), dtype=np.uint8))
    >>> len(images), images.read([4])[0].shape
    (5, (8, 8, 3))
    """

    kind: Literal["image"] = "image"

    def __init__(self, images: npt.NDArray[np.generic]) -> None:
        is_legal = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
        if images.dtype != np.uint8 or not is_legal or 0 in images.shape[1:]:
            raise InputError(
                f"images has shape {images.shape} and type {images.dtype}; legal is uint8 of shape (n,"
                " height, width), (n, height, width, 1) or (n, height, width, 3); scale floats to 0..255"
                " and put channels last"
            )
        self._images = images.view(np.uint8)
        self._digests: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._images)

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Return the given rows as RGB, in the order asked for."""
        return [as_rgb(self._images[int(row)]) for row in rows]

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 hashes of the pixels."""
        if self._digests is None:
            blocks = [row_digests(self._images[at : at + 1024]) for at in range(0, len(self), 1024)]
            self._digests = np.concatenate([np.zeros((0, 2), dtype=np.uint64), *blocks])
        return self._digests


def as_rgb(image: npt.NDArray[np.uint8]) -> Image:
    """Return (height, width), (h, w, 1) or (h, w, 3) uint8 as a fresh (h, w, 3) array."""
    grey = image[:, :, None] if image.ndim == 2 else image
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3))).copy()


class TextInput:
    """Texts, held as one Arrow column; a missing or empty text is unreadable.

    Examples
    --------
    >>> TextInput(["good", None]).read([0, 1])
    ['good', Unreadable(row=1, reason='text is missing or empty')]
    """

    kind: Literal["text"] = "text"

    def __init__(self, texts: Sequence[str | None] | pa.ChunkedArray) -> None:
        if not isinstance(texts, pa.ChunkedArray):
            texts = pa.chunked_array([pa.array(texts, pa.large_string())])
        self._cells = ArrowCells(texts)
        self._digests: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._cells)

    def read(self, rows: Sequence[int]) -> list[Image | str | Unreadable]:
        """Return the given texts, in the order asked for."""
        return [
            text if isinstance(text, str) and text.strip() else Unreadable(int(row), EMPTY_TEXT)
            for row, text in zip(rows, self._cells.take(rows), strict=True)
        ]

    def problems(self) -> dict[int, str]:
        """Return the rows without text and the reason."""
        texts = (text for batch in self._cells.batches() for text in batch)
        return {
            row: EMPTY_TEXT for row, text in enumerate(texts) if not (isinstance(text, str) and text.strip())
        }

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (n, 2) uint64 hashes of the UTF-8 texts."""
        if self._digests is None:
            self._digests = digest_array(
                content_digest(text.encode()) if isinstance(text, str) and text.strip() else NO_DIGEST
                for batch in self._cells.batches()
                for text in batch
            )
        return self._digests
