"""Noise that depends on the class alone: pair flip, asymmetric, CIFAR-100 blocks, any matrix, estimates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.noise import (
    CIFAR10_MAPPING,
    CIFAR100_FINE_TO_COARSE,
    MNIST_MAPPING,
    NoisyLabels,
    asymmetric,
    asymmetric_cifar100,
    class_conditional,
    estimate_transition,
    pair_flip,
    symmetric,
)

LABELS = np.arange(20_000) % 10
UNEQUAL = np.repeat(np.arange(10), [5, 400, 33, 71, 0, 250, 1, 99, 10, 131])


def test_pair_flip_by_hand() -> None:
    noisy = pair_flip([0, 1, 2, 2], rate=1.0, n_classes=3)
    assert noisy.labels.tolist() == [1, 2, 0, 0]
    expected = [[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]]
    np.testing.assert_allclose(pair_flip([0], 0.3, 3).transition, expected)
    flipped = pair_flip(LABELS, 0.45)
    np.testing.assert_array_equal(flipped.labels[flipped.is_wrong], (LABELS[flipped.is_wrong] + 1) % 10)


@given(rate=st.floats(0, 1), exact=st.sampled_from(["global", "per_class"]), seed=st.integers(0, 2**64 - 1))
def test_exact_counts(rate: float, exact: str, seed: int) -> None:
    noisy = pair_flip(UNEQUAL, rate, 10, seed, exact)
    sizes, wrong = np.bincount(UNEQUAL, minlength=10), np.bincount(UNEQUAL[noisy.is_wrong], minlength=10)
    if exact == "global":
        assert wrong.sum() == int(rate * len(UNEQUAL))
    else:
        assert wrong.tolist() == [int(rate * size) for size in sizes]
    assert noisy.realised_rate == pytest.approx(noisy.expected_rate)


def test_higher_rate_flips_a_superset() -> None:
    for model in (pair_flip, asymmetric):
        assert not (model(LABELS, 0.1).is_wrong & ~model(LABELS, 0.3).is_wrong).any()


@pytest.mark.parametrize(("name", "mapping"), [("cifar10", CIFAR10_MAPPING), ("mnist", MNIST_MAPPING)])
def test_asymmetric_maps(name: str, mapping: dict[int, int]) -> None:
    noisy = asymmetric(LABELS, 0.4, mapping=name)
    sources = sorted(mapping)
    untouched = np.setdiff1d(np.arange(10), sources)
    assert not noisy.is_wrong[np.isin(LABELS, untouched)].any()
    for source, target in mapping.items():
        rows = noisy.is_wrong & (source == LABELS)
        assert set(noisy.labels[rows]) == {target}
    # 40 % within five of ten classes of equal size: 20 % of all.
    assert noisy.expected_rate == pytest.approx(0.2)
    assert abs(noisy.details["source_rate"] - 0.4) < 4 * np.sqrt(0.25 / 10_000)
    np.testing.assert_array_equal(np.flatnonzero(noisy.transition.diagonal() < 1), sources)
    assert noisy.labels.tolist() == asymmetric(LABELS, 0.4, mapping=dict(mapping)).labels.tolist()


def test_cifar10_map_is_the_published_one() -> None:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    pairs = {(names[source], names[target]) for source, target in CIFAR10_MAPPING.items()}
    assert pairs == {
        ("truck", "automobile"),
        ("bird", "airplane"),
        ("deer", "horse"),
        ("cat", "dog"),
        ("dog", "cat"),
    }


def test_asymmetric_exact() -> None:
    per_class = asymmetric(UNEQUAL, 0.37, exact="per_class")
    for source in CIFAR10_MAPPING:
        size = int((source == UNEQUAL).sum())
        assert int(per_class.is_wrong[source == UNEQUAL].sum()) == int(0.37 * size)
    # Exactly trunc(rate * n) of all are hit; those of other classes stay: half of them, about.
    whole = asymmetric(LABELS, 0.4, exact="global")
    assert whole.expected_rate == pytest.approx(0.2)
    assert abs(whole.realised_rate - 0.2) < 4 * np.sqrt(0.25 / 8_000)
    assert set(LABELS[whole.is_wrong]) == set(CIFAR10_MAPPING)


def test_identity_entries_are_no_sources() -> None:
    noisy = asymmetric([0, 1, 2], 1.0, n_classes=3, mapping={0: 0, 1: 2})
    assert noisy.labels.tolist() == [0, 2, 2]
    assert noisy.convention.startswith("rate within the 1 source")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mapping": "cifar100"}, "'cifar10', 'mnist' or a mapping"),
        ({"mapping": "cifar10", "n_classes": 4}, "is for 10 classes and n_classes is 4"),
        ({"mapping": [1, 2]}, r"a mapping such as \{3: 5\}"),
        ({"mapping": {0: 10}}, "mapping holds 0: 10; legal codes are 0 to 9"),
        ({"mapping": {"cat": 1}}, "mapping holds 'cat': 1"),
        ({"mapping": {True: 1}}, "mapping holds True: 1"),
        ({"exact": "all"}, "exact must be 'none', 'global' or 'per_class'"),
    ],
)
def test_wrong_maps_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asymmetric([0, 1], **arguments)


@pytest.mark.shared
def test_superclasses_of_cifar100(shared: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(shared / "data" / "cifar100n_labels.parquet")
    fine, coarse = table["label"].to_numpy(), table["coarse_label"].to_numpy()
    np.testing.assert_array_equal(np.array(CIFAR100_FINE_TO_COARSE)[fine], coarse)


def test_superclass_flips_stay_inside_and_go_round() -> None:
    labels = np.arange(5_000) % 100
    noisy = asymmetric_cifar100(labels, 0.4)
    coarse = np.array(CIFAR100_FINE_TO_COARSE)
    np.testing.assert_array_equal(coarse[noisy.labels], coarse[labels])
    assert noisy.expected_rate == pytest.approx(0.4)
    step = asymmetric_cifar100(np.arange(100), 1.0).labels
    # Five steps lead every class round its super-class of five, through all of it.
    where = np.arange(100)
    seen = [where := step[where] for _ in range(5)]
    np.testing.assert_array_equal(seen[-1], np.arange(100))
    assert all(len(set(column)) == 5 for column in np.array(seen).T)


def test_consecutive_swap_changes_two_of_five() -> None:
    noisy = asymmetric_cifar100(np.arange(5_000) % 100, 0.4, "consecutive_swap")
    assert noisy.expected_rate == pytest.approx(0.16)
    is_source = noisy.transition.diagonal() < 1
    np.testing.assert_array_equal(is_source.reshape(20, 5).sum(axis=1), 2)
    np.testing.assert_allclose(noisy.transition, noisy.transition.T)
    other = asymmetric_cifar100(np.arange(100), 0.4, "consecutive_swap", random_state=1)
    assert (other.transition != noisy.transition).any()


def test_the_three_conventions_differ_and_are_named() -> None:
    results = {
        blocks: asymmetric_cifar100(np.arange(100), 1.0, blocks)
        for blocks in ("superclass", "consecutive_swap", "all")
    }
    assert {blocks: result.convention for blocks, result in results.items()} == {
        each: each for each in results
    }
    np.testing.assert_array_equal(results["all"].labels, (np.arange(100) + 1) % 100)
    assert len({result.digest for result in results.values()}) == 3


def test_a_class_alone_in_its_superclass_never_changes() -> None:
    noisy = asymmetric_cifar100([0, 1, 2], 1.0, fine_to_coarse=[7, -3, 7])
    assert noisy.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": "superclasses"}, "blocks must be"),
        ({"fine_to_coarse": [0]}, r"fine_to_coarse has shape \(1,\)"),
        ({"fine_to_coarse": ["a", "b"]}, "as integers"),
        ({"fine_to_coarse": [0] * 7, "blocks": "consecutive_swap"}, "multiple of 5 classes and there are 7"),
    ],
)
def test_wrong_blocks_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asymmetric_cifar100([0, 1], **arguments)


def test_class_conditional_by_hand() -> None:
    matrix = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    noisy = class_conditional([0, 0, 1, 2, 2], matrix)
    assert noisy.labels[[0, 1, 3, 4]].tolist() == [1, 1, 2, 2]
    assert noisy.labels[2] in {0, 2}
    assert noisy.nominal_rate == pytest.approx(2 / 3)
    assert noisy.expected_rate == pytest.approx(3 / 5)


def test_class_conditional_never_draws_what_has_no_probability() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = rng.dirichlet(np.full(7, 0.1), size=7)
        matrix[:, [2, 6]] = 0
        matrix /= matrix.sum(axis=1, keepdims=True)
        noisy = class_conditional(np.arange(7_000) % 7, matrix)
        assert (matrix[np.arange(7_000) % 7, noisy.labels] > 0).all()


def test_one_class_is_legal_where_a_matrix_says_so() -> None:
    assert class_conditional([0, 0], [[1.0]]).labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.5]], r"shape \(1, 2\)"),
        ([[1.0, 0.0], [0.2, 0.7]], "row 1 sums to 0.9"),
        ([[1.1, -0.1], [0.0, 1.0]], "row 0 holds -0.1"),
        ([[np.nan, np.nan], [0.0, 1.0]], "row 0 holds NaN"),
        (np.zeros((0, 0)), r"shape \(0, 0\)"),
        ("identity", "must be a"),
    ],
)
def test_wrong_matrices_are_refused(matrix: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_conditional([0], matrix)


def test_rounding_in_a_matrix_is_accepted() -> None:
    matrix = np.array([[0.7, 0.3 + 5e-7], [0.0, 1.0]])
    np.testing.assert_allclose(class_conditional([0, 1], matrix).transition.sum(axis=1), 1, atol=1e-15)


def test_compat_is_the_legacy_generator() -> None:
    transition = symmetric(LABELS[:500], 0.4).transition
    noisy = class_conditional(LABELS[:500], transition, 7, compat=True)
    flipper = np.random.RandomState(7)
    slow = [int(np.flatnonzero(flipper.multinomial(1, transition[code], 1)[0])[0]) for code in LABELS[:500]]
    assert noisy.labels.tolist() == slow
    with pytest.raises(InputError, match=r"below 2\*\*32"):
        class_conditional([0], [[1.0]], 2**32, compat=True)


def test_estimate_divides_by_row_sums() -> None:
    true, noisy = [0] * 8 + [1] * 2, [0] * 6 + [1] * 2 + [0, 1]
    np.testing.assert_allclose(estimate_transition(true, noisy), [[0.75, 0.25], [0.5, 0.5]])
    unseen = estimate_transition([0, 2], [2, 2])
    assert np.isnan(unseen[1]).all()
    np.testing.assert_array_equal(unseen[[0, 2]], [[0, 0, 1], [0, 0, 1]])
    identity = estimate_transition([0, 2], [2, 2], 4, empty="identity")
    np.testing.assert_array_equal(identity, [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    class_conditional([0, 1], identity)


def test_estimate_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix

    noisy = symmetric(UNEQUAL, 0.4).labels
    found = estimate_transition(UNEQUAL, noisy, 10)
    with np.errstate(invalid="ignore"):
        counts = confusion_matrix(UNEQUAL, noisy, labels=range(10))
        np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True))


def test_estimate_refuses_unequal_lengths() -> None:
    with pytest.raises(InputError, match="true has 2 labels and noisy has 1"):
        estimate_transition([0, 1], [0])
    with pytest.raises(InputError, match="empty must be"):
        estimate_transition([0], [0], empty="zero")


@pytest.mark.shared
def test_synthetic_counterpart_of_human_labels(shared: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", "worse_label"])
    clean, human = table["label"].to_numpy(), table["worse_label"].to_numpy()
    transition = estimate_transition(clean, human)
    # Measured on the published files: the strongest confusions and the lowest diagonal.
    assert transition[9, 1] == pytest.approx(0.282, abs=5e-4)
    assert transition[3, 3] == pytest.approx(0.487, abs=5e-4)
    synthetic = class_conditional(clean, transition)
    assert abs(synthetic.realised_rate - (clean != human).mean()) < 4 * np.sqrt(0.25 / len(clean))


def test_empty_class_is_reported() -> None:
    noisy = symmetric(UNEQUAL, 0.4)
    assert np.isnan(noisy.realised_transition[4]).all()
    assert np.isfinite(np.delete(noisy.realised_transition, 4, axis=0)).all()


def test_top_confusions() -> None:
    true, noisy = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 1, 0])
    found = NoisyLabels.from_flips(true, noisy, None, nominal_rate=0).top_confusions(2)
    assert [tuple(each) for each in found] == [(0, 1, 2, 2 / 3), (2, 0, 1, 1.0)]


def test_large_numbers_of_classes_stay_small() -> None:
    # A dense matrix of 50,000 classes would take 20 GB; it is made only when it is asked for.
    noisy = symmetric(np.arange(50_000), 0.3, 50_000)
    assert abs(noisy.realised_rate - 0.3) < 0.02
    assert len(noisy.top_confusions(3)) == 3
