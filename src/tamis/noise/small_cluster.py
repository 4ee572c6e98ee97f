"""Small-cluster noise: whole classes are dissolved, and their samples go elsewhere in small groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import (
    check_codes,
    check_features,
    check_finite,
    check_rate,
    check_whole,
    count_classes,
)
from tamis.noise.draws import below, uniforms
from tamis.noise.grouping import k_means
from tamis.noise.hits import class_rows
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray


@NOISE_MODELS.register(
    "small_cluster",
    Facts(
        title="Small-cluster (open-set)",
        inputs=("features",),
        task="retrieval",
        year=2021,
        paper="Liu et al.: Noise-resistant deep metric learning with ranking-based instance selection, CVPR",
    ),
)
def small_cluster(
    labels: npt.ArrayLike,
    features: npt.ArrayLike,
    rate: float = 0.25,
    n_classes: int | None = None,
    random_state: int = 0,
) -> NoisyLabels:
    """Return labels of fewer classes: some were dissolved, their samples given to the others in small groups.

    Classes are dissolved in random order until at least ``rate`` of the samples belong to dissolved ones.
    Each is split by k-means into half as many groups as it has samples, and each group gets the label of a
    random surviving class. Wrong samples so come in visually alike clumps and their true class is none of
    the classes: made for metric learning. The published lists were matched by measurement, because their
    generator was not released.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``.
    features : (n, ...) real
        Of a pretrained network, finite where they are used; further axes are flattened. Groups are found by
        Euclidean distance: scale rows to unit norm for that of the cosine.
    rate : float
        In [0, 1): the share of samples to dissolve. It is reached from above, by less than one class.
    n_classes : int, optional
        Number of clean classes; by default the largest code plus 1. Classes without a sample vanish.
    random_state : int
        Seed, 0 to 2**64 - 1.

    Returns
    -------
    NoisyLabels
        ``labels`` are renumbered from 0 and ``class_ids`` has the clean code of each; ``is_open`` equals
        ``is_wrong``; ``realised_transition`` has a row for every clean class and a column for every
        surviving one; ``details`` counts dissolved classes, groups and classes without a sample.

    Raises
    ------
    InputError
        If an argument is outside its range, the rate would dissolve every class, or the features of a
        dissolved class hold NaN or infinity.

    References
    ----------
    .. [1] C. Liu et al., "Noise-resistant Deep Metric Learning with Ranking-based Instance Selection",
       CVPR 2021.

    Examples
    --------
    >>> labels, features = np.repeat(np.arange(4), 6), np.arange(24.0)[:, None]
    >>> noisy = small_cluster(labels, features, rate=0.25)
    >>> noisy.n_classes, noisy.realised_rate, noisy.details["n_groups"] <= 3
    (3, 0.25, True)
    """
    if n_classes is None:
        n_classes = count_classes(labels)
    true = check_codes(labels, check_whole(n_classes, "n_classes", 1))
    matrix = check_features(features, len(true))
    rate = check_rate(rate)
    sizes = np.bincount(true, minlength=n_classes)
    dissolved = _dissolved(sizes, rate, random_state)
    survivors = np.setdiff1d(np.flatnonzero(sizes), dissolved)

    is_dissolved = np.isin(np.arange(n_classes), dissolved)
    noisy, n_groups = true.copy(), 0
    for code, rows in class_rows(true):
        if is_dissolved[code]:
            groups, targets = _split(matrix, rows, code, len(survivors), random_state)
            noisy[rows] = survivors[targets[groups]]
            n_groups += len(np.unique(groups))

    is_wrong = is_dissolved[true]
    new_code = np.full(n_classes, -1)
    new_code[survivors] = np.arange(len(survivors))
    return NoisyLabels(
        labels=new_code[noisy],
        is_wrong=is_wrong,
        is_open=is_wrong.copy(),
        true_labels=true,
        nominal_rate=rate,
        n_classes=len(survivors),
        n_true_classes=n_classes,
        expected_rate=None,
        model="small_cluster",
        convention="k-means, one group for two samples; uniform surviving class",
        class_ids=survivors,
        details={
            "n_dissolved_classes": len(dissolved),
            "n_groups": n_groups,
            "n_empty_classes": int((sizes == 0).sum()),
        },
    )


def _split(
    matrix: FloatArray, rows: IntArray, code: int, n_survivors: int, random_state: int
) -> tuple[IntArray, IntArray]:
    """Return the group of every row of a class, and the surviving class (by place) of every group."""
    points = matrix[rows].astype(np.float64)
    check_finite(points, rows)
    draws = uniforms(random_state, "small_cluster.groups", max(1, len(rows) // 2), 2, stream=code)
    return k_means(points, draws[:, 0]), below(draws[:, 1], n_survivors)


def _dissolved(sizes: IntArray, rate: float, random_state: int) -> IntArray:
    """Return the codes to dissolve: in random order, until they hold ``rate`` of the samples."""
    draws = uniforms(random_state, "small_cluster.classes", len(sizes), 1)[:, 0]
    order = np.argsort(draws, kind="stable")
    order = order[sizes[order] > 0]
    # Rounding of rate * n must not dissolve one class more.
    wanted = rate * sizes.sum() * (1 - 1e-12)
    count = int(np.searchsorted(np.concatenate([[0], np.cumsum(sizes[order])]), wanted, side="left"))
    if count and count >= len(order):
        raise InputError(
            f"rate {rate:g} dissolves all {len(order)} classes that have samples; at least one must survive: "
            "lower the rate"
        )
    return order[:count]
