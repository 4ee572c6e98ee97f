"""Which samples are on the map, and where; neither depends on how the data came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tamis
from tamis.auditing.embedding_map import map_features
from tamis.auditing.material import Material, gather
from tamis.data import from_arrays


def made(features: np.ndarray, labels: np.ndarray, **options: Any) -> Material:
    return gather(
        from_arrays(features, labels, None, **options),
        encoder=None,
        out_of_sample=None,
        has_named_columns=False,
        memory_budget=None,
        device="cpu",
    )


def issues(is_flagged: np.ndarray) -> pa.Table:
    return pa.table({"is_label_issue": is_flagged})


def places(table: pa.Table) -> dict[int, tuple[float, float]]:
    columns = (table[name].to_pylist() for name in ("row", "x", "y"))
    return {row: (x, y) for row, x, y in zip(*columns, strict=True)}


def test_against_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5)) * (5, 3, 1, 1, 1)
    found = map_features(made(features, np.arange(60) % 3), issues(np.zeros(60, bool)))
    assert found is not None
    centred = (features - features.mean(0)) / np.abs(features).max()
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ directions[:2].T)
    ours = np.array([places(found)[row] for row in range(60)])
    assert np.allclose(np.abs(ours), expected, atol=1e-6)
    share = float(found.schema.metadata[b"variance"])
    assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), abs=1e-4)


@pytest.mark.parametrize(
    ("n_flagged", "n_others", "flagged_shown", "others_shown"),
    [(0, 2500, 0, 2000), (300, 2500, 300, 1700), (1500, 1500, 1000, 1000), (1800, 100, 1800, 100)],
)
def test_who_is_shown(n_flagged: int, n_others: int, flagged_shown: int, others_shown: int) -> None:
    n = n_flagged + n_others
    features = np.random.default_rng(1).normal(size=(n, 3))
    found = map_features(made(features, np.arange(n) % 4), issues(np.arange(n) < n_flagged))
    assert found is not None
    rows = found["row"].to_numpy()
    assert len(set(rows.tolist())) == len(rows)
    assert int((rows < n_flagged).sum()) == flagged_shown
    assert int((rows >= n_flagged).sum()) == others_shown


def test_order_of_rows_and_names_change_nothing() -> None:
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(2500, 6)).astype(np.float32), rng.integers(0, 4, 2500)
    flagged = rng.random(2500) < 0.1
    first = map_features(made(features, labels), issues(flagged))
    order = rng.permutation(2500)
    names = np.array(["pear", "fig", "kiwi", "date"])[labels]
    second = map_features(made(features[order], names[order]), issues(flagged[order]))
    assert first is not None
    assert second is not None
    assert {int(order[row]): place for row, place in places(second).items()} == places(first)
    assert first["row"].to_pylist() == order[second["row"].to_numpy()].tolist()  # drawn in the same order


@pytest.mark.parametrize("scale", [1e37, 1.0, 1e-300])
def test_scale_and_shape_of_features(scale: float) -> None:
    rng = np.random.default_rng(3)
    single = map_features(
        made(scale * rng.normal(size=(30, 1)), np.arange(30) % 2), issues(np.zeros(30, bool))
    )
    assert single is not None
    assert not single["y"].to_numpy().any()
    # More columns than rows, and many: found without their covariance.
    wide = map_features(
        made(scale * rng.normal(size=(30, 4000)), np.arange(30) % 2), issues(np.zeros(30, bool))
    )
    assert wide is not None
    assert np.isfinite(wide["x"].to_numpy()).all()


def test_rows_that_cannot_be_read_are_left_out_and_equal_rows_have_no_map() -> None:
    features = np.random.default_rng(4).normal(size=(30, 4))
    features[7] = np.nan
    found = map_features(made(features, np.arange(30) % 2), issues(np.zeros(30, bool)))
    assert found is not None
    assert sorted(places(found)) == [row for row in range(30) if row != 7]
    assert map_features(made(np.ones((30, 4)), np.arange(30) % 2), issues(np.zeros(30, bool))) is None
    two = map_features(made(features[:2], np.arange(2)), issues(np.zeros(2, bool)))
    assert two is None


def test_audits_with_and_without_features(found: tamis.Audit, data: Any, out_of_sample: np.ndarray) -> None:
    assert found.embedding_map is not None
    flagged = set(np.flatnonzero(found.issues["is_label_issue"].to_numpy()).tolist())
    assert flagged <= set(places(found.embedding_map))
    assert tamis.audit(pred_probs=out_of_sample, labels=data.labels).embedding_map is None
    members = tamis.audit(features=data.features, labels=data.labels, task="retrieval")
    assert members.embedding_map is not None
    assert members.embedding_map.num_rows == 240
