"""Which pairs may never be neighbours: a row and itself, rows of one group, rows without direction."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Forbidden:
    """Pairs of query and reference rows that are never neighbours.

    Attributes
    ----------
    own_column : (n_queries,) int64 tensor or None
        The reference row that is the query itself, -1 where there is none.
    query_groups, reference_groups : (n,) int32 tensor or None
        Group codes, negative = no group; both or neither.
    dead_columns : (n_reference,) bool tensor or None
        Reference rows that are nobody's neighbour.
    """

    own_column: torch.Tensor | None = None
    query_groups: torch.Tensor | None = None
    reference_groups: torch.Tensor | None = None
    dead_columns: torch.Tensor | None = None

    def apply(self, scores: torch.Tensor, rows: torch.Tensor, start: int) -> None:
        """Set forbidden entries of a score block to -inf, in place.

        Parameters
        ----------
        scores : (b, w) tensor
            Scores of the query rows against reference rows ``start`` to ``start + w``.
        rows : (b,) int64 tensor
            Which query rows these are.
        start : int
        """
        stop = start + scores.shape[1]
        if self.own_column is not None:
            own = self.own_column[rows].to(scores.device)
            inside = ((own >= start) & (own < stop)).nonzero()[:, 0]
            scores[inside, own[inside] - start] = -torch.inf
        if self.dead_columns is not None:
            dead = self.dead_columns[start:stop].nonzero()[:, 0].to(scores.device)
            scores[:, dead] = -torch.inf
        if self.query_groups is not None and self.reference_groups is not None:
            groups = self.query_groups[rows].to(scores.device)
            grouped = (groups >= 0).nonzero()[:, 0]
            columns = self.reference_groups[start:stop].to(scores.device)
            _forbid_groups(scores, groups, columns, grouped)

    def apply_at(
        self, scores: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, lowest: float
    ) -> None:
        """Set forbidden entries of a block of any rows and columns to ``lowest``, in place.

        Rows without direction are not looked for: leave them out of ``columns``.

        Parameters
        ----------
        scores : (b, w) tensor
        rows : (b,) int64 tensor
            Query rows.
        columns : (w,) int64 tensor
            Reference rows, in any order.
        lowest : float
        """
        if self.own_column is not None:
            own = self.own_column[rows]
            inside = torch.isin(own, columns).nonzero()[:, 0]
            if len(inside):
                ordered, where = columns.sort()
                scores[inside, where[torch.searchsorted(ordered, own[inside])]] = lowest
        if self.query_groups is not None and self.reference_groups is not None:
            groups, others = self.query_groups[rows], self.reference_groups[columns]
            # Most tiles share few groups or none: only their rows and columns are compared.
            grouped = ((groups >= 0) & torch.isin(groups, others)).nonzero()[:, 0]
            shared = torch.isin(others, groups[grouped]).nonzero()[:, 0]
            row, column = (groups[grouped].unsqueeze(1) == others[shared]).nonzero(as_tuple=True)
            scores[grouped[row], shared[column]] = lowest


def _forbid_groups(
    scores: torch.Tensor, groups: torch.Tensor, columns: torch.Tensor, grouped: torch.Tensor
) -> None:
    if len(grouped) == 0:
        return
    is_same = groups[grouped].unsqueeze(1) == columns.unsqueeze(0)  # (grouped, w)
    if len(grouped) == len(groups):
        scores[:, : len(columns)].masked_fill_(is_same, -torch.inf)
        return
    # Only a few rows have a group: touch the few entries, not the whole block.
    row, column = is_same.nonzero(as_tuple=True)
    scores[grouped[row], column] = -torch.inf
