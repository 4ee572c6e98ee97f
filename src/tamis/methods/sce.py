"""Training with the symmetric cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.losses.symmetric_cross_entropy import SymmetricCrossEntropy
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.recipe import Recipe
from tamis.registry import Facts


@METHODS.register(
    "sce",
    Facts(
        title="Symmetric cross-entropy",
        inputs=("any",),
        year=2019,
        paper="Y. Wang, X. Ma, Z. Chen, Y. Luo, J. Yi, J. Bailey. Symmetric cross entropy for robust "
        "learning with noisy labels. ICCV 2019.",
    ),
)
class SCE(Method):
    """Minimise ``alpha CE + beta RCE``: the second term resists wrong labels, the first one learns.

    No noise rate, no state. The weights matter, and the right ones differ between data sets. With an initial
    selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    alpha : float, at least 0, default=0.1
        Weight of the cross-entropy. The paper: 0.1 with ``beta=1`` for CIFAR-10, 6 with ``beta=0.1`` for
        CIFAR-100.
    beta : float, at least 0, default=1.0
        Weight of the reverse cross-entropy.

    Raises
    ------
    InputError
        A weight out of range.

    Notes
    -----
    The paper: SGD at 0.01. Here 50 epochs, and the steps of GCE.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = SCE(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ...     alpha=6.0,
    ...     beta=0.1,
    ... )
    """

    recipe = Recipe(lr=0.01, weight_decay=1e-4, schedule="steps", milestones=(1 / 3, 2 / 3))

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        alpha: float = 0.1,
        beta: float = 1.0,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.loss = SymmetricCrossEntropy(alpha, beta)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean loss of the batch."""
        batch = batches["train"]
        loss: Tensor = self.loss(self.network(batch.inputs).logits, batch.labels)
        return loss
