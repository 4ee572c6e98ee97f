"""Images of any shape and size as squares of one size."""

from __future__ import annotations

import numpy as np
import PIL.Image

from tamis.data.dataset import Image


def to_square(image: Image, size: int) -> Image:
    """Resize to ``size`` x ``size``, bilinear and antialiased; the aspect ratio is not kept.

    An image that is not square is squeezed, so that nothing of it is cut off. On CIFAR-10 cropped to
    3 : 2 this lost least against the square originals (figures in ``docs/encoders.md``).

    Parameters
    ----------
    image : (height, width, 3) uint8
    size : int
        Side of the square in pixels.

    Examples
    --------
    >>> to_square(np.zeros((3, 5, 3), dtype=np.uint8), 8).shape
    (8, 8, 3)
    """
    if image.shape[:2] == (size, size):
        return image
    picture = PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BILINEAR)
    return np.asarray(picture)
