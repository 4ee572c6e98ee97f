"""Number formats of a proposing product, and how far each can be from the true similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]

_LEVELS = 127
# An int8 code reaches to this many times the root mean square of an entry; larger entries are cut off.
_REACH = 4.0
# A rotation costs a product of its own: it has to shorten the rounding errors to this share.
_WORTHWHILE = 0.85
_WIDEST_ROTATION = 4096
# Rows on the grid have length 1 to within sqrt(d) / 2**25, far less than this for any d in use.
_LENGTH = 1.0 + 1e-4


@dataclass(frozen=True)
class Format:
    """How unit rows become codes, and what a product of codes proves about a similarity.

    Attributes
    ----------
    precision : {"float32", "bfloat16", "int8"}
    width : int
        Columns of a row.
    step : float
        What one unit of an int8 code is worth.
    rotation : (d, d) float32 tensor or None
        Orthogonal: spreads a row over all columns before it is rounded to int8.
    slack : float
        By how much the rotation may change a similarity.
    """

    precision: Precision
    width: int
    step: float = 1.0
    rotation: torch.Tensor | None = None
    slack: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """Type of the codes."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}[self.precision]

    @property
    def score_dtype(self) -> torch.dtype:
        """Type of the product of codes."""
        return torch.int32 if self.precision == "int8" else self.dtype

    @property
    def limit_dtype(self) -> torch.dtype:
        """Type of limits that scores are compared with."""
        return torch.int32 if self.precision == "int8" else torch.float32

    @property
    def lowest(self) -> float:
        """Score below every legal one."""
        return -(2**31) if self.precision == "int8" else -torch.inf

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return codes of (b, d) float32 unit rows, and the length each row lost, (b,) float64."""
        if self.precision == "float32":
            return rows, torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        if self.precision == "bfloat16":
            codes = rows.to(torch.bfloat16)
            lost = rows - codes.float()
        else:
            turned = rows if self.rotation is None else _rotate(rows, self.rotation)
            whole = (turned * (1.0 / self.step)).round_().clamp_(-_LEVELS, _LEVELS)
            codes = whole.to(torch.int8)
            lost = turned - whole.mul_(self.step)
        # The roundings of these float32 lines are covered by one part in a thousand, and 1e-6.
        return codes, 1.001 * torch.linalg.vector_norm(lost, dim=1).double() + 1e-6

    def product(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Write the product of codes (b, d) and (w, d) to ``out``, (b, w), and return it."""
        if self.precision == "int8":
            return torch._int_mm(left, right.T, out=out)
        return torch.mm(left, right.T, out=out)

    def scores(self, similarity: torch.Tensor) -> torch.Tensor:
        """Return the least scores of pairs of these similarities, float64, but for allowances."""
        if self.precision == "int8":
            # Far beyond any score, and far enough from overflow that allowances can be subtracted.
            return (similarity / self.step**2).floor_().clamp_(-(2.0**30), 2.0**30).to(torch.int32)
        result = torch.where(torch.isfinite(similarity), 1.01 * self._result_error * similarity.abs(), 0.0)
        return torch.nextafter((similarity - result).float(), torch.tensor(-torch.inf))

    def allowances(self, lost: torch.Tensor, other_lost: float) -> torch.Tensor:
        """Return how much of a score's possible error is due to each row, (b,), rounded up.

        A pair of at least a similarity scores at least `scores` of it, less the allowances of its two rows.

        Parameters
        ----------
        lost : (b,) float64 tensor
            Lengths that the rows lost.
        other_lost : float
            The largest such length on the other side of the product.
        """
        # |a.b - a'.b'| <= |a - a'| |b| + |a'| |b - b'| (Cauchy-Schwarz), and |a'| <= |a| + |a - a'|.
        # Sums of int8 products are exact. In float32: d roundings of partial sums of at most about 1.
        adding = 0.0 if self.precision == "int8" else (self.width + 8) * 2.0**-24
        allowance = (_LENGTH + other_lost) * lost + adding + self.slack / 2.0
        if self.precision == "int8":
            return (allowance / self.step**2).ceil_().to(torch.int32) + 1
        allowance = allowance * (1.0 + 2.0 * self._result_error)
        return torch.nextafter(allowance.float(), torch.tensor(torch.inf))

    def is_within(self, scores: torch.Tensor, exact: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """Tell which scores are as near to the exact similarities as the allowances of both rows promise."""
        found = self.similarities(scores)
        return (found - exact).abs() <= self.similarities(allowed) + self._result_error * found.abs()

    @property
    def _result_error(self) -> float:
        # A bfloat16 result has 8 significant bits: it is off by up to 2**-8 of itself.
        return 1.001 * 2.0**-8 if self.precision == "bfloat16" else 0.0

    def similarities(self, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of a product as approximate similarities, float64."""
        return scores.double() * self.step**2 if self.precision == "int8" else scores.double()


def fitting_format(precision: Precision, sample: torch.Tensor) -> Format:
    """Return the format of a precision for rows like ``sample``, (b, d) float32 unit rows."""
    d = sample.shape[1]
    if precision != "int8":
        return Format(precision, d)
    plain = Format(precision, d, step=_REACH / (_LEVELS * d**0.5))
    if d > _WIDEST_ROTATION:
        return plain
    rotation, slack = _rotation(d)
    turned = Format(precision, d, plain.step, rotation.to(sample.device), slack)
    is_better = turned.encode(sample)[1].median() < _WORTHWHILE * plain.encode(sample)[1].median()
    return turned if bool(is_better) else plain


def _rotation(d: int) -> tuple[torch.Tensor, float]:
    """Return a fixed orthogonal matrix, and by how much it may change a dot product of unit rows."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((d, d), generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(noise).Q.float()
    exact = rotation.double()
    defect = float(torch.linalg.matrix_norm(exact.T @ exact - torch.eye(d, dtype=torch.float64)))
    # Each of d entries of a rotated row is a sum of d products: error at most d * 2**-24 times both lengths.
    rounding = d**1.5 * 2.0**-24
    return rotation, 1.01 * (defect + 2.0 * rounding)


def _rotate(rows: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    if torch.get_float32_matmul_precision() == "highest":
        return rows @ rotation
    return (rows.double() @ rotation.double()).float()
