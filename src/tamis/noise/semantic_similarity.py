"""Semantic noise from embeddings: a class is taken for those whose names mean nearly the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_codes, check_number, check_rate, check_whole
from tamis.noise.draws import picks, uniforms
from tamis.noise.hits import class_rows
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.registry import Facts
from tamis.types import FloatArray


@NOISE_MODELS.register(
    "semantic_similarity",
    Facts(title="Semantic (embeddings of the class names)", inputs=("class_embeddings",)),
)
def semantic_similarity(
    labels: npt.ArrayLike,
    class_embeddings: npt.ArrayLike,
    rate: float = 0.4,
    random_state: int = 0,
    *,
    temperature: float = 0.1,
    n_partners: int | None = None,
) -> NoisyLabels:
    """Return labels of which a share was replaced by a class whose embedding is similar.

    The embeddings are meant to be those of the class names by a text model, but any vectors in which near
    means alike will do, such as class means of image features. The model is ours; no paper is followed.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to K - 1.
    class_embeddings : (K, e) float
        One vector a class, not zero; only its direction matters.
    rate : float
        In [0, 1]: the probability that a sample gets a new class; never its own.
    random_state : int
        Seed, 0 to 2**64 - 1.
    temperature : float
        Above 0. The chance of another class is in proportion to ``exp(cosine / temperature)``: lower = the
        nearest class only.
    n_partners : int, optional
        Only so many of the nearest classes, those equally near included; by default all others.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    InputError
        If an argument is outside its range, or an embedding is zero, missing or not finite.

    Examples
    --------
    >>> embeddings = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    >>> semantic_similarity([0, 1], embeddings, rate=1.0, temperature=0.01).labels
    array([1, 0])
    """
    shares = _shares(class_embeddings, check_number(temperature, "temperature", above=0), n_partners)
    n_classes = len(shares)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    draws = uniforms(random_state, "semantic_similarity", len(true), 2)
    is_hit = draws[:, 0] < rate
    noisy = true.copy()
    for code, members in class_rows(true):
        rows = members[is_hit[members]]
        noisy[rows] = picks(shares[code], draws[rows, 1])
    return NoisyLabels.from_flips(
        true,
        noisy,
        lambda: (1 - rate) * np.eye(n_classes) + rate * shares,
        nominal_rate=rate,
        expected_rate=rate if len(true) else 0.0,
        n_classes=n_classes,
        model="semantic_similarity",
        convention=f"softmax of cosine / {temperature:g} over "
        + ("all other classes" if n_partners is None else f"the {n_partners} nearest classes"),
    )


def _shares(class_embeddings: npt.ArrayLike, temperature: float, n_partners: int | None) -> FloatArray:
    """Return (K, K) probabilities of the new class, 0 on the diagonal."""
    vectors = np.array(class_embeddings, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) < 2:
        raise InputError(f"class_embeddings has shape {vectors.shape}; give one vector a class, (K >= 2, e)")
    lengths = np.linalg.norm(vectors, axis=1)
    is_bad = ~(np.isfinite(lengths) & (lengths > 0))
    if is_bad.any():
        raise InputError(
            f"class_embeddings row {int(np.argmax(is_bad))} is zero or not finite; every class needs "
            "a direction"
        )
    vectors /= lengths[:, None]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    if n_partners is not None:
        n_partners = min(check_whole(n_partners, "n_partners", 1), len(vectors) - 1)
        least = -np.partition(-cosines, n_partners - 1, axis=1)[:, n_partners - 1]
        cosines[cosines < least[:, None]] = -np.inf
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
    shares: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return shares
