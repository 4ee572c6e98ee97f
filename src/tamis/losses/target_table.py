"""A row of class weights for every sample of the data set, kept beside a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.statistics.labelled_logits import can_read_values


class TargetTable(nn.Module):
    """Base of losses that remember what the network said of each sample.

    The table is a buffer: it moves and is saved with the module.

    Attributes
    ----------
    targets : (N, K) float tensor
    """

    targets: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("targets", initial)

    def suspects(self, labels: Tensor) -> Tensor:
        """Return where another class has a larger target than the given label, (N,) bool.

        A row never updated accuses nobody, nor does a tie.

        Parameters
        ----------
        labels : (N,) integer tensor
            Given labels of the whole data set; -1 (unlabelled) is never a suspect.
        """
        given = self._given(labels)
        return (given < self.targets.amax(dim=1)) & (labels.to(given.device) >= 0)

    def clean_scores(self, labels: Tensor) -> Tensor:
        """Return the share of the given label in the sample's targets, (N,) float; higher = cleaner.

        1 where the row was never updated; NaN where the label is -1 (unlabelled).

        Parameters
        ----------
        labels : (N,) integer tensor
        """
        total = self.targets.sum(dim=1)
        share = torch.where(total > 0, self._given(labels) / total.clamp(min=1e-12), 1.0)
        return share.masked_fill(labels.to(share.device) < 0, torch.nan)

    def _given(self, labels: Tensor) -> Tensor:
        n_samples, n_classes = self.targets.shape
        if labels.shape != (n_samples,):
            raise InputError(
                f"labels has shape {tuple(labels.shape)}; expected ({n_samples},): the given labels of "
                "the whole data set"
            )
        if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < n_classes:
            raise InputError(
                f"labels runs from {int(labels.min())} to {int(labels.max())}; expected class codes from 0 "
                f"to {n_classes - 1}, or -1"
            )
        rows = labels.to(self.targets.device).long().clamp(min=0)
        return self.targets.gather(1, rows[:, None])[:, 0]

    def _rows(self, index: Tensor | None, logits: Tensor, *, writes: bool) -> Tensor:
        """Return the checked index of a batch."""
        n_samples, n_classes = self.targets.shape
        if logits.shape[1] != n_classes:
            raise InputError(
                f"logits has {logits.shape[1]} columns; expected {n_classes}: n_classes of the loss"
            )
        return checked_index(index, len(logits), n_samples, writes=writes)


def zero_targets(n_samples: int, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Return an empty table.

    Raises
    ------
    InputError
        No samples, no classes, or a type that holds no fractions.
    """
    if n_samples < 1 or n_classes < 1:
        raise InputError(
            f"n_samples is {n_samples} and n_classes {n_classes}; expected the size of the data set and "
            "its number of classes, each at least 1"
        )
    if not dtype.is_floating_point:
        raise InputError(f"dtype is {dtype}; expected a floating-point type such as torch.float32")
    return torch.zeros(n_samples, n_classes, dtype=dtype)


def checked_index(index: Tensor | None, n_batch: int, n_samples: int, *, writes: bool) -> Tensor:
    """Return the rows of a batch's samples in a table as int64.

    Parameters
    ----------
    index : (B,) integer tensor
    n_batch, n_samples : int
    writes : bool
        Whether the rows will be written: then a row must not occur twice, as its last writer would win.

    Raises
    ------
    InputError
        No index, a wrong shape or type, a row beyond the table, or one written twice.
    """
    if index is None:
        raise InputError(
            "index is None; expected the data-set row of every sample in the batch: let the data set "
            "return it beside the sample"
        )
    if index.shape != (n_batch,) or index.is_floating_point():
        raise InputError(
            f"index has shape {tuple(index.shape)} and type {index.dtype}; expected integers of shape "
            f"({n_batch},)"
        )
    index = index.long()
    if n_batch and can_read_values():
        ordered = index.sort().values
        is_twice = (ordered[1:] == ordered[:-1]) & writes
        outside = (ordered < 0) | (ordered >= n_samples)
        if torch.cat([is_twice, outside]).any():
            _refuse_index(ordered, is_twice, outside, n_samples)
    return index


def _refuse_index(ordered: Tensor, is_twice: Tensor, outside: Tensor, n_samples: int) -> None:
    if outside.any():
        raise InputError(
            f"index holds {int(ordered[outside][0])}; expected rows from 0 to {n_samples - 1}: "
            f"n_samples is {n_samples}"
        )
    raise InputError(
        f"index holds {int(ordered[1:][is_twice][0])} twice; expected each sample once in a batch, as the "
        "order of a batch must not decide what is remembered: sample without replacement"
    )
