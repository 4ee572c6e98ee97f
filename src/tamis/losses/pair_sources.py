"""Which references are positives and negatives of an anchor, found without a mask of all pairs."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tamis.errors import InputError


class Pairs(NamedTuple):
    """Some pairs of each anchor, as columns of the similarities; rows are padded to one length.

    Attributes
    ----------
    columns : (b, P) int64 tensor
    is_pair : (b, P) bool tensor
        False where a column only pads.
    """

    columns: Tensor
    is_pair: Tensor

    def read(self, similarities: Tensor) -> Tensor:
        """Return the (b, P) entries of the pairs; where a column only pads, any entry."""
        return similarities.gather(1, self.columns)

    def write(self, similarities: Tensor, values: Tensor | float) -> None:
        """Overwrite the entries of the pairs, in place."""
        row, place = self.is_pair.nonzero(as_tuple=True)
        written = values[row, place] if isinstance(values, Tensor) else similarities.new_tensor(values)
        similarities.index_put_((row, self.columns[row, place]), written)


class Equals:
    """References in the order of a value, so that those equal to an anchor's are one run.

    Time and memory grow with the number of pairs, not with anchors times references.

    Parameters
    ----------
    values : (M,) int64 tensor
        M at least 1.

    Examples
    --------
    >>> Equals(torch.tensor([7, 5, 7])).pairs(torch.tensor([7, 6]))
    Pairs(columns=tensor([[0, 2],
            [0, 2]]), is_pair=tensor([[ True,  True],
            [False, False]]))
    """

    def __init__(self, values: Tensor) -> None:
        self.values, self.order = values.sort(stable=True)

    def pairs(self, wanted: Tensor) -> Pairs:
        """Return for each of (b,) values the references with the same value."""
        first = torch.searchsorted(self.values, wanted)
        counts = torch.searchsorted(self.values, wanted, right=True) - first
        places = torch.arange(max(1, int(counts.max())), device=wanted.device)  # (P,)
        columns = self.order[(first[:, None] + places).clamp_(max=len(self.order) - 1)]
        return Pairs(columns, places < counts[:, None])

    def below(self, limit: int) -> Tensor:
        """Return the references with a value under the limit."""
        return self.order[: int(torch.searchsorted(self.values, self.values.new_tensor(limit)))]


class PairSource(Protocol):
    """Tells positives, negatives and neither apart."""

    def split(self, similarities: Tensor, rows: slice) -> tuple[Pairs, Tensor]:
        """Return the positives of some anchors and their similarities; leave those of negatives only.

        Parameters
        ----------
        similarities : (b, M) float tensor
            Of the anchors of ``rows``. Overwritten with minus infinity wherever a pair is no negative.
        rows : slice
            Which anchors.
        """
        ...


class LabelPairs:
    """Positives share a label, negatives do not; rows with a label below 0 form no pairs.

    Parameters
    ----------
    labels : (B,) int64 tensor
    ref_labels : (M,) int64 tensor
    index, ref_index : (B,) and (M,) int64 tensor, optional
        Pairs of equal index are neither: the sample itself, or a copy of it.
    """

    def __init__(
        self, labels: Tensor, ref_labels: Tensor, index: Tensor | None = None, ref_index: Tensor | None = None
    ) -> None:
        self.labels, self.index, self.ref_index = labels, index, ref_index
        self._same_label = Equals(ref_labels)
        self._same_index = None if ref_index is None else Equals(ref_index)
        self._unlabelled = self._same_label.below(0)

    def split(self, similarities: Tensor, rows: slice) -> tuple[Pairs, Tensor]:
        """Return the positives of some anchors and their similarities; see `PairSource`."""
        labels = self.labels[rows]
        positives = self._same_label.pairs(labels)
        is_pair = positives.is_pair & (labels >= 0)[:, None]
        if self.index is not None and self.ref_index is not None:
            is_pair &= self.ref_index[positives.columns] != self.index[rows, None]
        found = positives.read(similarities)
        positives.write(similarities, -torch.inf)
        if self.index is not None and self._same_index is not None:
            self._same_index.pairs(self.index[rows]).write(similarities, -torch.inf)
        if len(self._unlabelled):
            similarities.index_fill_(1, self._unlabelled, -torch.inf)
        # By row number: a mask of all pairs would cost as much as the rest together.
        similarities.index_fill_(0, (labels < 0).nonzero().squeeze(1), -torch.inf)
        return positives._replace(is_pair=is_pair), found


class GivenPairs:
    """Pairs named one by one; a pair named several times counts once.

    Parameters
    ----------
    is_positive, is_negative : (B, M) bool tensor

    Raises
    ------
    InputError
        A pair is both.
    """

    def __init__(self, is_positive: Tensor, is_negative: Tensor) -> None:
        both = (is_positive & is_negative).nonzero()
        if len(both):
            raise InputError(
                f"indices_tuple names the pair {tuple(both[0].tolist())} as positive and as negative; "
                "expected it in one of the two"
            )
        self.is_positive, self.is_negative = is_positive, is_negative

    def split(self, similarities: Tensor, rows: slice) -> tuple[Pairs, Tensor]:
        """Return the positives of some anchors and their similarities; see `PairSource`."""
        is_pair, columns = self.is_positive[rows].int().sort(dim=1, descending=True, stable=True)
        width = max(1, int(is_pair.sum(dim=1).max()))
        positives = Pairs(columns[:, :width], is_pair[:, :width].bool())
        found = positives.read(similarities)
        similarities.masked_fill_(~self.is_negative[rows], -torch.inf)
        return positives, found
