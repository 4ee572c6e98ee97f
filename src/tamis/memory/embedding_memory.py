"""The last embeddings of a training, first in, first out, with running sums of each class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.statistics.class_sums import as_codes, fit_unit_rows

_BANKS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_EMPTY = -1  # index of a slot whose row came without one
_REFRESH_BLOCK = 8192  # rows at a time; changes no sum


class MemoryRows(NamedTuple):
    """What a memory holds: ``ref_emb, ref_labels = memory.rows``.

    Attributes
    ----------
    embeddings : (m, d) tensor
        Of unit length, in the dtype of the bank. A view: use it before the next `EmbeddingMemory.enqueue`.
    labels : (m,) int64 tensor
    """

    embeddings: Tensor
    labels: Tensor


class EmbeddingMemory(nn.Module):
    """The newest embeddings up to ``size`` (a cross-batch memory) and, for every class, their sum and number.

    Rows are detached and scaled to unit length. A full memory overwrites its oldest row, always. The sums
    follow each row that comes or goes, so the mean over all members of a class is there to look up. Compute
    losses against `rows` first, step the optimiser, then `enqueue` the batch.

    Parameters
    ----------
    size : int
        Rows, at least 1.
    embedding_size : int
        d, at least 1.
    n_classes : int, optional
        Number of classes C for sums of each class; None = a memory of rows alone.
    dtype : torch.dtype
        Of the bank: float32, float64, bfloat16 or float16. Sums are those of the rows as the bank holds
        them, in float64 for a bank of float64 and else in float32.
    product_dtype : torch.dtype, optional
        bfloat16 or float16: `class_products` multiplies in it, with a copy of the sums that is kept up to
        date. 2 to 4 times as fast where the processor has units for it. None = as the sums.
    recompute_every : int, optional
        Rows stored between two fresh sums, which take away the rounding errors gathered; None = ``size``.

    Attributes
    ----------
    embeddings : (size, d) tensor
    labels, index : (size,) int64 tensors
        Class and row of the data set; the index is -1 where none was given.
    cursor, n_rows : int64 scalars
        Slot of the next row; how many slots are filled.
    sums : (C, d) tensor
        Exactly zero for a class without rows.
    counts : (C,) int64 tensor
        A row of zeros, which has no direction, counts too.
    lengths : (C,) tensor
        Euclidean length of each sum.

    Raises
    ------
    InputError
        A size below 1, or a dtype that is none of those above.

    Notes
    -----
    All buffers have fixed shapes, so that ``state_dict`` holds everything and training resumes from it.

    References
    ----------
    .. [1] X. Wang et al. "Cross-batch memory for embedding learning", CVPR 2020.
    .. [2] C. Liu et al. "Noise-resistant deep metric learning with ranking-based instance selection",
       CVPR 2021, whose class means the sums give.

    Examples
    --------
    >>> memory = EmbeddingMemory(3, 2, n_classes=2)
    >>> memory.enqueue(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 1]))
    >>> memory.enqueue(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 1]))  # the first row goes
    >>> memory.counts, memory.sums[1]
    (tensor([0, 3]), tensor([0., 3.]))
    >>> ref_emb, ref_labels = memory.rows
    >>> ref_labels
    tensor([1, 1, 1])
    """

    embeddings: Tensor
    labels: Tensor
    index: Tensor
    cursor: Tensor
    n_rows: Tensor
    n_stored: Tensor
    sums: Tensor
    counts: Tensor
    lengths: Tensor
    low_sums: Tensor

    def __init__(
        self,
        size: int,
        embedding_size: int,
        n_classes: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        product_dtype: torch.dtype | None = None,
        recompute_every: int | None = None,
    ) -> None:
        super().__init__()
        recompute_every = size if recompute_every is None else recompute_every
        _refuse_parameters(size, embedding_size, n_classes, recompute_every)
        _refuse_dtypes(dtype, product_dtype)
        self.size = size
        self.embedding_size = embedding_size
        self.n_classes = n_classes
        self.recompute_every = recompute_every
        self._is_low = product_dtype is not None
        self.register_buffer("embeddings", torch.zeros(size, embedding_size, dtype=dtype))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("index", torch.full((size,), _EMPTY))
        for name in ("cursor", "n_rows", "n_stored"):  # n_stored: since the sums were last computed afresh
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        if n_classes is not None:
            of_sums = torch.float64 if dtype == torch.float64 else torch.float32
            self.register_buffer("sums", torch.zeros(n_classes, embedding_size, dtype=of_sums))
            self.register_buffer("counts", torch.zeros(n_classes, dtype=torch.int64))
            self.register_buffer("lengths", torch.zeros(n_classes, dtype=of_sums))
            if product_dtype is not None:
                self.register_buffer("low_sums", torch.zeros(n_classes, embedding_size, dtype=product_dtype))

    @property
    def rows(self) -> MemoryRows:
        """The filled part, in no particular order."""
        n = int(self.n_rows)
        return MemoryRows(self.embeddings[:n], self.labels[:n])

    @torch.no_grad()
    def enqueue(self, embeddings: Tensor, labels: Tensor, index: Tensor | None = None) -> None:
        """Store a batch; of one larger than the memory the last rows.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            Any length; a row of zeros stays one, rows with NaN or infinity are left out.
        labels : (B,) integer tensor
        index : (B,) integer tensor, optional
            Rows of the data set.

        Raises
        ------
        InputError
            Shapes do not fit, or a label outside 0..C-1 where the memory has classes.
        """
        codes = self._checked(embeddings, labels, index)
        units, is_fit = fit_unit_rows(embeddings)
        if not bool(is_fit.all()):
            units, codes, index = units[is_fit], codes[is_fit], None if index is None else index[is_fit]
        units = units.to(self.embeddings)
        start, stop = max(0, len(units) - self.size), len(units)
        while start < stop:  # twice where the batch runs over the end of the bank
            end = min(stop, start + self.size - int(self.cursor))
            rows = slice(start, end)
            self._store(units[rows], codes[rows], _EMPTY if index is None else index[rows])
            start = end
        if int(self.n_stored) >= self.recompute_every:
            self.recompute()

    @torch.no_grad()
    def class_products(self, units: Tensor, labels: Tensor) -> Tensor:
        """Return the products of unit rows with the sums of all classes.

        Parameters
        ----------
        units : (B, d) tensor
        labels : (B,) int64 tensor
            Classes whose product has full precision also where ``product_dtype`` is lower.

        Returns
        -------
        (B, C) tensor in the dtype of ``sums``

        Raises
        ------
        InputError
            The memory has no classes.
        """
        self._need_classes()
        units = units.to(self.sums)
        with torch.autocast(units.device.type, enabled=False):
            if not self._is_low:
                return units @ self.sums.T
            products = (units.to(self.low_sums.dtype) @ self.low_sums.T).to(self.sums.dtype)
        own = (units * self.sums[labels]).sum(dim=1, keepdim=True)
        return products.scatter_(1, labels[:, None], own)

    @torch.no_grad()
    def recompute(self) -> None:
        """Compute sums, counts and lengths afresh from the rows held."""
        self.n_stored.zero_()
        if self.n_classes is None:
            return
        embeddings, labels = self.rows
        self.sums.zero_()
        for start in range(0, len(labels), _REFRESH_BLOCK):
            block = slice(start, start + _REFRESH_BLOCK)
            _add_rows(self.sums, labels[block], embeddings[block].to(self.sums.dtype))
        self.counts.copy_(torch.bincount(labels, minlength=self.n_classes))
        self.lengths.copy_(torch.linalg.vector_norm(self.sums, dim=1))
        if self._is_low:
            self.low_sums.copy_(self.sums)

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self.buffers():
            buffer.zero_()
        self.index.fill_(_EMPTY)

    def extra_repr(self) -> str:
        """Return sizes and dtype for ``repr``."""
        return (
            f"size={self.size}, embedding_size={self.embedding_size}, n_classes={self.n_classes}, "
            f"dtype={self.embeddings.dtype}"
        )

    def _store(self, units: Tensor, codes: Tensor, index: Tensor | int) -> None:
        """Write rows to the slots from the cursor on, which they do not overrun."""
        n, first = len(units), int(self.cursor)
        slots = slice(first, first + n)
        if self.n_classes is not None:
            # Slots are filled in order: either all of these hold a row or none.
            self._exchange(slice(first, first + n if first < int(self.n_rows) else first), units, codes)
        self.embeddings[slots], self.labels[slots], self.index[slots] = units, codes, index
        self.cursor.fill_((first + n) % self.size)
        self.n_rows.add_(n).clamp_(max=self.size)
        self.n_stored.add_(n)

    def _exchange(self, evicted: slice, units: Tensor, codes: Tensor) -> None:
        """Bring sums and counts up to date for rows that go and rows that come."""
        gone = self.labels[evicted]
        self.counts.index_add_(0, codes, torch.ones_like(codes))
        _add_rows(self.sums, codes, units.to(self.sums.dtype))
        self.counts.index_add_(0, gone, torch.ones_like(gone), alpha=-1)
        _add_rows(self.sums, gone, -self.embeddings[evicted].to(self.sums.dtype))
        # Rounding errors of a class without rows must not stay as if they were a direction.
        self.sums.index_fill_(0, gone[self.counts[gone] == 0], 0.0)
        touched = torch.cat([gone, codes])
        changed = self.sums.index_select(0, touched)  # cheaper than square brackets
        self.lengths[touched] = torch.linalg.vector_norm(changed, dim=1)
        if self._is_low:
            self.low_sums.index_copy_(0, touched, changed.to(self.low_sums.dtype))

    def _need_classes(self) -> None:
        if self.n_classes is None:
            raise InputError("n_classes is None; make the memory with n_classes to get sums of each class")

    def _checked(self, embeddings: Tensor, labels: Tensor, index: Tensor | None) -> Tensor:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_size:
            raise InputError(
                f"embeddings has shape {tuple(embeddings.shape)}; expected (rows, {self.embedding_size})"
            )
        if not embeddings.is_floating_point():
            raise InputError(f"embeddings has dtype {embeddings.dtype}; expected floating point")
        if index is not None and index.shape != labels.shape:
            raise InputError(
                f"index has shape {tuple(index.shape)}; expected one number a label, {tuple(labels.shape)}"
            )
        most = 2**63 - 1
        lowest, n_classes = (-most, most) if self.n_classes is None else (0, self.n_classes)
        return as_codes(labels, len(embeddings), n_classes, lowest=lowest, device=self.embeddings.device)


def _add_rows(sums: Tensor, codes: Tensor, rows: Tensor) -> None:
    # On a GPU index_add_ adds in an order of its own, so that no two runs agree; index_put_ sorts first.
    if sums.is_cuda:
        sums.index_put_((codes,), rows, accumulate=True)
    else:
        sums.index_add_(0, codes, rows)


def _refuse_parameters(size: int, embedding_size: int, n_classes: int | None, recompute_every: int) -> None:
    given = {"size": size, "embedding_size": embedding_size, "recompute_every": recompute_every}
    for name, value in (given if n_classes is None else given | {"n_classes": n_classes}).items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")


def _refuse_dtypes(dtype: torch.dtype, product_dtype: torch.dtype | None) -> None:
    if dtype not in _BANKS:
        raise InputError(f"dtype is {dtype}; expected one of {', '.join(map(str, _BANKS))}")
    if product_dtype not in (None, torch.bfloat16, torch.float16):
        raise InputError(f"product_dtype is {product_dtype}; expected torch.bfloat16, torch.float16 or None")
