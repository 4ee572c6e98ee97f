"""Instance-dependent noise: which wrong label a sample gets depends on its features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import (
    check_classes,
    check_codes,
    check_features,
    check_finite,
    check_number,
    check_rate,
)
from tamis.noise.draws import categories, normal_quantiles, normals, uniforms
from tamis.noise.hits import class_rows
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray

_BLOCK_CELLS = 2_000_000


class FlipRateMoments(NamedTuple):
    """Mean and standard deviation of the flip rates of samples."""

    mean: float
    std: float


@NOISE_MODELS.register(
    "instance_dependent",
    Facts(
        title="Instance-dependent",
        inputs=("features",),
        year=2020,
        paper="Xia et al.: Part-dependent label noise: towards instance-dependent label noise, NeurIPS",
    ),
)
def instance_dependent(
    labels: npt.ArrayLike,
    features: npt.ArrayLike,
    rate: float = 0.4,
    n_classes: int = 10,
    random_state: int = 0,
    *,
    per_class_projection: bool = True,
    std: float = 0.1,
    temperature: float = 1.0,
    keep_probs: bool = True,
) -> NoisyLabels:
    """Return labels of which each is wrong with a probability of its own, in a way its features decide.

    Every sample has a flip rate, drawn from a normal distribution around ``rate`` and truncated to [0, 1],
    and a distribution over the wrong classes, the softmax of a random projection of its features. The
    realised rate is ``flip_rate_moments(rate, std).mean`` in expectation: above ``rate`` near 0, below it
    near 1.

    The scale of the features matters: the projections have the variance ``|x| ** 2``, so for images (3,072
    numbers in [0, 1]) nearly all mass is on a single wrong class, and [0, 1], [0, 255] and standardised
    inputs give different noise. The published models take images in [0, 1] or standardised.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``; classes without a sample are fine.
    features : (n, ...) real
        Finite; further axes are flattened. Read block by block, so a memory map stays on disk.
    rate : float
        In [0, 1]: centre of the flip rates.
    n_classes : int
        K, at least 2.
    random_state : int
        Seed, 0 to 2**64 - 1.
    per_class_projection : bool
        One projection for every clean class [1]_, or a single one that all classes share [2]_: then the
        favoured wrong class does not depend on the clean label.
    std : float
        Standard deviation of the flip rates before truncation, at least 0 (0 = all equal ``rate``).
    temperature : float
        Divides the projections; above 1 spreads the errors over more classes. Not part of the published
        model, whose value is 1.
    keep_probs : bool
        Keep the (n, K) probabilities in ``sample_probs``; turn off where they do not fit into memory.

    Returns
    -------
    NoisyLabels
        ``transition`` is None; ``expected_rate`` is the mean of the flip rates drawn.

    Raises
    ------
    InputError
        If an argument is outside its range, or the features hold NaN or infinity.

    References
    ----------
    .. [1] X. Xia et al., "Part-dependent Label Noise", NeurIPS 2020.
    .. [2] J. Wei et al., "Learning with Noisy Labels Revisited", ICLR 2022 (the code).

    Examples
    --------
    >>> features = np.arange(12.0).reshape(6, 2) / 12
    >>> noisy = instance_dependent([0, 1, 2, 0, 1, 2], features, rate=0.3, n_classes=3)
    >>> noisy.sample_probs.shape, noisy.transition is None
    ((6, 3), True)
    """
    n_classes = check_classes(n_classes)
    true = check_codes(labels, n_classes)
    matrix = check_features(features, len(true))
    temperature = check_number(temperature, "temperature", above=0)
    rates = flip_rates(rate, len(true), std=std, random_state=random_state)
    draws = uniforms(random_state, "instance_dependent", len(true), 1)[:, 0]

    noisy = np.empty_like(true)
    kept = np.empty((len(true), n_classes)) if keep_probs else None
    shared = None if per_class_projection else _projection(random_state, matrix.shape[1], n_classes, 0)
    for code, members in class_rows(true):
        own = _projection(random_state, matrix.shape[1], n_classes, code) if shared is None else shared
        for rows in _blocks(members, max(n_classes, matrix.shape[1])):
            probs = _block_probs(matrix, rows, code, rates[rows], own / temperature)
            noisy[rows] = categories(probs, draws[rows])
            if kept is not None:
                kept[rows] = probs
    return NoisyLabels.from_flips(
        true,
        noisy,
        None,
        nominal_rate=check_rate(rate),
        expected_rate=float(rates.mean()) if len(rates) else 0.0,
        n_classes=n_classes,
        model="instance_dependent",
        convention="one projection a class" if per_class_projection else "one projection for all classes",
        sample_probs=kept,
        details={"std": float(std), "temperature": temperature},
    )


def instance_dependent_probs(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    flip_rates: npt.ArrayLike,
    projection: npt.ArrayLike,
    *,
    temperature: float = 1.0,
) -> FloatArray:
    """Return P(noisy label) of every sample, given its flip rate and the projection.

    Parameters
    ----------
    features : (n, d) real
        Finite; further axes are flattened.
    labels : (n,) integers
        Clean label codes.
    flip_rates : (n,) float
        In [0, 1]: the probability that the label is wrong.
    projection : (K, d, K) or (d, K) float
        One for every clean class, or one that all share.
    temperature : float
        Above 0.

    Returns
    -------
    (n, K) float64
        Rows sum to 1; 1 minus the entry of the clean label is the flip rate.

    Raises
    ------
    InputError
        If shapes do not fit, flip rates leave [0, 1], or a number is not finite.

    Examples
    --------
    >>> instance_dependent_probs([[0.0]], [0], [0.4], np.ones((1, 3)))
    array([[0.6, 0.2, 0.2]])
    """
    weights = np.asarray(projection, dtype=np.float64)
    if weights.ndim not in (2, 3) or (weights.ndim == 3 and len(weights) != weights.shape[2]):
        raise InputError(
            f"projection has shape {weights.shape}; give (K, d, K), or (d, K) for one shared by all"
        )
    n_classes = check_classes(weights.shape[-1])
    true = check_codes(labels, n_classes)
    matrix = check_features(features, len(true))
    if weights.shape[-2] != matrix.shape[1] or not np.isfinite(weights).all():
        raise InputError(
            f"projection has shape {weights.shape} and features have {matrix.shape[1]} columns; the second "
            "to last axis of a finite projection must be as long"
        )
    rates = np.asarray(flip_rates, dtype=np.float64)
    if rates.shape != true.shape or not ((rates >= 0) & (rates <= 1)).all():
        raise InputError(f"flip_rates must be {len(true)} numbers from 0 to 1, one a sample")
    weights = weights / check_number(temperature, "temperature", above=0)
    probs = np.empty((len(true), n_classes))
    for code, members in class_rows(true):
        own = weights if weights.ndim == 2 else weights[code]
        for rows in _blocks(members, max(n_classes, matrix.shape[1])):
            probs[rows] = _block_probs(matrix, rows, code, rates[rows], own)
    return probs


def flip_rates(rate: float, n_samples: int, *, std: float = 0.1, random_state: int = 0) -> FloatArray:
    """Return the flip rate of every sample: normal around ``rate``, truncated to [0, 1].

    Parameters
    ----------
    rate : float
        In [0, 1].
    n_samples : int
    std : float
        At least 0, before truncation.
    random_state : int

    Returns
    -------
    (n_samples,) float64
        Entry i depends on the seed, the rate and i alone.

    Examples
    --------
    >>> bool(abs(flip_rates(0.05, 20_000).mean() - flip_rate_moments(0.05).mean) < 0.002)
    True
    """
    rate, std = check_rate(rate), check_number(std, "std")
    draws = uniforms(random_state, "instance_dependent.flip_rates", n_samples, 1)[:, 0]
    if std == 0:
        return np.full(n_samples, rate)
    from scipy.special import ndtr

    low, high = ndtr(-rate / std), ndtr((1 - rate) / std)
    return np.clip(rate + std * normal_quantiles(low + draws * (high - low)), 0, 1)


def flip_rate_moments(rate: float, std: float = 0.1) -> FlipRateMoments:
    """Return mean and standard deviation of the flip rates: of a normal truncated to [0, 1].

    The mean is the realised rate to be expected of instance-dependent noise.

    Parameters
    ----------
    rate : float
        In [0, 1].
    std : float
        At least 0, before truncation.

    Examples
    --------
    >>> round(flip_rate_moments(0.05).mean, 4), round(flip_rate_moments(0.4).mean, 4)
    (0.1009, 0.4)
    """
    rate, std = check_rate(rate), check_number(std, "std")
    if std == 0:
        return FlipRateMoments(rate, 0.0)
    from scipy.special import ndtr

    low, high = -rate / std, (1 - rate) / std
    mass = float(ndtr(high) - ndtr(low))
    density_low, density_high = (
        float(np.exp(-0.5 * edge * edge) / np.sqrt(2 * np.pi)) for edge in (low, high)
    )
    shift = (density_low - density_high) / mass
    variance = 1 + (low * density_low - high * density_high) / mass - shift**2
    return FlipRateMoments(rate + std * shift, std * float(np.sqrt(max(variance, 0.0))))


def _projection(random_state: int, n_features: int, n_classes: int, stream: int) -> npt.NDArray[np.float64]:
    """Return the (d, K) standard normal projection of one class."""
    return normals(random_state, "instance_dependent.projection", n_features, n_classes, stream)


def _blocks(rows: IntArray, width: int) -> Iterator[IntArray]:
    step = max(1, _BLOCK_CELLS // width)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _block_probs(
    matrix: FloatArray, rows: IntArray, code: int, rates: FloatArray, projection: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return (b, K) probabilities of rows that share the clean label ``code``."""
    block = matrix[rows].astype(np.float64)  # (b, d)
    check_finite(block, rows)
    scores = block @ projection  # (b, K)
    scores[:, code] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores *= (rates / scores.sum(axis=1))[:, None]
    scores[:, code] = 1 - rates
    return scores
