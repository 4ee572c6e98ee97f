"""Retrieval metrics of embeddings, computed from exact rankings in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.evaluation.clusters import cluster_agreement, k_means_clusters
from tamis.evaluation.embeddings import Labelled, checked_rows, class_codes, distances_as_angles
from tamis.evaluation.ranking import Need, Ranking
from tamis.metrics.relevant_levels import RelevantLevels
from tamis.metrics.retrieval import (
    average_precision,
    average_precision_at_r,
    hit_at_k,
    precision_at_k,
    r_precision,
    reciprocal_rank,
)
from tamis.neighbors.vectors import Matrix
from tamis.types import IntArray

Metric: TypeAlias = Literal[
    "precision_at_1",
    "recall_at_k",
    "r_precision",
    "map_at_r",
    "map_at_k",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "cmc",
    "nmi",
    "ami",
]
Distance: TypeAlias = Literal["cosine", "euclidean"]
Labels: TypeAlias = npt.ArrayLike | torch.Tensor

# Most queries find their first relevant item so soon; the others are searched again.
_FIRST_LOOK = 50

_Measure: TypeAlias = Callable[[RelevantLevels], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class RetrievalMetrics:
    """Means over the queries that have a relevant item in the gallery.

    Attributes
    ----------
    scores : mapping of str to float in [0, 1] (``ami`` may fall below 0)
        By name, such as "recall_at_10", "r_precision", "map_at_r"; ``metrics["recall_at_10"]`` reads one.
    cmc : tuple of float
        Cumulative match characteristic: share of queries with a relevant item among the first 1, 2, ...
        items. Empty unless asked for.
    n_queries, n_gallery : int
        Rows passed in.
    n_without_match : int
        Queries without a relevant item in the gallery (members of a class of one): left out of every mean.
    n_zero_queries, n_zero_gallery : int
        Rows of zeros, equally similar to everything (cosine only).
    distance : {"cosine", "euclidean"}
    """

    scores: Mapping[str, float]
    n_queries: int
    n_gallery: int
    n_without_match: int
    n_zero_queries: int
    n_zero_gallery: int
    distance: Distance
    cmc: tuple[float, ...] = field(default=())

    def __getitem__(self, name: str) -> float:
        """Return one score."""
        return self.scores[name]

    def to_json(self) -> dict[str, object]:
        """Return the metrics as JSON values."""
        values: dict[str, object] = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"scores": dict(self.scores), "cmc": list(self.cmc)}


def retrieval_metrics(
    embeddings: Matrix,
    labels: Labels,
    *,
    gallery_embeddings: Matrix | None = None,
    gallery_labels: Labels | None = None,
    k: Sequence[int] = (1, 10),
    metrics: Sequence[Metric] = ("precision_at_1", "recall_at_k", "r_precision", "map_at_r"),
    distance: Distance = "cosine",
    memory_budget: str | int | None = None,
    device: str | None = None,
    seed: int = 0,
) -> RetrievalMetrics:
    """Return how well items of the same label are found by similarity.

    Rankings are exact and come in blocks: no (n, n) matrix, no list longer than needed. Items are equally
    similar if their similarities agree in float32; every metric is then the value expected if the order
    within each tie were drawn at random. So the order of rows, block sizes, memory and names of classes
    change nothing, and a network that maps everything to one point scores what guessing scores.

    Parameters
    ----------
    embeddings : (n, d) float array or tensor
        Queries, of any float type, need not have unit length; finite.
    labels : (n,) int array or tensor
        Any whole numbers.
    gallery_embeddings, gallery_labels : (m, d) and (m,), optional
        Where relevant items are looked for; by default among the queries, each without itself.
    k : sequence of int
        For ``recall_at_k``, ``map_at_k`` and the length of ``cmc`` (up to the largest).
    metrics : sequence of str
        - ``precision_at_1``: share of queries whose first item is relevant.
        - ``recall_at_k``: share of queries with a relevant item among the first k (metric learning's R@k).
        - ``r_precision``: share of relevant items among the first R, for a query with R relevant items.
        - ``map_at_r``: average precision among the first R.
        - ``map_at_k``: average precision among the first k, divided by R.
        - ``mean_average_precision``: over the whole ranking; slower, every pair is looked at in float64.
        - ``mean_reciprocal_rank``: 1 / rank of the first relevant item, however deep.
        - ``cmc``: ``recall_at_k`` for all k up to the largest.
        - ``nmi``, ``ami``: agreement of the labels with k-means clusters of the queries, one for each label.
    distance : {"cosine", "euclidean"}
        With "cosine" a row of zeros has similarity 0 to everything.
    memory_budget : str, int or None
        Such as "256MiB", beside the embeddings; None allows about 1 GiB. k-means keeps a float32 copy more,
        "euclidean" one of queries and gallery.
    device : str, optional
        A torch device; by default that of ``embeddings``, the CPU for arrays.
    seed : int
        Of k-means.

    Returns
    -------
    RetrievalMetrics

    Raises
    ------
    InputError
        Shapes or types do not fit, a value is NaN or infinite, there are no rows, no query has a relevant
        item, or a metric, distance or ``k`` is unknown.

    References
    ----------
    Musgrave, Belongie, Lim (2020): A metric learning reality check, ECCV, section 3.2.

    Examples
    --------
    >>> found = retrieval_metrics(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.2, 1.0]]), [0, 0, 1, 1])
    >>> found["precision_at_1"], found["map_at_r"]
    (1.0, 1.0)
    """
    _check_choices(k, metrics, distance)
    where = device or (str(embeddings.device) if isinstance(embeddings, torch.Tensor) else "cpu")
    queries, gallery = _sides(embeddings, labels, gallery_embeddings, gallery_labels, distance)
    is_own = gallery_embeddings is None
    ranking = Ranking(queries, gallery, is_own=is_own, memory_budget=memory_budget, device=where)
    is_asked = ranking.n_relevant > 0
    if not is_asked.any():
        raise InputError(
            f"none of the {len(queries)} queries has another item of its label in the gallery; "
            "pass the embeddings of classes with two members or more, or a gallery that shares their labels"
        )
    scores, cmc = _ranked_scores(ranking, sorted(set(k)), metrics)
    if {"nmi", "ami"} & set(metrics):
        n_classes = len(np.unique(queries.codes))
        clusters = k_means_clusters(embeddings, n_classes, normalize=distance == "cosine", seed=seed)
        agreement = cluster_agreement(queries.codes, clusters)._asdict()
        scores |= {name: value for name, value in agreement.items() if name in metrics}
    return RetrievalMetrics(
        scores=scores,
        n_queries=len(queries),
        n_gallery=len(gallery),
        n_without_match=int((~is_asked).sum()),
        n_zero_queries=int(queries.is_zero.sum()),
        n_zero_gallery=int(gallery.is_zero.sum()),
        distance=distance,
        cmc=cmc,
    )


def _check_choices(k: Sequence[int], metrics: Sequence[Metric], distance: Distance) -> None:
    if not isinstance(k, Sequence) or len(k) == 0:
        raise InputError(f"k is {k!r}; pass a sequence of ranks, such as (1, 10)")
    bad = [x for x in k if isinstance(x, bool) or not isinstance(x, int | np.integer) or x < 1]
    if bad:
        raise InputError(f"k holds {bad[0]!r}; every rank must be a whole number, at least 1")
    unknown = [metrics] if isinstance(metrics, str) else [x for x in metrics if x not in get_args(Metric)]
    if unknown or len(metrics) == 0:
        raise InputError(
            f"metrics holds {unknown[0] if unknown else 'nothing'!r}; "
            f"pass a sequence of some of {', '.join(get_args(Metric))}"
        )
    if distance not in get_args(Distance):
        raise InputError(f"distance is {distance!r}; choose 'cosine' or 'euclidean'")


def _sides(
    embeddings: Matrix,
    labels: Labels,
    gallery_embeddings: Matrix | None,
    gallery_labels: Labels | None,
    distance: Distance,
) -> tuple[Labelled, Labelled]:
    """Return queries and gallery, checked; without a gallery the queries twice."""
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise InputError("only one of gallery_embeddings and gallery_labels was given; pass both or neither")
    is_zero = is_zero_gallery = checked_rows(embeddings, "embeddings")
    rows = embeddings
    if gallery_embeddings is not None:
        rows = gallery_embeddings
        is_zero_gallery = checked_rows(rows, "gallery_embeddings")
        if rows.shape[1] != embeddings.shape[1]:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} columns but gallery_embeddings {rows.shape[1]}; "
                "encode both with the same network"
            )
    codes, gallery_codes = class_codes(labels, gallery_labels, len(embeddings), len(rows))
    if distance == "cosine":
        return Labelled(embeddings, codes, is_zero), Labelled(rows, gallery_codes, is_zero_gallery)
    lifted, lifted_gallery = distances_as_angles(embeddings, rows)
    no_zero, no_zero_gallery = np.zeros_like(is_zero), np.zeros_like(is_zero_gallery)
    return Labelled(lifted, codes, no_zero), Labelled(lifted_gallery, gallery_codes, no_zero_gallery)


def _ranked_scores(
    ranking: Ranking, ranks: list[int], metrics: Sequence[Metric]
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Return the means of what is computed from rankings, by name, and the match characteristic."""
    measures = _measures(ranks, metrics)
    need = _need(ranking.n_relevant, ranks[-1], set(metrics))
    values = {name: np.full(len(ranking.n_relevant), np.nan) for name in measures}
    for rows, levels in ranking.levels(need) if measures else ():
        for name, measure in measures.items():
            values[name][rows] = measure(levels)
    is_asked = ranking.n_relevant > 0
    means = {name: float(value[is_asked].mean()) for name, value in values.items()}
    cmc = tuple(means.pop(name) for name in list(means) if name.startswith("cmc_at_"))
    return means, cmc


def _need(n_relevant: IntArray, last: int, metrics: set[Metric]) -> Need:
    """Return how much of each ranking the metrics see, ``last`` the largest k."""
    first_within = last if {"recall_at_k", "cmc"} & metrics else 1
    if "mean_reciprocal_rank" in metrics:
        first_within = np.iinfo(np.int64).max
    depth = np.full(len(n_relevant), min(first_within, _FIRST_LOOK), dtype=np.int64)
    if "map_at_k" in metrics:
        depth = np.maximum(depth, last)
    if {"r_precision", "map_at_r"} & metrics:
        depth = np.maximum(depth, n_relevant)
    return Need(depth, first_within, "mean_average_precision" in metrics)


def _measures(ranks: list[int], metrics: Sequence[Metric]) -> dict[str, _Measure]:
    """Return the measures asked for, by the names of their means."""
    single: dict[str, _Measure] = {
        "precision_at_1": partial(precision_at_k, k=1),
        "r_precision": r_precision,
        "map_at_r": average_precision_at_r,
        "mean_average_precision": average_precision,
        "mean_reciprocal_rank": reciprocal_rank,
    }
    measures = {name: measure for name, measure in single.items() if name in metrics}
    if "recall_at_k" in metrics:
        measures |= {f"recall_at_{k}": partial(hit_at_k, k=k) for k in ranks}
    if "map_at_k" in metrics:
        measures |= {f"map_at_{k}": partial(average_precision, k=k) for k in ranks}
    if "cmc" in metrics:
        measures |= {f"cmc_at_{k}": partial(hit_at_k, k=k) for k in range(1, ranks[-1] + 1)}
    return measures
