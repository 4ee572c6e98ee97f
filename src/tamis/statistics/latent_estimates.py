"""Prior and noise rates on arrays, under the names that cleanlab has made known.

On tensors they are in `tamis.statistics.latent`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.statistics.joint_estimates import checked_label_counts, compute_confident_joint
from tamis.statistics.latent import PriorMethod
from tamis.statistics.probability_values import ArrayLike
from tamis.statistics.prune_counts import checked_joint
from tamis.types import FloatArray, IntArray


class NoiseEstimates(NamedTuple):
    """Prior and noise rates; unpacks like the tuple of the reference.

    Attributes
    ----------
    py : (K,) float64 array
        P(true class), sums to 1.
    noise_matrix : (K, K) float64 array
        P(given = row | true = column).
    inverse_noise_matrix : (K, K) float64 array
        P(true = row | given = column).
    """

    py: FloatArray
    noise_matrix: FloatArray
    inverse_noise_matrix: FloatArray


def estimate_latent(
    confident_joint: npt.ArrayLike,
    labels: ArrayLike,
    *,
    py_method: PriorMethod = "cnt",
    converge_latent_estimates: bool = False,
) -> NoiseEstimates:
    """Estimate the prior of the true classes and the noise rates in both directions.

    Parameters
    ----------
    confident_joint : (K, K), rows given
        Calibrated or not.
    labels : (n,) int, class codes 0..K-1
    py_method : {"cnt", "eqn", "marginal", "marginal_ps"}, default="cnt"
        See `tamis.statistics.latent.estimate_latent`.
    converge_latent_estimates : bool, default=False
        Make the three agree with each other by turns; see `tamis.statistics.latent.agreeing_estimates`.

    Returns
    -------
    NoiseEstimates
        ``(py, noise_matrix, inverse_noise_matrix)``

    Examples
    --------
    >>> estimate_latent([[6, 2], [0, 4]], [0] * 8 + [1] * 4).noise_matrix.round(3)
    array([[1.   , 0.333],
           [0.   , 0.667]])
    """
    import torch

    from tamis.statistics import latent

    joint = np.asarray(confident_joint)
    joint = checked_joint(joint, len(joint) if joint.ndim else 0, "confident_joint")
    counts = torch.from_numpy(checked_label_counts(labels, len(joint)))
    tensor = torch.from_numpy(np.array(joint, dtype=np.float64))
    estimates = latent.estimate_latent(tensor, counts, prior_method=py_method)
    if converge_latent_estimates:
        estimates = latent.agreeing_estimates(estimates, counts)
    return NoiseEstimates(*(each.numpy() for each in estimates))


def estimate_py_and_noise_matrices_from_probabilities(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    thresholds: npt.ArrayLike | None = None,
    converge_latent_estimates: bool = True,
    py_method: PriorMethod = "cnt",
    calibrate: bool = True,
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Return ``(py, noise_matrix, inverse_noise_matrix, confident_joint)``.

    Parameters as for `compute_confident_joint` and `estimate_latent`.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]]
    >>> py, *_ = estimate_py_and_noise_matrices_from_probabilities([0, 0, 1, 1], probs)
    >>> py.round(3)
    array([0.25, 0.75])
    """
    joint = compute_confident_joint(labels, pred_probs, thresholds=thresholds, calibrate=calibrate)
    estimates = estimate_latent(
        joint, labels, py_method=py_method, converge_latent_estimates=converge_latent_estimates
    )
    return (*estimates, joint)
