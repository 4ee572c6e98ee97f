"""How well clusters of embeddings agree with the labels, by normalised and adjusted mutual information."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.evaluation.embeddings import double_block
from tamis.neighbors.vectors import Matrix, to_unit_grid

# Values read in one round of Lloyd's algorithm up to which it is run in full: seconds on one core.
_FULL_WORK = 2e9
_BATCH = 4096


class ClusterAgreement(NamedTuple):
    """Normalised (arithmetic mean) and adjusted mutual information; 1 = the same partition."""

    nmi: float
    ami: float


def cluster_agreement(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> ClusterAgreement:
    """Return how well an assignment to clusters agrees with the labels.

    Parameters
    ----------
    labels : (n,) int
    clusters : (n,) int
        Names of clusters do not matter.

    Raises
    ------
    InputError
        Lengths differ or are 0.

    References
    ----------
    Vinh, Epps, Bailey (2010): Information theoretic measures for clusterings comparison, JMLR.

    Examples
    --------
    >>> cluster_agreement([0, 0, 1, 1], [5, 5, 3, 3])
    ClusterAgreement(nmi=1.0, ami=1.0)
    """
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    left, right = np.asarray(labels), np.asarray(clusters)
    if left.ndim != 1 or left.shape != right.shape or len(left) == 0:
        raise InputError(
            f"labels has shape {left.shape} and clusters {right.shape}; pass two vectors of one length"
        )
    nmi = float(normalized_mutual_info_score(left, right))
    return ClusterAgreement(nmi, float(adjusted_mutual_info_score(left, right)))


def k_means_clusters(
    embeddings: Matrix, n_clusters: int, *, normalize: bool = True, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the cluster of each row by scikit-learn's k-means.

    Lloyd's algorithm in full where a round takes no more than 2e9 multiplications, else in batches of 4,096
    rows or three a cluster. Rows are put in the order of their values first: clusters do not depend on the
    order in which rows came.

    Parameters
    ----------
    embeddings : (n, d) float array or tensor, finite
    n_clusters : int
        1 to n.
    normalize : bool
        Whether rows get unit length first.
    seed : int
        Of the first centres.

    Raises
    ------
    InputError
        ``n_clusters`` is not in 1..n.

    Examples
    --------
    >>> clusters = k_means_clusters(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]]), 2)
    >>> bool(clusters[0] == clusters[2] != clusters[1])
    True
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    n, d = embeddings.shape
    if not 1 <= n_clusters <= n:
        raise InputError(f"n_clusters is {n_clusters}; legal are 1..{n}, the number of rows")
    rows = np.empty((n, d), dtype=np.float32)
    start = 0
    while start < n:
        block = double_block(embeddings, start)
        rows[start : start + len(block)] = (to_unit_grid(block) if normalize else block).cpu().numpy()
        start += len(block)
    order = _content_order(rows)
    if float(n) * d * n_clusters <= _FULL_WORK:
        model = KMeans(n_clusters, n_init=1, random_state=seed)
    else:
        batch = max(_BATCH, 3 * n_clusters)
        model = MiniBatchKMeans(n_clusters, n_init=1, batch_size=batch, random_state=seed)
    clusters = np.empty(n, dtype=np.int64)
    clusters[order] = model.fit_predict(rows[order])
    return clusters


def _content_order(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the rows ordered by their values; equal rows are interchangeable."""
    # + 0.0 makes -0.0 equal to 0.0.
    words = torch.from_numpy(rows + 0.0).view(torch.int32).numpy().astype(np.int64)
    factors = np.random.default_rng(0).integers(-(2**62), 2**62, size=(2, rows.shape[1])) | 1
    with np.errstate(over="ignore"):
        keys = [(words * factor).sum(axis=1) for factor in factors]
    return np.lexsort(keys)
