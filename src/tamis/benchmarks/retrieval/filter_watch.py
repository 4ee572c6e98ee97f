"""What a filter drops while a method trains, beside what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tamis.benchmarks.judging import Cell
from tamis.benchmarks.outcomes import Curves
from tamis.methods import Method
from tamis.selectors.selection import Selection, Selector

_Commit = Callable[..., None]


class Counts(NamedTuple):
    """Samples of batches that a filter judged: all, dropped, wrong, and both dropped and wrong."""

    seen: int
    dropped: int
    wrong: int
    both: int

    @property
    def precision(self) -> float | None:
        """Share of what is dropped that is wrong; None where nothing is dropped or nothing is wrong."""
        return self.both / self.dropped if self.dropped and self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of what is wrong that is dropped."""
        return self.both / self.wrong if self.wrong else None


class FilterWatch:
    """Counts what the selectors of a method commit to, epoch by epoch.

    Parameters
    ----------
    method : Method
        Every `Selector` in it is watched; of a method without one there is nothing to tell. Epochs of
        warm-up, in which nothing is judged, count nothing.
    is_wrong : (n,) bool tensor
        For every row of the training set, on the device of the labels.
    """

    def __init__(self, method: Method, is_wrong: Tensor) -> None:
        self._is_wrong = is_wrong
        self._sums = torch.zeros(4, dtype=torch.int64, device=is_wrong.device)
        self._epochs: list[Counts] = []
        self._has_filter = False
        for module in method.modules():
            if isinstance(module, Selector):
                self._has_filter = True
                # In place of the class's method, of this one instance.
                vars(module)["commit"] = self._watched(module.commit)

    def end_epoch(self, record: object = None) -> None:
        """Close an epoch; for `tamis.engine.Settings.report_epoch`."""
        self._epochs.append(Counts(*self._sums.tolist()))
        self._sums.zero_()

    def figures(self) -> dict[str, Cell]:
        """Return precision and recall of the filter, and the share that it drops, over the second half."""
        late = self._epochs[len(self._epochs) // 2 :]
        total = Counts(*(sum(each) for each in zip(*late, strict=True))) if late else Counts(0, 0, 0, 0)
        if not self._has_filter or not total.seen:
            return {}
        return {
            "filter_precision": total.precision,
            "filter_recall": total.recall,
            "filter_dropped": total.dropped / total.seen,
        }

    def curves(self) -> Curves:
        """Return precision and recall of every epoch; None of an epoch without."""
        if not self._has_filter:
            return {}
        return {
            "filter_precision": [each.precision for each in self._epochs],
            "filter_recall": [each.recall for each in self._epochs],
        }

    def _watched(self, commit: _Commit) -> _Commit:
        def watched(
            selection: Selection, outputs: object, labels: Tensor, index: Tensor | None = None
        ) -> None:
            if index is not None:
                is_wrong, is_dropped = self._is_wrong[index], ~selection.keep
                counts = (is_dropped, is_wrong, is_dropped & is_wrong)
                self._sums += torch.stack(
                    [self._sums.new_tensor(len(index)), *(mask.sum() for mask in counts)]
                )
            commit(selection, outputs, labels, index)

        return watched
