"""What Co-teaching and JoCoR share: two networks, and a share of each batch to leave out."""

from __future__ import annotations

from tamis.methods.base import BuildNetwork, TwoNetworks
from tamis.methods.batches import Moment
from tamis.methods.material import Material, Scan
from tamis.methods.noise_rates import NoiseRate, refuse_noise_rate, resolved_noise_rate
from tamis.methods.spans import refuse_span, span
from tamis.statistics.schedules import drop_rate


class SmallLossPair(TwoNetworks):
    """Two networks that leave out a share of every batch, which rises from 0 to the noise rate.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    noise_rate : float in [0, 1) or "estimate"
        Share of each batch to leave out in the end.
    n_gradual : float
        Epochs until then; below 1 as a share of all epochs.
    exponent : float
        See `tamis.statistics.schedules.drop_rate`.

    Raises
    ------
    InputError
        A parameter out of range, or the noise rate cannot be estimated.
    """

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        noise_rate: NoiseRate,
        n_gradual: float,
        exponent: float,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_noise_rate(noise_rate)
        refuse_span(n_gradual, "n_gradual")
        drop_rate(0, 0.5, exponent=exponent)  # refuses an exponent out of range
        self.noise_rate = noise_rate
        self.n_gradual = n_gradual
        self.exponent = exponent
        self.rate = 0.0

    def prepare(self, material: Material, scan: Scan) -> None:
        """Find out the noise rate where it was not given."""
        super().prepare(material, scan)
        self.rate = resolved_noise_rate(self.noise_rate, material)

    def forget_rate(self, moment: Moment) -> float:
        """Return the share of a batch to leave out now."""
        return drop_rate(moment.epoch, self.rate, span(self.n_gradual, moment.n_epochs), self.exponent)
