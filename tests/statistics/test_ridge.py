"""Leave-one-out ridge regression: against refits by an independent library, blocks, groups, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from tamis.errors import InputError
from tamis.metrics.ranking import average_precision
from tamis.statistics.ridge import L2_GRID, RidgeSums, leave_one_out_ridge


def sample(n=40, d=5, k=3, seed=0):
    """Return features of odd scales and offsets, and codes that depend on them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[codes] + rng.normal(size=(n, d))
    return features * 10.0 ** rng.integers(-2, 3, d) + rng.normal(size=d) * 5, codes


def refit_without(features, targets, l2, groups, used):
    """Refit scikit-learn's Ridge for every row, without the row's group."""
    n = used.sum()
    mean, deviation = features[used].mean(axis=0), features[used].std(axis=0)
    deviation[deviation == 0] = np.inf
    scaled = (features - mean) / deviation
    scores = np.empty(targets.shape)
    for row, group in enumerate(groups):
        rest = used & (groups != group)
        model = Ridge(alpha=l2 * n, solver="cholesky").fit(scaled[rest], targets[rest])
        scores[row] = model.predict(scaled[[row]]).reshape(-1)
    return scores


@pytest.mark.parametrize(("n", "d"), [(40, 5), (60, 1), (20, 35), (12, 12)])
@pytest.mark.parametrize("l2", [1e-3, 0.5])
def test_against_a_refit_for_every_row(n, d, l2):
    features, codes = sample(n, d)
    expected = refit_without(features, np.eye(3)[codes], l2, np.arange(n), np.ones(n, bool))
    np.testing.assert_allclose(leave_one_out_ridge(features, codes, 3, l2=l2), expected, atol=2e-6)


@pytest.mark.parametrize("d", [4, 30])
def test_soft_targets_left_out_rows_and_groups_against_refits(d):
    features, codes = sample(50, d)
    rng = np.random.default_rng(1)
    soft = rng.dirichlet(np.ones(3), 50)
    used = rng.random(50) > 0.2
    groups = np.where(rng.random(50) < 0.6, rng.integers(0, 9, 50), -1)
    own = np.where(groups < 0, 100 + np.arange(50), groups)
    expected = refit_without(features, soft, 0.02, own, used)
    soft[~used] = np.nan
    np.testing.assert_allclose(
        leave_one_out_ridge(features, soft, 3, l2=0.02, groups=groups), expected, atol=2e-6
    )
    hard = np.where(used, codes, -1)
    np.testing.assert_allclose(
        leave_one_out_ridge(features, hard, 3, l2=0.02, groups=groups),
        refit_without(features, np.eye(3)[codes], 0.02, own, used),
        atol=2e-6,
    )


def test_large_groups_are_left_out_by_a_refit():
    features, codes = sample(400, 4)
    groups = np.repeat([0, 1, 2, -1], 100)
    groups[:10] = 5
    own = np.where(groups < 0, 100 + np.arange(400), groups)
    expected = refit_without(features, np.eye(3)[codes], 0.1, own, np.ones(400, bool))
    for block_rows in (7, 8192):
        scores = leave_one_out_ridge(features, codes, 3, l2=0.1, groups=groups, block_rows=block_rows)
        np.testing.assert_allclose(scores, expected, atol=2e-6)


def test_by_hand():
    # Without a slope (constant feature) the prediction is the mean of the other targets.
    scores = leave_one_out_ridge(np.ones((4, 1)), np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(scores, [[2 / 3, 1 / 3]] * 3 + [[1.0, 0.0]], atol=1e-7)
    # Features -1, 1 with l2 = 1: slope 2 * 0.5 / (2 + 2) = 0.25 on target 1.
    fit = RidgeSums(1, 2).partial_fit(np.array([[-1.0], [1.0]]), np.array([0, 1])).solve(1.0)
    np.testing.assert_allclose(fit.predict(np.array([[-1.0], [1.0]]))[:, 1], [0.25, 0.75])
    assert fit.penalty == 2.0


@given(seed=st.integers(0, 1000), block=st.integers(1, 70))
def test_blocks_and_row_order_do_not_matter(seed, block):
    features, codes = sample(64, 6, seed=seed)
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 20, 64)
    order = rng.permutation(64)
    first = leave_one_out_ridge(features, codes, 3, groups=groups)
    second = leave_one_out_ridge(features[order], codes[order], 3, groups=groups[order], block_rows=block)
    np.testing.assert_allclose(second, first[order], atol=1e-7)
    renamed = leave_one_out_ridge(features, 2 - codes, 3, groups=groups)
    np.testing.assert_allclose(renamed[:, ::-1], first, atol=1e-7)


def test_scale_and_offset_of_the_features_do_not_matter():
    features, codes = sample(60, 5)
    first = leave_one_out_ridge(features, codes, 3, l2=0.01)
    second = leave_one_out_ridge(features * 1e4 + 1e6, codes, 3, l2=0.01)
    np.testing.assert_allclose(second, first, atol=1e-6)


def test_merged_sums_are_the_sums_of_all_rows():
    features, codes = sample(90, 6)
    codes[5] = -1
    whole = RidgeSums(6, 3).partial_fit(features, codes)
    parts = [RidgeSums(6, 3).partial_fit(features[s::7], codes[s::7]) for s in range(7)]
    merged = RidgeSums(6, 3)
    for part in reversed(parts):
        merged.merge(part)
    merged.merge(RidgeSums(6, 3))
    assert merged.count == whole.count == 89
    centred = np.delete(features, 5, axis=0)
    centred -= centred.mean(axis=0)
    np.testing.assert_allclose(whole.gram, centred.T @ centred, rtol=1e-10, atol=1e-9)
    for name in ("feature_mean", "target_mean", "gram", "cross"):
        one, other = getattr(merged, name), getattr(whole, name)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * float(other.abs().max()))
    rest = merged.without(parts[2])
    direct = RidgeSums(6, 3)
    for part in parts[:2] + parts[3:]:
        direct.merge(part)
    np.testing.assert_allclose(rest.gram, direct.gram, rtol=1e-9, atol=1e-9 * float(direct.gram.max()))
    np.testing.assert_allclose(rest.cross, direct.cross, rtol=1e-9, atol=1e-9 * float(direct.cross.max()))
    assert rest.target_scatter == pytest.approx(direct.target_scatter)


def test_auto_penalty_minimises_the_generalised_cross_validation_error():
    features, codes = sample(50, 20, seed=4)
    targets = np.eye(3)[codes]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)

    def error(l2):
        hat = scaled @ np.linalg.solve(scaled.T @ scaled + l2 * 50 * np.eye(20), scaled.T) + 1 / 50
        return 50 * np.sum((targets - hat @ targets) ** 2) / (50 - np.trace(hat)) ** 2

    chosen = RidgeSums(20, 3).partial_fit(features, codes).choose_l2()
    assert chosen == min(L2_GRID, key=error)
    assert L2_GRID[0] < chosen < L2_GRID[-1]


def test_auto_penalty_is_close_to_the_best_leave_one_out_error():
    features, codes = sample(300, 40, seed=2)
    targets = np.eye(3)[codes]

    def error(l2):
        return float(np.mean((leave_one_out_ridge(features, codes, 3, l2=l2) - targets) ** 2))

    assert error("auto") <= 1.01 * min(error(l2) for l2 in L2_GRID)


def test_more_features_than_rows_and_pure_noise_choose_a_strong_penalty():
    rng = np.random.default_rng(0)
    features, codes = rng.normal(size=(30, 80)), rng.integers(0, 2, 30)
    scores = leave_one_out_ridge(features, codes, 2)
    assert np.isfinite(scores).all()
    assert np.abs(scores - 0.5).mean() < 0.3
    assert RidgeSums(3, 2).partial_fit(np.ones((5, 3)), np.zeros(5, int)).choose_l2() == L2_GRID[-1]


def test_copies_with_one_wrong_label_do_not_vouch_for_each_other():
    features, codes = sample(60, 70, k=2)
    features = np.vstack([features, features[:1], features[:1]])
    wrong = 1 - codes[0]
    codes = np.concatenate([codes, [wrong, wrong]])
    codes[0] = wrong
    groups = np.full(62, -1)
    groups[[0, 60, 61]] = 3
    together = leave_one_out_ridge(features, codes, 2, l2=1e-3, groups=groups)
    alone = leave_one_out_ridge(features, codes, 2, l2=1e-3)
    assert together[0, wrong] < 0.5 < alone[0, wrong]
    np.testing.assert_allclose(together[[60, 61]], together[[0, 0]], atol=1e-6)


def test_missing_classes_get_zero_and_rows_sum_to_one():
    features, codes = sample(30, 3)
    scores = leave_one_out_ridge(features, np.where(codes == 1, 3, codes), 5)
    np.testing.assert_array_equal(scores[:, [1, 4]], 0.0)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-6)


def test_a_constant_column_changes_nothing():
    features, codes = sample(30, 3)
    with_constant = np.column_stack([features, np.full(30, 0.1), np.zeros(30)])
    np.testing.assert_allclose(
        leave_one_out_ridge(with_constant, codes, 3, l2=0.01),
        leave_one_out_ridge(features, codes, 3, l2=0.01),
        atol=1e-7,
    )


def test_rows_that_nothing_speaks_for():
    features = np.array([[0.0], [1.0], [2.0]])
    np.testing.assert_array_equal(leave_one_out_ridge(features, np.array([-1, 1, -1]), 2)[1], [0.5, 0.5])
    together = leave_one_out_ridge(features, np.array([0, 1, 1]), 2, groups=np.zeros(3, int))
    np.testing.assert_array_equal(together, 0.5)
    many = leave_one_out_ridge(np.arange(100.0)[:, None], np.zeros(100, int), 2, groups=np.zeros(100, int))
    np.testing.assert_array_equal(many, 0.5)


@pytest.mark.parametrize("kind", [np.float16, np.float32, ">f4", np.uint8, np.int64, np.uint64])
def test_number_types_agree(kind):
    features = np.random.default_rng(0).integers(0, 100, (30, 4))
    codes = np.arange(30) % 3
    expected = leave_one_out_ridge(features.astype(np.float64), codes, 3)
    np.testing.assert_array_equal(leave_one_out_ridge(features.astype(kind), codes, 3), expected)
    tensors = leave_one_out_ridge(torch.from_numpy(features), torch.from_numpy(codes), 3)
    np.testing.assert_array_equal(tensors, expected)


def test_memory_mapped_input_is_left_alone(tmp_path):
    features, codes = sample(100, 8)
    np.save(tmp_path / "features.npy", features.astype(np.float32))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r", allow_pickle=False)
    scores = leave_one_out_ridge(mapped, codes, 3, memory_budget="1MiB", block_rows=10)
    np.testing.assert_allclose(scores, leave_one_out_ridge(features.astype(np.float32), codes, 3), atol=1e-7)
    np.testing.assert_array_equal(mapped, features.astype(np.float32))


def test_unusable_rows_may_be_left_out_of_the_fit():
    features, codes = sample(30, 3)
    expected = leave_one_out_ridge(features[:-1], codes[:-1], 3, l2=0.1)
    features[-1] = np.nan
    codes[-1] = -1
    scores = leave_one_out_ridge(features, codes, 3, l2=0.1)
    np.testing.assert_allclose(scores[:-1], expected, atol=1e-7)
    assert np.isnan(scores[-1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros(3)}, r"features has shape \(3,\); expected \(rows, columns\)"),
        ({"features": np.zeros((0, 2))}, r"features has shape \(0, 2\)"),
        ({"features": np.array([["a"], ["b"], ["c"]])}, "features has dtype <U1; expected real numbers"),
        ({"features": np.array([[0.0], [np.inf], [1.0]])}, r"features row 1 of the block holds NaN"),
        ({"features": np.array([[1e200], [0.0], [1.0]])}, "too large to be squared"),
        ({"targets": np.array([0, 1])}, "targets has 2 rows, features 3"),
        ({"targets": np.array([0, 1, 2])}, r"targets row 2 of the block is 2; legal are 0 to 1, or -1"),
        ({"targets": np.array([0.0, 1.0, 1.0])}, r"expected \(3,\) int codes or \(3, 2\) float"),
        ({"targets": np.array([-1, -1, -1])}, "no row takes part in the fit"),
        ({"l2": 0.0}, "l2 is 0.0; expected a number of at least 1e-10, or 'auto'"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"groups": np.array([0, 1])}, r"groups has shape \(2,\)"),
        ({"groups": np.array([0.5, 1, 2])}, "groups has shape .* and dtype float64"),
        ({"block_rows": 0}, "block_rows is 0"),
        ({"memory_budget": "1MiB", "features": np.zeros((3, 400))}, "allow more, or reduce the features"),
        ({"n_classes": 0}, "n_classes is 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    call = {"features": np.array([[0.0], [1.0], [2.0]]), "targets": np.array([0, 1, 1]), "n_classes": 2}
    with pytest.raises(InputError, match=message):
        leave_one_out_ridge(**(call | change))


def test_sums_of_other_columns_are_refused():
    with pytest.raises(InputError, match=r"other sums have \(features, classes\) \(3, 2\), these \(2, 2\)"):
        RidgeSums(2, 2).merge(RidgeSums(3, 2))
    with pytest.raises(InputError, match="other holds 2 rows, these sums 0"):
        RidgeSums(1, 2).without(RidgeSums(1, 2).partial_fit(np.zeros((2, 1)), np.array([0, 1])))
    fit = RidgeSums(1, 2).partial_fit(np.array([[0.0], [1.0]]), np.array([0, 1])).solve(0.1)
    with pytest.raises(InputError, match=r"groups has shape \(1,\); expected \(2,\)"):
        fit.leave_group_out(np.array([[0.0], [1.0]]), np.array([0, 1]), np.array([0]))
    with pytest.raises(InputError, match=r"features has shape \(1, 2\); expected \(rows, 1\)"):
        fit.predict(np.zeros((1, 2)))


def test_planted_noise_is_found():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 1500)
    features = rng.normal(size=(4, 30))[truth] + rng.normal(size=(1500, 30))
    given_codes = np.where(rng.random(1500) < 0.2, (truth + rng.integers(1, 4, 1500)) % 4, truth)
    scores = leave_one_out_ridge(features, given_codes, 4)
    own = scores[np.arange(1500), given_codes]
    assert average_precision(own, given_codes != truth) > 0.95
