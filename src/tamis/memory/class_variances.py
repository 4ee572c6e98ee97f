"""How far the embeddings of each class spread, estimated again every few epochs of a training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tamis.statistics.class_moments import ClassMoments, class_moments, empty_moments, merged_moments
from tamis.statistics.labelled_logits import widest
from tamis.statistics.neighbor_variances import NeighborCorrection, corrected_variances
from tamis.statistics.schedules import refuse_rate


class ClassVariances(nn.Module):
    """Mean and variance of each class and dimension over the training set, as IAA keeps them.

    `update` takes one pass over the training set, without augmentation, and merges it with what earlier
    passes said. State is buffers of fixed shape: it moves and is saved with the module.

    Parameters
    ----------
    n_classes, n_features : int
        Classes, and dimensions of an embedding.
    momentum : float in [0, 1], default=0.2
        The largest share of the past, see `tamis.statistics.class_moments.merged_moments`.
    correction : NeighborCorrection, optional
        Let small classes borrow from similar ones. Made for data of few rows a class (the authors: more than
        1,000 classes); without it each class has its own variance only, 0 for a single row.
    dtype : torch.dtype, default=torch.float32
        Of the buffers, each ``n_classes * n_features`` numbers; sums are taken in float64.

    Attributes
    ----------
    means, variances : (C, d) float tensor
    counts : (C,) int64 tensor
        Rows seen in all passes together.
    corrected : (C, d) float tensor or None
        With ``correction``: the variances after it.

    Raises
    ------
    InputError
        A parameter out of its range.

    References
    ----------
    .. [1] Z. Fu, Z. Mao, B. Hu, A.-A. Liu, Y. Zhang. "Intra-class adaptive augmentation with neighbor
       correction for deep metric learning", IEEE TMM 2022.

    Examples
    --------
    >>> spread = ClassVariances(n_classes=2, n_features=1)
    >>> spread.update([(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]))])
    >>> spread.effective[:, 0], spread.counts
    (tensor([1., 0.]), tensor([2, 1]))
    """

    means: Tensor
    variances: Tensor
    counts: Tensor
    corrected: Tensor | None

    def __init__(
        self,
        n_classes: int,
        n_features: int,
        *,
        momentum: float = 0.2,
        correction: NeighborCorrection | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        refuse_rate(momentum, "momentum")
        self.momentum = momentum
        self.correction = correction
        for name, start in (
            empty_moments(n_classes, n_features, torch.zeros(1, dtype=dtype))._asdict().items()
        ):
            self.register_buffer(name, start)
        self.register_buffer("corrected", None if correction is None else self.variances.clone())

    @property
    def effective(self) -> Tensor:
        """(C, d) variances to synthesise with: corrected where there is a correction."""
        return self.variances if self.corrected is None else self.corrected

    @torch.no_grad()
    def update(self, blocks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Merge one pass over the training set.

        Parameters
        ----------
        blocks : iterable of (embeddings, labels)
            (n, d) float embeddings of the network in evaluation mode, **not** scaled to unit length, and (n,)
            class codes; -1 leaves a row out, such as one a selector distrusts: wrong members inflate the
            variance of a class. Classes that do not occur keep what they had.

        Raises
        ------
        InputError
            Shapes or codes do not fit, or a row that is not left out holds NaN or infinity; nothing changes
            then.
        """
        n_classes, n_features = self.means.shape
        self.merge(class_moments(blocks, n_classes, n_features, device=self.means.device))

    @torch.no_grad()
    def merge(self, moments: ClassMoments) -> None:
        """Merge the moments of one pass, such as those of several processes put together."""
        # Buffers are widened: a small step must not be lost to their rounding twice.
        old = ClassMoments(widest(self.means), widest(self.variances), self.counts)
        merged = merged_moments(old, moments, self.momentum)
        self.means.copy_(merged.means)
        self.variances.copy_(merged.variances)
        self.counts.copy_(merged.counts)
        if self.corrected is not None:
            self.corrected.copy_(corrected_variances(merged, self.correction).corrected)
