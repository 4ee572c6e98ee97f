"""Sharpening, one-hot rows, co-refining, co-guessing and mixup: by hand, loops, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.targets import co_guess, co_refine, mixup, mixup_lambda, mixup_permutation, one_hot, sharpen

F64 = torch.float64


def predictions(n=6, k=4, seed=0, dtype=F64):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=dtype).mul(2).softmax(dim=1)


def test_sharpening_by_hand():
    found = sharpen(torch.tensor([[0.5, 0.25, 0.25]], dtype=F64), temperature=0.5)
    torch.testing.assert_close(found, torch.tensor([[4 / 6, 1 / 6, 1 / 6]], dtype=F64))
    # A temperature above 1 evens out.
    found = sharpen(torch.tensor([[0.64, 0.36]], dtype=F64), temperature=2.0)
    torch.testing.assert_close(found, torch.tensor([[0.8 / 1.4, 0.6 / 1.4]], dtype=F64))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 3.0])
def test_sharpened_rows_are_probabilities_in_the_same_order(temperature):
    probs = predictions()
    found = sharpen(probs, temperature)
    torch.testing.assert_close(found, (probs.log() / temperature).softmax(dim=1))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6, dtype=F64))
    assert (found >= 0).all()
    assert torch.equal(found.argsort(dim=1), probs.argsort(dim=1))
    assert not sharpen(probs.requires_grad_(), temperature).requires_grad


def test_temperatures_one_and_nought():
    probs = predictions()
    torch.testing.assert_close(sharpen(probs, 1.0), probs, rtol=1e-15, atol=0)
    certain = one_hot(probs.argmax(dim=1), 4, dtype=F64)
    assert torch.equal(sharpen(probs, 0.0), certain)
    torch.testing.assert_close(sharpen(probs, 1e-6), certain)
    # No row may underflow to nothing, and equal entries share at any temperature above 0.
    even = torch.full((1, 1000), 1e-3)
    assert torch.isfinite(sharpen(even, 1e-300)).all()
    torch.testing.assert_close(sharpen(even, 1e-3), even)
    assert sharpen(torch.tensor([[0.0, 1.0]]), 1e-320).tolist() == [[0.0, 1.0]]
    assert sharpen(even, 0.0).sum() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_sharpened_in_float32(dtype):
    probs = torch.tensor([[0.02, 0.98]]).to(dtype)
    found = sharpen(probs, 0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sharpen(probs.double(), 0.1).float())
    assert found[0, 0] > 0  # 0.02 ** 10 has no place in half precision


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_illegal_temperatures(temperature):
    with pytest.raises(InputError, match="temperature"):
        sharpen(predictions(), temperature)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (torch.ones(3), r"shape \(3,\)"),
        (torch.ones(3, 2, dtype=torch.int64), "int64"),
        (torch.ones(3, 0), r"shape \(3, 0\)"),
    ],
)
def test_probabilities_that_are_none(probs, message):
    with pytest.raises(InputError, match=message):
        sharpen(probs)


def test_no_rows():
    none = torch.ones(0, 3)
    assert sharpen(none).shape == (0, 3)
    assert co_guess(none, none, none, none).shape == (0, 3)
    assert co_refine(none, none, torch.ones(0, dtype=torch.int64), torch.ones(0)).shape == (0, 3)
    assert one_hot(torch.ones(0, dtype=torch.int64), 3).shape == (0, 3)


def test_one_hot_against_torch():
    labels = torch.tensor([2, 0, 1, 2])
    assert torch.equal(one_hot(labels, 5), torch.nn.functional.one_hot(labels, 5).float())
    assert one_hot(labels.int(), 5, dtype=F64).dtype == F64
    assert one_hot(torch.tensor([-1, 1]), 2).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3, 4]), "row 1 is 3, outside 0 to 2 .* 2 such rows"),
        (torch.tensor([0, -2]), "row 1 is -2"),
        (torch.tensor([0.0]), "float32"),
        (torch.tensor([True]), "bool"),
        (torch.tensor([[1]]), r"shape \(1, 1\)"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(InputError, match=message):
        one_hot(labels, 3)


def test_one_hot_needs_a_class():
    with pytest.raises(InputError, match="n_classes is 0"):
        one_hot(torch.tensor([-1]), 0)


def test_refined_targets_against_a_loop():
    first, second, belief = predictions(seed=1), predictions(seed=2), torch.linspace(0, 1, 6, dtype=F64)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = np.empty((6, 4))
    for i in range(6):
        row = [float(first[i, c] + second[i, c]) / 2 * (1 - float(belief[i])) for c in range(4)]
        row[labels[i]] += float(belief[i])
        powers = [value**2 for value in row]
        expected[i] = np.array(powers) / sum(powers)
    np.testing.assert_allclose(co_refine(first, second, labels, belief).numpy(), expected, rtol=1e-12)


def test_refining_believes_the_label_or_the_network():
    first, second, labels = predictions(seed=1), predictions(seed=2), torch.tensor([0, 1, 2, 3, 0, 1])
    full = co_refine(first, second, labels, torch.ones(6, dtype=F64), temperature=1.0)
    assert torch.equal(full, one_hot(labels, 4, dtype=F64))
    none = co_refine(first, second, labels, torch.zeros(6, dtype=F64))
    torch.testing.assert_close(none, sharpen((first + second) / 2))
    # Unlabelled: the network alone, whatever the belief, which has no loss behind it.
    bare = co_refine(first, second, torch.full((6,), -1), torch.full((6,), float("nan"), dtype=F64))
    assert torch.equal(bare, none)
    torch.testing.assert_close(
        co_refine(second, first, labels, torch.full((6,), 0.3)),
        co_refine(first, second, labels, torch.full((6,), 0.3)),
    )


def test_targets_have_no_gradient_and_no_half_precision():
    logits = torch.randn(3, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probs = (logits @ torch.eye(4)).softmax(dim=1)
        refined = co_refine(probs, probs.bfloat16(), torch.tensor([0, 1, 2]), torch.rand(3))
        guessed = co_guess(probs, probs, probs.bfloat16(), probs)
    for targets in (refined, guessed):
        assert targets.dtype == torch.float32
        assert not targets.requires_grad
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))


def test_guessing_is_symmetric():
    four = [predictions(seed=seed) for seed in range(4)]
    found = co_guess(*four)
    torch.testing.assert_close(found, sharpen(torch.stack(four).mean(dim=0)))
    assert torch.equal(co_guess(*four, temperature=0.0), one_hot(found.argmax(dim=1), 4, dtype=F64))
    for order in ((1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)):
        assert torch.equal(co_guess(*(four[i] for i in order)), found)
    torch.testing.assert_close(co_guess(*(four[i] for i in (2, 0, 1, 3))), found, rtol=1e-15, atol=1e-16)


def test_rows_and_classes_change_place_together():
    four = [predictions(seed=seed) for seed in range(4)]
    labels, belief = torch.tensor([0, 1, 2, 3, 0, -1]), torch.rand(6, dtype=F64)
    rows, classes = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([2, 0, 3, 1])
    # Class c becomes the place of c in `classes`.
    renamed = torch.where(labels < 0, labels, classes.argsort()[labels])
    moved = [probs[rows][:, classes] for probs in four]
    expected = co_refine(four[0], four[1], labels, belief)[rows][:, classes]
    torch.testing.assert_close(co_refine(moved[0], moved[1], renamed[rows], belief[rows]), expected)
    torch.testing.assert_close(co_guess(*moved), co_guess(*four)[rows][:, classes])


def test_shapes_that_do_not_belong_together():
    probs, labels, belief = predictions(), torch.zeros(6, dtype=torch.int64), torch.ones(6)
    with pytest.raises(InputError, match=r"probs2 has shape \(5, 4\)"):
        co_refine(probs, probs[:5], labels, belief)
    with pytest.raises(InputError, match=r"labels has shape \(5,\)"):
        co_refine(probs, probs, labels[:5], belief)
    with pytest.raises(InputError, match=r"prob_clean has shape \(6, 1\).*expected \(6,\)"):
        co_refine(probs, probs, labels, belief[:, None])
    with pytest.raises(InputError, match="prob_clean"):
        co_refine(probs, probs, labels, 2 * belief)
    with pytest.raises(InputError, match="labels row 0 is 4"):
        co_refine(probs, probs, labels + 4, belief)
    with pytest.raises(InputError, match="four predictions"):
        co_guess(probs, probs, probs, probs[:, :3])


def test_mixing_by_hand():
    inputs, targets = torch.tensor([[[0.0]], [[8.0]]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mixed = mixup(inputs, targets, 0.25, torch.tensor([1, 0]))
    assert mixed.inputs.flatten().tolist() == [2.0, 6.0]
    assert mixed.targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    plain = mixup(inputs, targets, 0.25, torch.tensor([1, 0]), at_least_half=False)
    assert plain.inputs.flatten().tolist() == [6.0, 2.0]


def test_mixing_properties():
    inputs, targets, order = (
        torch.randn(6, 3, 2),
        predictions(dtype=torch.float32),
        mixup_permutation(6, 0, 0),
    )
    for lam in (1.0, 0.0):
        mixed = mixup(inputs, targets, lam, order)
        assert torch.equal(mixed.inputs, inputs)
        assert torch.equal(mixed.targets, targets)
    low, high = mixup(inputs, targets, 0.3, order), mixup(inputs, targets, 0.7, order)
    torch.testing.assert_close(low, high)
    torch.testing.assert_close(low.targets.sum(dim=1), torch.ones(6))
    assert torch.equal(
        mixup(inputs, targets, 0.4, torch.arange(6)).inputs.round(decimals=5), inputs.round(decimals=5)
    )
    # The same value as a tensor, for graphs; and autograd goes through the inputs.
    torch.testing.assert_close(mixup(inputs, targets, torch.tensor(0.3), order), low)
    inputs.requires_grad_()
    mixup(inputs, targets, 0.3, order).inputs.sum().backward()
    torch.testing.assert_close(inputs.grad, torch.ones_like(inputs))


def test_part_of_a_permutation_mixes_the_first_rows():
    inputs, targets, order = torch.randn(6, 3), predictions(dtype=torch.float32), mixup_permutation(6, 0, 1)
    part, whole = mixup(inputs, targets, 0.6, order[:2]), mixup(inputs, targets, 0.6, order)
    assert torch.equal(part.inputs, whole.inputs[:2])
    assert torch.equal(part.targets, whole.targets[:2])


def test_half_precision_inputs_stay_so():
    mixed = mixup(torch.ones(2, 3).bfloat16(), torch.eye(2), torch.tensor(0.3), torch.tensor([1, 0]))
    assert mixed.inputs.dtype == torch.bfloat16
    assert mixed.targets.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lam": 1.5}, "lam is 1.5"),
        ({"lam": float("nan")}, "lam is nan"),
        ({"inputs": torch.ones(2, 3, dtype=torch.uint8)}, "inputs has dtype torch.uint8"),
        ({"targets": torch.tensor([0, 1])}, "one_hot"),
        ({"targets": torch.eye(3)}, r"targets \(3, 3\)"),
        ({"targets": torch.ones(2)}, r"\(B, classes\)"),
        ({"permutation": torch.tensor([0, 1, 2])}, "at most 2 rows"),
        ({"permutation": torch.tensor([0.0, 1.0])}, "float32"),
    ],
)
def test_batches_that_cannot_be_mixed(change, message):
    whole = {"inputs": torch.ones(2, 3), "targets": torch.eye(2), "lam": 0.5, "permutation": torch.arange(2)}
    with pytest.raises(InputError, match=message):
        mixup(**whole | change)


def test_the_coefficient_is_a_function_of_seed_and_step_with_the_right_distribution():
    draws = np.array([mixup_lambda(4.0, 3, step, at_least_half=False) for step in range(4000)])
    assert mixup_lambda(4.0, 3, 7, at_least_half=False) == draws[7]
    assert mixup_lambda(4.0, 3, 7) == max(draws[7], 1 - draws[7])
    assert mixup_lambda(4.0, 4, 7) != draws[7]
    # Beta(4, 4): mean 1/2, variance 1/36; four standard errors.
    assert abs(draws.mean() - 0.5) < 4 / 6 / 4000**0.5
    assert abs(draws.var() * 36 - 1) < 0.1
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / 4000**0.5
    from scipy.stats import beta, kstest

    assert kstest(draws, beta(4, 4).cdf).pvalue > 1e-3
    half = [mixup_lambda(0.5, 3, step) for step in range(200)]
    assert min(half) >= 0.5
    assert max(half) <= 1
    assert mixup_lambda(0.0, 3, 7) == 1


@pytest.mark.parametrize(
    "given",
    [(-1.0, 0, 0), (float("inf"), 0, 0), (float("nan"), 0, 0), (1.0, -1, 0), (1.0, 0, 0.5), (1.0, True, 0)],
)
def test_illegal_coefficients(given):
    with pytest.raises(InputError):
        mixup_lambda(*given)


def test_permutations_are_permutations_and_differ_by_step():
    orders = [mixup_permutation(50, 1, step) for step in range(3)]
    for order in orders:
        assert order.dtype == torch.int64
        assert torch.equal(order.sort().values, torch.arange(50))
    assert torch.equal(orders[1], mixup_permutation(50, 1, 1, device="cpu"))
    assert not torch.equal(orders[0], orders[1])
    assert mixup_permutation(0, 0, 0).shape == (0,)
