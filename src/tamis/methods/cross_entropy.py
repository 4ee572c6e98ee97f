"""Plain cross-entropy: the baseline that every other method has to beat."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn.functional import cross_entropy

from tamis.methods.base import METHODS, Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.registry import Facts


@METHODS.register("cross_entropy", Facts(title="Cross-entropy", inputs=("any",)))
class CrossEntropy(Method):
    """Minimise the cross-entropy of the given labels, right or wrong.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = CrossEntropy(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean cross-entropy of the batch."""
        batch = batches["train"]
        return cross_entropy(self.network(batch.inputs).logits.float(), batch.labels)
