"""A map of the features: some samples by their first two principal components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.auditing.material import Material
from tamis.reduction import PCA
from tamis.statistics.canonical import canonical_classes, canonical_rows
from tamis.types import FloatArray, IntArray

_MOST = 2_000
"""Samples on the map at most; half of the places are kept for samples that are not flagged."""


def map_features(material: Material, issues: pa.Table) -> pa.Table | None:
    """Return where samples lie on a map, the report's picture of the features.

    All flagged samples are on it, up to 1,000 (more where the others leave places free), and an even share of
    the others. The choice and the places depend on content alone, not on the order of rows or on names.

    Parameters
    ----------
    material : Material
    issues : pyarrow.Table
        The issue table, of which ``is_label_issue`` is read.

    Returns
    -------
    pyarrow.Table or None
        row (int64), x and y (float32), by content; the schema's metadata hold ``variance``, the share of
        the variance of these samples that the map shows. None without features, or where all are equal.
    """
    if material.features is None:
        return None
    is_flagged = np.asarray(issues["is_label_issue"].combine_chunks(), dtype=bool)
    chosen = _choose(material, is_flagged)
    features = np.asarray(material.features[chosen], dtype=np.float64)
    if len(features) < 3 or (features == features[0]).all():
        return None
    features /= np.abs(features).max()  # squares of huge numbers would overflow
    total = float(np.var(features, axis=0).sum())
    if total == 0:  # differences so small that their squares vanish
        return None
    places = _principal_plane(features)
    variance = min(1.0, float(np.var(places, axis=0).sum()) / total)
    columns = {"row": chosen, "x": places[:, 0].astype(np.float32), "y": places[:, 1].astype(np.float32)}
    return pa.table(columns).replace_schema_metadata({"variance": f"{variance:.4f}"})


def _choose(material: Material, is_flagged: npt.NDArray[np.bool_]) -> IntArray:
    """Return the rows on the map, (m,), ordered by content."""
    codes, digests = material.dataset.label_codes, material.digests
    classes = canonical_classes(digests, codes, material.dataset.n_classes)
    order = canonical_rows(digests, codes, classes)
    is_readable = np.ones(len(order), dtype=bool)
    is_readable[list(material.unreadable)] = False
    order = order[is_readable[order]]
    flagged, others = np.flatnonzero(is_flagged[order]), np.flatnonzero(~is_flagged[order])
    shown = _share(flagged, max(_MOST // 2, _MOST - len(others)))
    rest = _share(others, _MOST - len(shown))
    rows: IntArray = order[np.sort(np.concatenate([shown, rest]))]
    return rows


def _share(places: IntArray, most: int) -> IntArray:
    """Return at most so many places, evenly spaced; as they are in the order of hashes, a fair sample."""
    n = min(len(places), most)
    return places[np.arange(n) * len(places) // max(1, n)]


def _principal_plane(features: FloatArray) -> FloatArray:
    """Return (m, 2) coordinates; of a single column the second are 0."""
    n_components = min(2, features.shape[1])
    places = np.zeros((len(features), 2))
    places[:, :n_components] = PCA(n_components=n_components).fit_transform(features)
    return places
