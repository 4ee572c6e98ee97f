"""Keep what is known to be right: the most a selector can do."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.selectors.selection import Selection, Selector


class OracleSelector(Selector):
    """Keep the samples that a mask over the data set calls clean; for benchmarks, where the truth is known.

    Parameters
    ----------
    is_clean : (N,) bool tensor
        For every row of the data set.

    Raises
    ------
    InputError
        ``is_clean`` is no such mask.

    Examples
    --------
    >>> selector = OracleSelector(torch.tensor([True, False, True]))
    >>> selector.select(None, torch.tensor([5, 5]), index=torch.tensor([1, 2])).keep
    tensor([False,  True])
    """

    is_clean: Tensor

    def __init__(self, is_clean: Tensor) -> None:
        super().__init__()
        if is_clean.ndim != 1 or is_clean.dtype != torch.bool:
            raise InputError(
                f"is_clean has shape {tuple(is_clean.shape)} and dtype {is_clean.dtype}; "
                "expected (N,) bool, one value a row of the data set"
            )
        self.register_buffer("is_clean", is_clean)

    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Look the batch up by ``index``.

        Raises
        ------
        InputError
            No index, or one outside the mask.
        """
        if index is None:
            raise InputError("index is None; the rows of the data set are needed to look them up")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self.is_clean):
            raise InputError(
                f"index runs from {int(index.min())} to {int(index.max())}; "
                f"legal are 0 to {len(self.is_clean) - 1}"
            )
        keep = self.is_clean[index]
        return Selection(keep, keep.float(), keep.float())
