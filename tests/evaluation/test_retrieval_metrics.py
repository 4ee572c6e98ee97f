"""Retrieval metrics: against the whole matrix, pytorch-metric-learning, in any blocks and orders; edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import tamis.evaluation.ranking
from tamis.errors import InputError, TamisWarning
from tamis.evaluation import RetrievalMetrics, cluster_agreement, k_means_clusters, retrieval_metrics
from tamis.metrics.relevant_levels import levels_of_ranking
from tamis.metrics.retrieval import (
    average_precision,
    average_precision_at_r,
    hit_at_k,
    precision_at_k,
    r_precision,
    reciprocal_rank,
)

RANKED = (
    "precision_at_1",
    "recall_at_k",
    "r_precision",
    "map_at_r",
    "map_at_k",
    "mean_average_precision",
    "mean_reciprocal_rank",
)
LISTED = RANKED[:5]
Data = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def clumps(seed: int, sizes: list[int], d: int = 8, spread: float = 1.5) -> Data:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(len(sizes), d))[labels] + spread * rng.normal(size=(len(labels), d))
    order = rng.permutation(len(labels))
    return rows[order].astype(np.float32), labels[order]


def on_grid(seed: int, n: int = 90) -> Data:
    """Few distinct rows: copies everywhere, and many equal similarities."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, size=(n, 2)).astype(np.float32)
    rows[(rows == 0).all(axis=1)] = 1.0
    return rows, rng.integers(0, 6, n)


CASES: dict[str, Data] = {
    "balanced": clumps(0, [8] * 12),
    "imbalanced": clumps(1, [60, 25, 10, 5, 3, 2, 2]),
    "singletons": clumps(2, [1] * 10 + [4] * 8),
    "two classes": clumps(3, [50, 50], spread=4.0),
    "ties": on_grid(4),
}


def whole_matrix(
    rows: np.ndarray, labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray, own: bool, k: int
) -> dict[str, float]:
    """Return the metrics from the (n, m) matrix of similarities."""

    def unit(x: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        return x / np.where(length > 0, length, 1.0)

    # Rounded: equal similarities differ in the last bits of float64.
    similarity = np.round(unit(rows) @ unit(gallery).T, 6)
    if own:
        np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : len(gallery) - own]
    hits = gallery_labels[order] == labels[:, None]
    levels = levels_of_ranking(hits, np.take_along_axis(similarity, order, axis=1))
    values = {
        "precision_at_1": precision_at_k(levels, 1),
        f"recall_at_{k}": hit_at_k(levels, k),
        "r_precision": r_precision(levels),
        "map_at_r": average_precision_at_r(levels),
        f"map_at_{k}": average_precision(levels, k),
        "mean_average_precision": average_precision(levels),
        "mean_reciprocal_rank": reciprocal_rank(levels),
    }
    return {name: float(np.nanmean(value)) for name, value in values.items()}


@pytest.fixture(params=["lists", "everything"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Short lists where they suffice, or every item for every query."""
    if request.param == "everything":
        monkeypatch.setattr(tamis.evaluation.ranking, "LONGEST_LIST", 0)
    return request.param


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [1, 7])
def test_equal_to_the_whole_matrix(name: str, k: int, way: str) -> None:
    rows, labels = CASES[name]
    found = retrieval_metrics(rows, labels, k=(k,), metrics=LISTED + RANKED[6:])
    expected = whole_matrix(rows, labels, rows, labels, own=True, k=k)
    assert found.scores == pytest.approx({key: expected[key] for key in found.scores}, abs=1e-9)
    found = retrieval_metrics(rows, labels, k=(k,), metrics=RANKED)
    assert found.scores == pytest.approx(expected, abs=1e-9)
    half = len(rows) // 3
    found = retrieval_metrics(
        rows[:half],
        labels[:half],
        gallery_embeddings=rows[half:],
        gallery_labels=labels[half:],
        k=(k,),
        metrics=LISTED + RANKED[6:],
    )
    expected = whole_matrix(rows[:half], labels[:half], rows[half:], labels[half:], own=False, k=k)
    assert found.scores == pytest.approx({key: expected[key] for key in found.scores}, abs=1e-9)


def calculator_scores(
    queries: Data, gallery: Data | None, include: tuple[str, ...], k: int | str | None
) -> dict[str, float]:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    def no_clusters(rows: torch.Tensor, n_clusters: int) -> torch.Tensor:
        raise NotImplementedError

    calculator = AccuracyCalculator(
        include=include,
        k=k,
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
        kmeans_func=no_clusters,
    )
    rows, labels = (torch.from_numpy(part) for part in queries)
    if gallery is None:
        return calculator.get_accuracy(rows, labels)
    return calculator.get_accuracy(rows, labels, *(torch.from_numpy(part) for part in gallery))


NAMES = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
    "mean_average_precision": "mean_average_precision",
    "mean_reciprocal_rank": "mean_reciprocal_rank",
}


@pytest.mark.parametrize("name", ["balanced", "imbalanced", "singletons", "two classes"])
@pytest.mark.parametrize("is_split", [False, True])
def test_equal_to_accuracy_calculator(name: str, is_split: bool, way: str) -> None:
    rows, labels = CASES[name]
    half = len(rows) // 2
    gallery = (rows[half:], labels[half:]) if is_split else None
    queries = (rows[:half], labels[:half]) if is_split else (rows, labels)
    theirs = calculator_scores(queries, gallery, tuple(NAMES.values()), None)
    other = {} if gallery is None else {"gallery_embeddings": gallery[0], "gallery_labels": gallery[1]}
    ours = retrieval_metrics(*queries, **other, metrics=tuple(NAMES))
    # Theirs are means in float32 for the reciprocal rank.
    assert ours.scores == pytest.approx({key: theirs[value] for key, value in NAMES.items()}, abs=1e-6)
    theirs = calculator_scores(queries, gallery, ("mean_average_precision",), 5)
    ours = retrieval_metrics(*queries, **other, k=(5,), metrics=("map_at_k",))
    assert ours["map_at_5"] == pytest.approx(theirs["mean_average_precision"], abs=1e-9)


def test_ties_equal_accuracy_calculator_on_average() -> None:
    # Its ties fall in an order of their own: shuffled rows let it see many.
    rows, labels = on_grid(5, n=40)
    ours = retrieval_metrics(rows, labels, metrics=tuple(NAMES))
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(150):
        order = rng.permutation(40)
        theirs = calculator_scores((rows[order], labels[order]), None, tuple(NAMES.values()), None)
        seen.append([theirs[NAMES[name]] for name in ours.scores])
    mean, error = np.mean(seen, axis=0), np.std(seen, axis=0) / np.sqrt(150)
    assert (np.abs(mean - list(ours.scores.values())) < 4 * error + 1e-3).all()


def test_ties_within_a_class_equal_accuracy_calculator() -> None:
    rows, labels = clumps(6, [6] * 10)
    rows, labels = np.repeat(rows, 3, axis=0), np.repeat(labels, 3)
    theirs = calculator_scores((rows, labels), None, tuple(NAMES.values()), None)
    ours = retrieval_metrics(rows, labels, metrics=tuple(NAMES))
    assert ours.scores == pytest.approx({key: theirs[value] for key, value in NAMES.items()}, abs=1e-6)


def test_match_characteristic_is_recall_at_every_rank() -> None:
    rows, labels = CASES["imbalanced"]
    found = retrieval_metrics(rows, labels, k=(3, 1, 9), metrics=("recall_at_k", "cmc"))
    assert list(found.scores) == ["recall_at_1", "recall_at_3", "recall_at_9"]
    assert len(found.cmc) == 9
    assert found.cmc[2] == found["recall_at_3"]
    assert (np.diff(found.cmc) >= 0).all()


def test_lists_decide_queries_without_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    def none_left(self: object, rows: npt.NDArray[np.int64]) -> list[object]:
        searched.append(len(rows))
        return []

    monkeypatch.setattr(tamis.evaluation.ranking.Ranking, "_all_levels", none_left)
    rows, labels = CASES["balanced"]
    expected = whole_matrix(rows, labels, rows, labels, own=True, k=5)
    found = retrieval_metrics(rows, labels, k=(5,), metrics=LISTED)
    assert searched == [0]
    assert found.scores == pytest.approx({key: expected[key] for key in found.scores}, abs=1e-9)
    # Clumps of 1,000 need longer lists than are made.
    rows, labels = clumps(14, [1000, 300, 4, 4])
    retrieval_metrics(rows, labels)
    assert searched == [0, 1300]


@pytest.mark.parametrize("seed", [0, 1])
def test_recall_beyond_the_list(seed: int) -> None:
    # Most first relevant items lie beyond the ranks that are looked at first.
    rows, _ = clumps(seed, [1] * 500, d=4)
    rows[:40] = rows[40]
    labels = np.random.default_rng(seed).permutation(500) // 2
    for k in (1, 45, 120, 300):
        found = retrieval_metrics(rows, labels, k=(1, k), metrics=("recall_at_k", "precision_at_1"))
        expected = whole_matrix(rows, labels, rows, labels, own=True, k=k)
        assert found[f"recall_at_{k}"] == pytest.approx(expected[f"recall_at_{k}"], abs=1e-9)
        assert found["precision_at_1"] == pytest.approx(expected["precision_at_1"], abs=1e-9)


@pytest.mark.parametrize("name", ["imbalanced", "ties"])
def test_order_of_rows_names_of_classes_and_scale_do_not_matter(name: str) -> None:
    rows, labels = CASES[name]
    found = retrieval_metrics(rows, labels, metrics=RANKED).scores
    order = np.random.default_rng(1).permutation(len(rows))
    assert retrieval_metrics(rows[order], labels[order], metrics=RANKED).scores == pytest.approx(
        found, abs=1e-12
    )
    renamed = np.array([40, -7, 2**60, 3, 0, 12, 5])[labels]
    assert retrieval_metrics(rows, renamed, metrics=RANKED).scores == found
    assert retrieval_metrics(4.0 * rows, labels, metrics=RANKED).scores == found


def test_memory_budget_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = clumps(7, [300, 270, 30] + [10] * 20, d=16)
    metrics = (*LISTED, "mean_reciprocal_rank")
    found = retrieval_metrics(rows, labels, metrics=metrics).scores
    assert retrieval_metrics(rows, labels, metrics=metrics, memory_budget="1MiB").scores == pytest.approx(
        found, abs=1e-12
    )
    monkeypatch.setattr(tamis.evaluation.ranking, "LONGEST_LIST", 0)
    assert retrieval_metrics(rows, labels, metrics=metrics).scores == pytest.approx(found, abs=1e-12)


def test_memory_budget_does_not_matter_with_copies_and_zeros(tmp_path: Path) -> None:
    rows, labels = clumps(13, [6] * 150, d=3, spread=0.5)
    rows, labels = np.repeat(rows, 2, axis=0), np.repeat(labels, 2)
    rows[::60] = 0.0
    found = retrieval_metrics(rows, labels, k=(1, 30), metrics=LISTED)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    tight = retrieval_metrics(mapped, labels, k=(1, 30), metrics=LISTED, memory_budget="1MiB")
    assert tight.scores == pytest.approx(found.scores, abs=1e-12)
    expected = whole_matrix(rows, labels, rows, labels, own=True, k=30)
    assert found.scores == pytest.approx(
        {key: expected.get(key, found[key]) for key in found.scores}, abs=1e-6
    )


@pytest.mark.slow
def test_whole_matrix_agrees_on_a_swept_search() -> None:
    rows, labels = clumps(8, [12] * 700, d=16, spread=1.0)
    found = retrieval_metrics(rows, labels, k=(10,), metrics=LISTED)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    hits = np.empty((len(rows), 20), dtype=bool)
    for start in range(0, len(rows), 1000):
        similarity = unit[start : start + 1000] @ unit.T
        similarity[np.arange(len(similarity)), np.arange(len(similarity)) + start] = -np.inf
        top = np.argpartition(-similarity, 20, axis=1)[:, :20]
        top = np.take_along_axis(
            top, np.argsort(-np.take_along_axis(similarity, top, axis=1), axis=1), axis=1
        )
        hits[start : start + 1000] = labels[top] == labels[start : start + 1000, None]
    levels = levels_of_ranking(hits, n_relevant=np.full(len(rows), 11))
    # Among so many rows in 16 columns some similarities differ in float64 and agree in float32.
    assert found["map_at_r"] == pytest.approx(average_precision_at_r(levels).mean(), abs=1e-5)
    assert found["recall_at_10"] == pytest.approx(hit_at_k(levels, 10).mean(), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_of_numbers(dtype: torch.dtype) -> None:
    rows, labels = CASES["balanced"]
    rounded = torch.from_numpy(rows).to(dtype).requires_grad_()
    found = retrieval_metrics(rounded, torch.from_numpy(labels), metrics=RANKED)
    same = retrieval_metrics(rounded.detach().double().numpy(), labels.astype(np.uint8), metrics=RANKED)
    assert found == same


def test_perfect_chance_and_collapsed() -> None:
    labels = np.repeat(np.arange(10), 20)
    perfect = retrieval_metrics(np.eye(10)[labels], labels, k=(19,), metrics=RANKED).scores
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0), abs=1e-12)
    rng = np.random.default_rng(0)
    guess = retrieval_metrics(rng.normal(size=(200, 32)), labels, k=(1, 10), metrics=RANKED).scores
    collapsed = retrieval_metrics(np.ones((200, 4)), labels, k=(1, 10), metrics=RANKED).scores
    assert collapsed == pytest.approx(guess, abs=0.06)
    assert collapsed["precision_at_1"] == pytest.approx(19 / 199)
    # Unlike what an order of rows would give.
    zeros = retrieval_metrics(np.zeros((200, 4)), labels, k=(1, 10), metrics=RANKED)
    assert zeros.scores == pytest.approx(collapsed, abs=1e-12)
    assert (zeros.n_zero_queries, zeros.n_zero_gallery) == (200, 200)


def test_rows_of_zeros_have_similarity_zero(way: str) -> None:
    rows, labels = clumps(9, [6] * 10, d=3)
    rows[[3, 17, 40]] = 0.0
    found = retrieval_metrics(rows, labels, k=(4,), metrics=LISTED + RANKED[6:])
    expected = whole_matrix(rows, labels, rows, labels, own=True, k=4)
    assert found.scores == pytest.approx({key: expected[key] for key in found.scores}, abs=1e-9)
    assert (found.n_zero_queries, found.n_zero_gallery) == (3, 3)


def test_noise_lowers_every_score() -> None:
    rows, labels = clumps(10, [20] * 15, spread=0.6)
    rng = np.random.default_rng(0)
    scores = []
    for rate in (0.0, 0.2, 0.5):
        is_wrong = rng.random(len(labels)) < rate
        noisy = np.where(is_wrong, rng.integers(0, 15, len(labels)), labels)
        scores.append(list(retrieval_metrics(rows, noisy, metrics=(*RANKED, "nmi", "ami")).scores.values()))
    assert (np.diff(scores, axis=0) < 0).all()


def test_singletons_are_left_out_and_counted() -> None:
    rows, labels = CASES["singletons"]
    found = retrieval_metrics(rows, labels)
    assert (found.n_queries, found.n_gallery, found.n_without_match) == (42, 42, 10)
    # They stay in the gallery: without them others are found.
    expected = whole_matrix(rows, labels, rows, labels, own=True, k=10)
    assert found["r_precision"] == pytest.approx(expected["r_precision"], abs=1e-9)


def test_euclidean_against_all_distances(way: str) -> None:
    rng = np.random.default_rng(0)
    rows, labels = clumps(11, [8] * 12)
    rows = rows * rng.uniform(0.3, 3.0, (len(rows), 1)).astype(np.float32) + 5.0
    for half in (0, 40):
        queries, gallery = (slice(None), slice(None)) if half == 0 else (slice(half), slice(half, None))
        distance = ((rows[queries, None].astype(np.float64) - rows[None, gallery]) ** 2).sum(axis=2)
        if half == 0:
            np.fill_diagonal(distance, np.inf)
        order = np.argsort(distance, axis=1)[:, : distance.shape[1] - (half == 0)]
        levels = levels_of_ranking(labels[gallery][order] == labels[queries][:, None])
        other = {"gallery_embeddings": rows[gallery], "gallery_labels": labels[gallery]} if half else {}
        found = retrieval_metrics(
            rows[queries], labels[queries], **other, k=(3,), metrics=RANKED, distance="euclidean"
        )
        assert found["map_at_r"] == pytest.approx(np.nanmean(average_precision_at_r(levels)), abs=1e-9)
        assert found["mean_average_precision"] == pytest.approx(
            np.nanmean(average_precision(levels)), abs=1e-9
        )
        assert found["recall_at_3"] == pytest.approx(np.nanmean(hit_at_k(levels, 3)), abs=1e-9)


def test_euclidean_equals_cosine_on_the_sphere() -> None:
    rows, labels = CASES["imbalanced"]
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    left = retrieval_metrics(unit, labels, metrics=RANKED).scores
    assert retrieval_metrics(unit, labels, metrics=RANKED, distance="euclidean").scores == pytest.approx(
        left, abs=1e-9
    )


def test_euclidean_edges() -> None:
    rows = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = retrieval_metrics(rows, [0, 0, 1, 1], distance="euclidean")
    assert found["map_at_r"] == 1.0
    assert found.n_zero_queries == 0
    same = retrieval_metrics(np.ones((4, 2)), [0, 0, 1, 1], distance="euclidean")
    assert same["precision_at_1"] == pytest.approx(1 / 3)
    with pytest.warns(TamisWarning, match="times as far from the median"):
        retrieval_metrics(
            np.vstack([np.random.default_rng(0).normal(size=(50, 2)), [[1e5, 0.0]]]),
            np.arange(51) % 5,
            distance="euclidean",
        )


def test_labels_of_both_signs_and_sizes() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = retrieval_metrics(
        rows,
        np.array([2**64 - 1, 5], dtype=np.uint64),
        gallery_embeddings=rows,
        gallery_labels=np.array([-1, 5]),
    )
    assert (found.n_without_match, found["precision_at_1"]) == (1, 1.0)


def test_result_is_json() -> None:
    found = retrieval_metrics(*CASES["balanced"], metrics=("cmc", "nmi", "r_precision"))
    assert isinstance(found, RetrievalMetrics)
    read = json.loads(json.dumps(found.to_json()))
    assert read["scores"]["r_precision"] == found["r_precision"]
    assert read["cmc"] == list(found.cmc)


def test_clusters_equal_accuracy_calculator_given_the_same() -> None:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    rows, labels = CASES["balanced"]
    clusters = k_means_clusters(rows, 12)
    calculator = AccuracyCalculator(
        include=("NMI", "AMI"),
        device=torch.device("cpu"),
        knn_func=lambda *_: None,
        kmeans_func=lambda rows, n: torch.from_numpy(clusters),
    )
    theirs = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    assert cluster_agreement(labels, clusters) == pytest.approx((theirs["NMI"], theirs["AMI"]), abs=1e-12)
    ours = retrieval_metrics(rows, labels, metrics=("nmi", "ami"))
    assert ours.scores == pytest.approx({"nmi": theirs["NMI"], "ami": theirs["AMI"]}, abs=1e-12)


@pytest.mark.parametrize("work", [2e9, 0.0])
def test_clusters_do_not_depend_on_the_order_of_rows(work: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.evaluation.clusters._FULL_WORK", work)
    rows, labels = clumps(12, [30] * 5, spread=0.3)
    clusters = k_means_clusters(rows, 5)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(k_means_clusters(rows[order], 5), clusters[order])
    np.testing.assert_array_equal(k_means_clusters(torch.from_numpy(4 * rows), 5), clusters)
    assert cluster_agreement(labels, clusters).nmi > 0.8


GOOD = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((0, 4)), "labels": np.zeros(0, dtype=int)}, r"shape \(0, 4\)"),
        ({"embeddings": np.ones(4)}, r"shape \(4,\)"),
        ({"embeddings": [[1.0]]}, "is a list"),
        ({"embeddings": GOOD.astype(complex)}, "real numbers"),
        ({"embeddings": np.where(np.eye(4) > 0, np.nan, 1.0)}, "row 0 holds NaN"),
        ({"labels": [0, 0, 1]}, r"labels has shape \(3,\)"),
        ({"labels": [0.0, 0.0, 1.0, 1.0]}, "whole numbers"),
        ({"labels": [0, 1, 2, 3]}, "none of the 4 queries"),
        ({"gallery_labels": [0, 1]}, "both or neither"),
        ({"gallery_embeddings": np.ones((2, 3)), "gallery_labels": [0, 1]}, "4 columns"),
        ({"gallery_embeddings": np.ones((2, 4)), "gallery_labels": [0]}, "gallery_labels has shape"),
        (
            {"gallery_embeddings": np.full((2, 4), np.inf), "gallery_labels": [0, 1]},
            "gallery_embeddings row 0",
        ),
        ({"k": ()}, "sequence of ranks"),
        ({"k": 10}, "sequence of ranks"),
        ({"k": (1, 0)}, "holds 0"),
        ({"metrics": ("recall",)}, "'recall'"),
        ({"metrics": "map_at_r"}, "'map_at_r'"),
        ({"metrics": ()}, "nothing"),
        ({"distance": "dot"}, "'cosine' or 'euclidean'"),
        ({"memory_budget": "12"}, "at least 1MiB"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        retrieval_metrics(**({"embeddings": GOOD, "labels": [0, 0, 1, 1]} | arguments))


def test_wrong_clusters_are_refused() -> None:
    with pytest.raises(InputError, match="one length"):
        cluster_agreement([0, 1], [0])
    with pytest.raises(InputError, match=r"1\.\.4"):
        k_means_clusters(GOOD, 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_equal_on_a_gpu() -> None:
    rows, labels = CASES["imbalanced"]
    found = retrieval_metrics(torch.from_numpy(rows).cuda(), torch.from_numpy(labels).cuda(), metrics=RANKED)
    assert found.scores == pytest.approx(retrieval_metrics(rows, labels, metrics=RANKED).scores, abs=1e-12)
