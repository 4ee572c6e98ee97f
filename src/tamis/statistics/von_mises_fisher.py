"""The von Mises-Fisher distribution on the unit sphere: its log normaliser and its concentration."""

from __future__ import annotations

import math

import torch

from tamis.errors import InputError

KAPPA_MAX = 1e5
"""Concentrations are cut here; a class of equal vectors would have an infinite one."""

_LARGE_ORDER = 64.0
"""From this order on the expansion is exact to about 1e-11; lower orders follow by the recurrence."""


@torch.no_grad()
def log_normaliser(kappa: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return log C_d(kappa) of the density ``C_d(kappa) exp(kappa mu'x)`` on the unit sphere of R^d.

    Finite for every dimension and concentration, where the Bessel function itself under- or overflows.

    Parameters
    ----------
    kappa : float tensor of any shape, at least 0
        Half precision is widened to float32.
    dimension : int
        d, at least 1.

    Returns
    -------
    tensor of the same shape and device
        In float64 exact to 1e-10 or better; the uniform density at kappa = 0.

    Raises
    ------
    InputError
        ``dimension`` below 1, or a negative or undefined kappa.

    Notes
    -----
    With nu = d/2 - 1 and the normalised Bessel function ``J_nu(k) = I_nu(k) Gamma(nu + 1) (2 / k)^nu``, which
    is 1 at k = 0, the normaliser is the uniform density divided by J_nu. For large orders log J_nu is Debye's
    expansion [1]_; lower orders follow from ``J_(v-1) = J_v + J_(v+1) k^2 / (4 v (v+1))``, whose terms are
    all positive.

    References
    ----------
    .. [1] DLMF, 10.41.3 and 10.29.1.

    Examples
    --------
    >>> log_normaliser(torch.tensor([0.0, 1.0], dtype=torch.float64), 3)  # 1 / (4 pi); k / (4 pi sinh k)
    tensor([-2.5310, -2.6925], dtype=torch.float64)
    """
    if dimension < 1:
        raise InputError(f"dimension is {dimension}; expected at least 1")
    kappa = kappa.detach()
    kappa = kappa if kappa.dtype in (torch.float32, torch.float64) else kappa.float()
    if not bool((kappa >= 0).all()):
        raise InputError("kappa holds a negative number or NaN; concentrations are at least 0")
    uniform = math.lgamma(dimension / 2) - math.log(2.0) - dimension / 2 * math.log(math.pi)
    order = dimension / 2 - 1
    n_steps = max(0, math.ceil(_LARGE_ORDER - order))
    if n_steps == 0:
        return uniform - _log_bessel(kappa, order)
    above, here = _log_bessel(kappa, order + n_steps), _log_bessel(kappa, order + n_steps - 1)
    for step in range(n_steps - 1, 0, -1):
        v = order + step
        below = torch.logaddexp(here, above + 2 * torch.log(kappa / 2) - math.log(v * (v + 1)))
        above, here = here, below
    return uniform - here


def _log_bessel(kappa: torch.Tensor, order: float) -> torch.Tensor:
    """Return log J of a large order: Debye's expansion, divided by its own value at kappa = 0."""
    ratio = (kappa / order).square()
    s = (1 + ratio).sqrt()
    rise = ratio / (1 + s)  # s - 1 without cancellation
    smooth = order * (rise - torch.log1p(rise / 2)) - torch.log1p(rise) / 2
    at_zero = math.log(float(_series(torch.ones((), dtype=torch.float64), order)))
    return smooth + torch.log(_series(1 / s, order)) - at_zero


def _series(t: torch.Tensor, order: float) -> torch.Tensor:
    """Return 1 + u1/v + u2/v^2 + u3/v^3 + u4/v^4 (DLMF 10.41.10)."""
    q = t * t
    u1 = t * (3 - 5 * q) / 24
    u2 = q * (81 + q * (-462 + q * 385)) / 1152
    u3 = t * q * (30375 + q * (-369603 + q * (765765 - q * 425425))) / 414720
    u4 = 4465125 + q * (-94121676 + q * (349922430 + q * (-446185740 + q * 185910725)))
    u4 = q * q * u4 / 39813120
    return 1 + (u1 + (u2 + (u3 + u4 / order) / order) / order) / order


@torch.no_grad()
def concentration(
    resultant_length: torch.Tensor, dimension: int, *, kappa_min: float = 0.0, kappa_max: float = KAPPA_MAX
) -> torch.Tensor:
    """Return the concentration that a mean resultant length implies.

    ``r (d - r^2) / (1 - r^2)``, an approximation of the maximum likelihood estimate, cut to
    [``kappa_min``, ``kappa_max``]. Few vectors have a long mean whatever their distribution: m random ones
    one of about ``1 / sqrt(m)``.

    Parameters
    ----------
    resultant_length : float tensor in [0, 1]
        Length of the mean of unit vectors.
    dimension : int
        d, at least 1.
    kappa_min, kappa_max : float

    Raises
    ------
    InputError
        The limits are not 0 <= ``kappa_min`` <= ``kappa_max`` < infinity.

    References
    ----------
    .. [1] Banerjee, Dhillon, Ghosh, Sra. "Clustering on the Unit Hypersphere using von Mises-Fisher
       Distributions", JMLR 6, 2005, equation 4.4.

    Examples
    --------
    >>> concentration(torch.tensor([0.0, 0.5, 1.0]), 3)
    tensor([0.0000e+00, 1.8333e+00, 1.0000e+05])
    """
    if not 0 <= kappa_min <= kappa_max < math.inf:
        raise InputError(
            f"kappa_min is {kappa_min} and kappa_max {kappa_max}; expected 0 <= kappa_min <= kappa_max, "
            "both finite"
        )
    length = resultant_length.clamp(0.0, 1.0)
    square = length.square()
    kappa = torch.where(square < 1, length * (dimension - square) / (1 - square), math.inf)
    return kappa.clamp(kappa_min, kappa_max)
