"""Early-learning regularisation (ELR)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.losses.early_learning import EarlyLearningLoss
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method, Verdict
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.target_verdict import verdict_of_targets
from tamis.registry import Facts


@METHODS.register(
    "elr",
    Facts(
        title="Early-learning regularisation",
        inputs=("any",),
        year=2020,
        paper="S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. Early-learning regularization "
        "prevents memorization of noisy labels. NeurIPS 2020.",
    ),
)
class ELR(Method):
    """Hold the network to a running mean of what it said about each sample before it memorised.

    Good where right labels are learnt well before wrong ones. A network that fits everything within an epoch
    or two has no such time. Its verdict is the running mean, and what the network says of rows it was never
    trained on. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    beta : float in [0, 1], default=0.7
        Share of the past in the running mean.
    lam : float, at least 0, default=3.0
        Weight of the regulariser. The paper: ``beta=0.7, lam=3`` for CIFAR-10 with symmetric noise,
        ``0.9, 1`` with asymmetric, ``0.9, 7`` for CIFAR-100.

    Raises
    ------
    InputError
        ``beta`` out of range.

    Notes
    -----
    The paper: SGD at 0.02, weight decay 0.001, 120 to 150 epochs, with warm restarts or steps. Here 50 epochs
    and half a cosine.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = ELR(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    >>> method.loss.targets.shape
    torch.Size([100, 3])
    """

    recipe = Recipe(weight_decay=1e-3)

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        beta: float = 0.7,
        lam: float = 3.0,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.loss = EarlyLearningLoss(n_samples, n_classes, beta=beta, lam=lam)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Update the batch's targets and return its mean loss."""
        batch = batches["train"]
        loss: Tensor = self.loss(self.network(batch.inputs).logits, batch.labels, batch.index)
        return loss

    def verdict(self, scan: Scan) -> Verdict:
        """Return the targets' shares."""
        targets = self.loss.targets
        return verdict_of_targets(targets, targets.sum(dim=1) > 0, scan.probabilities(), self.known.labels)
