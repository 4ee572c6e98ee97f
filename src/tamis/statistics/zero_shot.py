"""Class probabilities from the embeddings of images and of prompts, without any label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError

TEMPERATURE = 0.07
"""Of the published selection; smoother than the 0.01 that such models are trained with."""

_BLOCK_CELLS = 2**22


def zero_shot_probabilities(
    image_features: npt.ArrayLike,
    text_features: Sequence[npt.ArrayLike],
    *,
    temperature: float = TEMPERATURE,
) -> npt.NDArray[np.float64]:
    """Return P(class | image) from similarities of images and prompts.

    A class scores the sum over its prompts of ``exp(cosine / temperature)``, so that a class with more
    prompts has a larger prior: give all about as many.

    Parameters
    ----------
    image_features : (n, d) float
        Embeddings of a vision-language model, of any length; a row of zeros is equally near to all prompts.
    text_features : sequence of K arrays (m_c, d) float
        Embeddings of the prompts of each class, at least one a class, from the same model.
    temperature : float, default=0.07
        Above 0; lower = surer.

    Returns
    -------
    (n, K) float64 array
        Rows sum to 1.

    Raises
    ------
    InputError
        Shapes do not match, a class without a prompt, NaN or infinity, or a temperature of 0 or less.

    References
    ----------
    .. [1] Feng, Tzimiropoulos, Patras. "CLIPCleaner: Cleaning Noisy Labels with CLIP", ACM Multimedia 2024.

    Examples
    --------
    >>> zero_shot_probabilities([[2.0, 0.0]], [[[1.0, 0.0]], [[0.0, 3.0]]], temperature=1.0).round(3)
    array([[0.731, 0.269]])
    """
    images = feature_matrix(image_features, "image_features")
    if len(text_features) == 0:
        raise InputError("text_features is empty; give one array of prompt embeddings a class")
    prompts = [feature_matrix(each, f"text_features[{code}]") for code, each in enumerate(text_features)]
    for code, each in enumerate(prompts):
        if len(each) == 0 or each.shape[1] != images.shape[1]:
            raise InputError(
                f"text_features[{code}] has shape {each.shape}; expected (prompts, {images.shape[1]}), at "
                "least one prompt, embedded by the model that embedded the images"
            )
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature is {temperature}; expected a finite number above 0")
    texts = _unit(np.concatenate(prompts))
    starts = np.cumsum([0, *(len(each) for each in prompts[:-1])])
    probs = np.empty((len(images), len(prompts)))
    step = max(1, _BLOCK_CELLS // len(texts))
    for start in range(0, len(images), step):
        logits = _unit(images[start : start + step]) @ texts.T / temperature  # (b, prompts)
        # Relative to the nearest prompt nothing overflows, and the sum is at least 1.
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        sums = np.add.reduceat(weights, starts, axis=1)
        probs[start : start + step] = sums / sums.sum(axis=1, keepdims=True)
    return probs


def feature_matrix(values: npt.ArrayLike, name: str) -> npt.NDArray[np.floating]:
    """Return a checked (n, d) matrix of finite real numbers.

    Raises
    ------
    InputError
        Another shape or type, or NaN or infinity.
    """
    matrix = np.asarray(values)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise InputError(f"{name} has shape {matrix.shape} and dtype {matrix.dtype}; expected (n, d) numbers")
    is_finite = np.isfinite(matrix).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise InputError(f"{name} row {row} holds NaN or infinity; leave such rows out")
    return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64)


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    wide = rows.astype(np.float64)
    # By the largest entry first, so that squares neither overflow nor vanish.
    scale = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    wide /= np.where(scale > 0, scale, 1.0)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit: npt.NDArray[np.float64] = wide / np.where(length > 0, length, 1.0)
    return unit
