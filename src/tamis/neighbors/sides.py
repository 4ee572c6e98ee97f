"""The two sides of a swept product: codes in a shuffled order, and panels of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tamis.neighbors.formats import Format
from tamis.neighbors.vectors import UnitRows

GROUP = 8
_ROWS_AT_ONCE = 512
# Columns whose rounding lost this much more than usual are kept in groups of their own.
_UNUSUAL = 1.2


class Side:
    """Rows of one side of a product, as codes in a shuffled order.

    Shuffled, so that the first panels are a fair sample of all. Results do not depend on the order.

    Parameters
    ----------
    rows : UnitRows
        Will be held in memory, in the shuffled order.
    alive : (n,) int64 tensor
        Which of them take part.
    form : Format
    numbers : (len(rows),) int64 tensor, optional
        What the rows are called outside; by default their places in ``rows``.

    Attributes
    ----------
    unit : (n, d) float32 tensor
        The rows themselves.
    codes : (n, d) tensor
    lost : (n,) float64 tensor
        Length that each row lost by rounding.
    numbers : (n,) int64 tensor
        What the rows are called outside.
    """

    def __init__(
        self, rows: UnitRows, alive: torch.Tensor, form: Format, numbers: torch.Tensor | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(len(alive))
        order = alive[torch.randperm(len(alive), generator=generator)]
        is_alive = torch.zeros(len(rows), dtype=torch.bool)
        is_alive[order] = True
        rows.hold(torch.cat([order, (~is_alive).nonzero()[:, 0]]))
        self.numbers = order if numbers is None else numbers[order]
        self.unit = rows.held[: len(order)]
        self.codes, self.lost = self.unit, torch.zeros(len(order), dtype=torch.float64)
        if form.dtype == torch.float32:
            return
        self.codes = torch.empty(self.unit.shape, dtype=form.dtype)
        for start in range(0, len(order), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            self.codes[part], self.lost[part] = form.encode(self.unit[part])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.unit)


@dataclass
class Panel:
    """Columns of a tile, in groups of `GROUP`: group g holds columns g, g + n_groups, ...

    Attributes
    ----------
    places : (w,) int64 tensor
        Places in the side's order, -1 where there is only padding.
    numbers : (w,) int64 tensor
        What the rows are called outside, -1 for padding.
    codes : (w, d) tensor
    rows : (w, d) float32 tensor
    exact : (w, d) float64 tensor
        The same rows.
    floor : (w,) float64 tensor
        Similarity that each column's own k-th neighbour reaches; infinite where it looks for none.
    allowance : (n_groups,) tensor
        Largest possible error of a score due to a column of the group.
    n_padding : int
    """

    places: torch.Tensor
    numbers: torch.Tensor
    codes: torch.Tensor
    rows: torch.Tensor
    exact: torch.Tensor
    floor: torch.Tensor
    allowance: torch.Tensor
    n_padding: int

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.places) // GROUP

    def lowest_floors(self) -> torch.Tensor:
        """Return the lowest floor of each group, (n_groups,)."""
        return self.floor.view(GROUP, -1).amin(dim=0)


def open_panel(side: Side, start: int, stop: int, floor: torch.Tensor, allowance: torch.Tensor) -> Panel:
    """Gather rows ``start`` to ``stop`` of a side, those with like floors and allowances in one group.

    Parameters
    ----------
    side : Side
    start, stop : int
    floor, allowance : (stop - start,) tensors
    """
    is_unusual = allowance > _UNUSUAL * allowance.double().median()
    by_floor = floor.argsort()
    alike = torch.cat([by_floor[~is_unusual[by_floor]], by_floor[is_unusual[by_floor]]])
    n_groups = -(-len(alike) // GROUP)
    padded = torch.cat([alike, alike.new_full((n_groups * GROUP - len(alike),), -1)])
    # Maxima of groups laid out so read memory in long runs.
    local = padded.view(n_groups, GROUP).T.reshape(-1)
    is_real = local >= 0
    places = torch.where(is_real, local + start, -1)
    rows = side.unit[places]
    return Panel(
        places=places,
        numbers=torch.where(is_real, side.numbers[places], -1),
        codes=side.codes[places],
        rows=rows,
        exact=rows.double(),
        floor=torch.where(is_real, floor[local], torch.inf),
        allowance=allowance[local].view(GROUP, -1).amax(dim=0),
        n_padding=len(padded) - len(alike),
    )
