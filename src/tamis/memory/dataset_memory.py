"""A memory with one place for every sample of the data set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.statistics.class_sums import unit_rows


class DatasetMemory(nn.Module):
    """The latest embedding of every sample, by its row in the data set, and which have one yet.

    InsCLR keeps two: features of augmented samples, which the loss compares with, and of samples as they are,
    from which positives are mined. All tensors are buffers of fixed shape, so ``state_dict`` is complete.

    Parameters
    ----------
    n_samples, n_features : int, at least 1
    has_plain : bool, default=True
        Whether features of samples as they are, not augmented, are kept too; twice the memory.
    dtype : torch.dtype, default=torch.float32

    Attributes
    ----------
    features : (N, d) tensor
        Unit rows; zeros where nothing is stored.
    plain : (N, d) tensor
        Likewise; (0, d) without ``has_plain``.
    is_stored : (N,) bool tensor

    Raises
    ------
    InputError
        A size under 1.

    Examples
    --------
    >>> memory = DatasetMemory(4, 2, has_plain=False)
    >>> memory.store(torch.tensor([3, 1]), torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    >>> memory.is_stored.tolist(), memory.features[3].tolist(), len(memory)
    ([False, True, False, True], [0.6000000238418579, 0.800000011920929], 2)
    """

    features: Tensor
    plain: Tensor
    is_stored: Tensor

    def __init__(
        self,
        n_samples: int,
        n_features: int,
        *,
        has_plain: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if n_samples < 1 or n_features < 1:
            raise InputError(
                f"n_samples is {n_samples} and n_features {n_features}; expected at least 1 each"
            )
        self.register_buffer("features", torch.zeros(n_samples, n_features, dtype=dtype))
        self.register_buffer("plain", torch.zeros(n_samples if has_plain else 0, n_features, dtype=dtype))
        self.register_buffer("is_stored", torch.zeros(n_samples, dtype=torch.bool))

    def __len__(self) -> int:
        """Return how many samples are stored."""
        return int(self.is_stored.sum())

    @torch.no_grad()
    def store(self, index: Tensor, features: Tensor, plain: Tensor | None = None) -> None:
        """Overwrite the places of a batch; of a sample that stands in it twice, the last row stays.

        Parameters
        ----------
        index : (B,) int64 tensor
            Rows of the data set.
        features : (B, d) float tensor
            Scaled to length 1 here. Rows of zeros, NaN or infinity have no direction: what was stored of such
            a sample stays.
        plain : (B, d) float tensor, optional
            Needed where the memory has ``plain``.

        Raises
        ------
        InputError
            Shapes that do not fit, an index out of range, or ``plain`` missing or not wanted.
        """
        self._refuse(index, features, plain)
        index = index.to(self.features.device)
        rows = unit_rows(features).to(self.features)
        usable = rows.any(dim=1)
        others = None if plain is None else unit_rows(plain).to(self.plain)
        if others is not None:
            usable &= others.any(dim=1)
        usable &= _is_last(index)
        self.features[index[usable]] = rows[usable]
        if others is not None:
            self.plain[index[usable]] = others[usable]
        self.is_stored[index[usable]] = True

    def _refuse(self, index: Tensor, features: Tensor, plain: Tensor | None) -> None:
        n, width = self.features.shape
        if features.shape != (len(index), width) or (plain is not None and plain.shape != features.shape):
            raise InputError(
                f"index {tuple(index.shape)}, features {tuple(features.shape)} and plain "
                f"{None if plain is None else tuple(plain.shape)} do not fit; expected (B,), (B, {width}) "
                "and the same"
            )
        if (plain is not None) != bool(len(self.plain)):
            raise InputError(
                "plain features go with a memory made with has_plain=True, and only with such a memory"
            )
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= n):
            raise InputError(
                f"index runs from {int(index.min())} to {int(index.max())}; expected rows 0 to {n - 1}"
            )


def _is_last(index: Tensor) -> Tensor:
    """Return which rows of a batch are the last with their index: scatters of equal indices are undefined."""
    later = torch.arange(len(index), device=index.device)
    return ~((index[:, None] == index[None, :]) & (later[None, :] > later[:, None])).any(dim=1)
