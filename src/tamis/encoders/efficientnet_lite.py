"""The built-in image encoder: EfficientNet-Lite0 with its ImageNet weights, from installed packages only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tamis.data.dataset import Image
from tamis.encoders.encoder import Sample, SampleKind
from tamis.encoders.precision import Precision, check_precision, fastest_precision
from tamis.encoders.squares import to_square
from tamis.encoders.threads import resolve_device
from tamis.encoders.versions import environment
from tamis.errors import InputError
from tamis.pretrained.efficientnet_lite0 import (
    SCALE_MEAN,
    SCALE_WIDTH,
    WEIGHTS_SHA256,
    load_weights,
    weights_path,
)
from tamis.types import FloatArray

if TYPE_CHECKING:
    import torch

    from tamis.encoders.folded_network import FoldedNetwork

# Small batches keep everything between two convolutions in the cache of one core: 16 images at 128 px
# ran 1.6 times as fast per core as 64.
_BATCH_ROWS = {"cpu": 16, "other": 64}


class EfficientNetLite:
    """Pooled features of EfficientNet-Lite0, 1280 numbers per image.

    Small, fast and offline: for objects and scenes in ordinary photographs. For fine-grained classes, medical
    or aerial images use a larger or a domain model through `TransformersEncoder`.

    Parameters
    ----------
    resolution : int, default 128
        Side in pixels that images are resized to, a multiple of 32 from 32 to 512. 224 suits larger photos
        and takes three times as long.
    precision : {"auto", "float32", "bfloat16"}
        ``"auto"`` measures once per process which is faster.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises
    ------
    InputError
        An argument is out of its range, or the weights file is not the published one.
    MissingExtraError
        The package with the weights is not installed.

    References
    ----------
    .. [1] M. Tan, Q. V. Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML
       2019. The Lite variant has no squeeze-and-excitation and uses ReLU6.

    Examples
    --------
    >>> encoder = EfficientNetLite(precision="float32", device="cpu")
    >>> encoder.encode_batch([np.zeros((20, 30, 3), dtype=np.uint8)]).shape
    (1, 1280)
    """

    is_thread_safe = True
    kind: SampleKind = "image"

    def __init__(self, *, resolution: int = 128, precision: str = "auto", device: str = "auto") -> None:
        if resolution % 32 or not 32 <= resolution <= 512:
            raise InputError(f"resolution is {resolution}; it must be a multiple of 32 from 32 to 512")
        self.resolution = resolution
        self.device = resolve_device(device)
        self._batch_rows = _BATCH_ROWS["cpu" if self.device == "cpu" else "other"]
        chosen = check_precision(precision)
        self.precision: Precision = self._measure() if chosen == "auto" else chosen
        self._network = self._build(self.precision)
        self.dim = self._network.dim

    @property
    def name(self) -> str:
        """``efficientnet-lite0``, with the resolution where it is not 128."""
        return "efficientnet-lite0" + (f"@{self.resolution}" if self.resolution != 128 else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """What ran: resolution, precision, device."""
        return (f"images were encoded at {self.resolution} px in {self.precision} on {self.device}",)

    def fingerprint(self) -> str:
        """Return weights, transform, precision and versions as one line."""
        versions = environment(self.device, "torch", "pillow")
        return (
            f"efficientnet-lite0 {WEIGHTS_SHA256} letterbox-bilinear-{self.resolution} (x-127)/128 mean-pool "
            f"batch-{self._batch_rows} {self.precision} {versions}"
        )

    def encode_batch(self, samples: Sequence[Sample]) -> FloatArray:
        """Return (b, 1280) float32 features of RGB images of any size.

        The network always sees the same number of images at once (missing ones are black), so that the
        features of an image do not depend on how many others come with it.

        Raises
        ------
        InputError
            A sample is not an image.
        """
        import torch

        features = np.empty((len(samples), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(samples), self._batch_rows):
                part = samples[start : start + self._batch_rows]
                pixels = np.zeros((self._batch_rows, self.resolution, self.resolution, 3), dtype=np.uint8)
                for row, image in enumerate(part):
                    if isinstance(image, str):
                        raise InputError(
                            f"encoder {self.name!r} takes images but sample {start + row} is a text"
                        )
                    pixels[row] = to_square(image, self.resolution)
                pooled = self._network.pooled_features(self._scale(pixels))
                features[start : start + len(part)] = pooled[: len(part)].cpu().numpy()
        return features

    def _scale(self, pixels: Image) -> torch.Tensor:
        import torch

        # (b, size, size, 3) seen as (b, 3, size, size) is channels last already.
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        return images.to(torch.float32).sub_(SCALE_MEAN).div_(SCALE_WIDTH)

    def _build(self, precision: Precision) -> FoldedNetwork:
        from tamis.encoders.folded_network import FoldedNetwork

        return FoldedNetwork(load_weights(weights_path()), precision, self.device)

    def _measure(self) -> Precision:
        import torch

        networks: dict[Precision, FoldedNetwork] = {}
        images = torch.zeros((self._batch_rows, 3, 128, 128))

        def run(precision: Precision) -> None:
            if precision not in networks:
                networks[precision] = self._build(precision)
            with torch.inference_mode():
                networks[precision].pooled_features(images)

        return fastest_precision("efficientnet-lite0", run, device=self.device)
