"""Erasing attention consistency (EAC)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.backbones.classifier import Outputs
from tamis.errors import InputError
from tamis.losses.flip_attention import EraseAttentionConsistency
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.recipe import Recipe
from tamis.registry import Facts
from tamis.statistics.labelled_logits import at_least_float32

_DECAYS = 60


@METHODS.register(
    "eac",
    Facts(
        title="Erasing attention consistency",
        inputs=("image",),
        year=2022,
        paper="Y. Zhang, C. Wang, X. Ling, W. Deng. Learn from all: erasing attention consistency for noisy "
        "label facial expression recognition. ECCV 2022.",
    ),
)
class EAC(Method):
    """Cross-entropy on partly erased images, whose mirror images must draw mirrored attention.

    A wrong label is learnt from some small region; regions come and go, and the mirror image, which has no
    label, must attend to the same places. No noise rate, no state, all samples are used. Only for images
    whose mirror image is of the same class, and networks that end in a mean over places and a linear head.
    With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    consistency_weight : float, at least 0, default=5.0
        The paper's, for images of 224 pixels. The consistency grows with the square of the features; the log
        shows its ``ratio`` to the cross-entropy. 0 is cross-entropy on partly erased images.
    shared_erasing : bool, default=False
        Erase (and disturb) the mirror image where the image is, instead of somewhere of its own: what the
        authors' code does on clean labels.

    Raises
    ------
    InputError
        The weight is out of range. When trained: the network hands out no maps, or mirror images are said to
        change their class.

    Notes
    -----
    The paper: Adam at 0.0001 from a network trained on faces, multiplied with 0.9 after each of 60 epochs,
    batches of 32. Here 0.001, for networks trained from scratch, batches of 128, and the same 60 decays
    spread over 50 epochs.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = EAC(
    ...     lambda number: build_backbone("small_cnn", input_shape=(3, 32, 32), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    >>> method.views
    ('eac', 'eac_mirror')
    """

    recipe = Recipe(
        optimizer="adam",
        lr=1e-3,
        weight_decay=1e-4,
        schedule="steps",
        milestones=tuple(number / _DECAYS for number in range(1, _DECAYS)),
        gamma=0.9,
    )
    views = ("eac", "eac_mirror")

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        consistency_weight: float = 5.0,
        shared_erasing: bool = False,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.loss = EraseAttentionConsistency(consistency_weight)
        self.shared_erasing = shared_erasing

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the cross-entropy of the images, plus how far attention differs from the mirror images'."""
        batch = batches["train"]
        images, mirrored = batch.views
        if self.shared_erasing:
            mirrored = images.flip(-1)
        outputs = self.network(images)
        if self.loss.consistency_weight == 0:
            return cross_entropy(at_least_float32(outputs.logits), batch.labels)
        maps, maps_mirrored = maps_of(outputs), maps_of(self.network(mirrored))
        loss: Tensor = self.loss(outputs.logits, batch.labels, maps, maps_mirrored, self.network.head.weight)
        if self.loss.ratio is not None:
            self.note(ratio=self.loss.ratio)
        return loss


def maps_of(outputs: Outputs) -> Tensor:
    """Return the maps of a network's outputs; `InputError` where it hands out none."""
    if outputs.maps is None:
        raise InputError(
            "eac looks at where a network finds evidence, and this one hands out no maps: it needs a mean "
            "over places before its linear head, such as backbone 'small_cnn' or 'preact_resnet18' with "
            "pool='mean', or 'efficientnet_lite0'"
        )
    return outputs.maps
