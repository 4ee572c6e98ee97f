"""Class-conditional noise: any transition matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_codes
from tamis.noise.draws import picks, uniforms
from tamis.noise.hits import class_rows
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.transition import check_transition
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray


@NOISE_MODELS.register("class_conditional", Facts(title="Class-conditional", inputs=("transition",)))
def class_conditional(
    labels: npt.ArrayLike, transition: npt.ArrayLike, random_state: int = 0, *, compat: bool = False
) -> NoisyLabels:
    """Return labels drawn from the row of a transition matrix that belongs to the clean label.

    With ``estimate_transition(clean, human)`` as the matrix it is the synthetic counterpart of human
    labels: the same confusions, but independent of the sample.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to K - 1; classes without a sample are fine.
    transition : (K, K) float
        P(noisy = j | true = i), rows sum to 1 within 1e-6.
    random_state : int
        Seed, 0 to 2**64 - 1 (to 2**32 - 1 with ``compat``).
    compat : bool
        Draw as the Co-teaching line of code does, one multinomial draw a sample of NumPy's legacy
        generator: its labels, sample by sample, at the price of draws that depend on those before.

    Returns
    -------
    NoisyLabels
        ``nominal_rate`` is the mean of 1 minus the diagonal: the rate on classes of equal size.

    Raises
    ------
    InputError
        If the matrix is not square, has a negative or missing entry, or a row that does not sum to 1.

    References
    ----------
    .. [1] G. Patrini et al., "Making deep neural networks robust to label noise", CVPR 2017.
    .. [2] B. Han et al., "Co-teaching", NeurIPS 2018 (``compat``).

    Examples
    --------
    >>> noisy = class_conditional([0, 0, 1, 1], [[1.0, 0.0], [1.0, 0.0]])
    >>> noisy.labels, noisy.nominal_rate
    (array([0, 0, 0, 0]), 0.5)
    """
    matrix = check_transition(transition)
    true = check_codes(labels, len(matrix))
    noisy = _draw_legacy(true, matrix, random_state) if compat else _draw(true, matrix, random_state)
    wrong = 1 - matrix.diagonal()
    return NoisyLabels.from_flips(
        true,
        noisy,
        matrix,
        nominal_rate=min(1.0, max(0.0, float(wrong.mean()))),
        expected_rate=float(wrong[true].mean()) if len(true) else 0.0,
        n_classes=len(matrix),
        model="class_conditional",
        convention="legacy draws" if compat else "one draw a sample",
    )


def _draw(true: IntArray, matrix: npt.NDArray[np.float64], random_state: int) -> IntArray:
    draws = uniforms(random_state, "class_conditional", len(true), 1)[:, 0]
    noisy = np.empty_like(true)
    for code, rows in class_rows(true):
        noisy[rows] = picks(matrix[code], draws[rows])
    return noisy


def _draw_legacy(true: IntArray, matrix: FloatArray, random_state: int) -> IntArray:
    if random_state >= 2**32:
        raise InputError(f"random_state must be below 2**32 with compat=True; got {random_state}")
    flipper = np.random.RandomState(random_state)
    return np.array([flipper.multinomial(1, matrix[code]).argmax() for code in true], dtype=np.int64)
