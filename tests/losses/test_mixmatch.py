"""Soft cross-entropy, DivideMix's terms, their ramp: by hand, loops, properties, edges, autocast, noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from tamis.errors import InputError
from tamis.losses import (
    linear_rampup,
    mixmatch_losses,
    negative_entropy,
    soft_cross_entropy,
    uniform_mean_penalty,
)

F64 = torch.float64


def batch(n=5, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator, dtype=F64)
    return logits, torch.rand(n, k, generator=generator, dtype=F64).softmax(dim=1)


def test_soft_cross_entropy_against_torch():
    logits, targets = batch()
    torch.testing.assert_close(soft_cross_entropy(logits, targets), cross_entropy(logits, targets))
    each = soft_cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(each, cross_entropy(logits, targets, reduction="none"))
    labels = torch.tensor([0, 1, 2, 3, 1])
    torch.testing.assert_close(
        soft_cross_entropy(logits, one_hot(labels, 4).double()), cross_entropy(logits, labels)
    )
    assert soft_cross_entropy(logits, torch.zeros(5, 4)) == 0


def test_terms_against_loops():
    (logits_x, targets_x), (logits_u, targets_u) = batch(5, seed=1), batch(3, seed=2)
    p_x, p_u = (np.exp(part.numpy()) for part in (logits_x, logits_u))
    p_x, p_u = p_x / p_x.sum(axis=1, keepdims=True), p_u / p_u.sum(axis=1, keepdims=True)
    labelled = -sum(float(targets_x[i, c]) * math.log(p_x[i, c]) for i in range(5) for c in range(4)) / 5
    unlabelled = sum((p_u[i, c] - float(targets_u[i, c])) ** 2 for i in range(3) for c in range(4)) / 12
    means = [(p_x[:, c].sum() + p_u[:, c].sum()) / 8 for c in range(4)]
    penalty = sum(0.25 * math.log(0.25 / mean) for mean in means)
    found = mixmatch_losses(logits_x, targets_x, logits_u, targets_u)
    np.testing.assert_allclose([float(term) for term in found], [labelled, unlabelled, penalty], rtol=1e-12)
    np.testing.assert_allclose(float(found.total(2.5)), labelled + 2.5 * unlabelled + penalty, rtol=1e-12)


def test_gradients():
    (logits_x, targets_x), (logits_u, targets_u) = batch(3, seed=1), batch(2, seed=2)
    inputs = logits_x.requires_grad_(), logits_u.requires_grad_()

    def total(x, u):
        return mixmatch_losses(x, targets_x, u, targets_u).total(3.0) + negative_entropy(x)

    assert torch.autograd.gradcheck(total, inputs)


def test_rows_and_classes_change_place():
    (logits_x, targets_x), (logits_u, targets_u) = batch(5, seed=1), batch(3, seed=2)
    rows, classes = torch.tensor([4, 0, 3, 1, 2]), torch.tensor([3, 1, 0, 2])
    found = mixmatch_losses(logits_x, targets_x, logits_u, targets_u)
    moved = mixmatch_losses(
        logits_x[rows][:, classes], targets_x[rows][:, classes], logits_u[:, classes], targets_u[:, classes]
    )
    torch.testing.assert_close(tuple(moved), tuple(found))


def test_the_penalty_is_a_divergence_from_uniform():
    for seed in range(20):
        assert uniform_mean_penalty(batch(seed=seed)[0] * 3) > 0
    balanced = 5 * torch.eye(4, dtype=F64)
    assert abs(float(uniform_mean_penalty(balanced))) < 1e-15
    assert abs(float(uniform_mean_penalty(torch.zeros(2, 7)))) < 1e-7
    # A class that is never predicted: clamped, finite, with a finite gradient.
    logits = torch.tensor([[0.0, -1e4]], requires_grad=True)
    penalty = uniform_mean_penalty(logits)
    assert penalty.item() == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / 1e-8), rel=1e-6)
    penalty.backward()
    assert torch.isfinite(logits.grad).all()


def test_negative_entropy_has_its_bounds():
    assert float(negative_entropy(torch.zeros(3, 8, dtype=F64))) == pytest.approx(-math.log(8))
    assert float(negative_entropy(torch.tensor([[1e4, 0.0]]))) == 0
    logits, _ = batch()
    expected = torch.distributions.Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(negative_entropy(logits), -expected)
    assert negative_entropy(torch.zeros(0, 3)) == 0


def test_the_ramp():
    given = {"warm_up": 10, "weight": 25}
    assert linear_rampup(0, **given) == linear_rampup(10, **given) == 0
    assert linear_rampup(14, **given) == 25 / 4
    assert linear_rampup(18.5, warm_up=10, weight=150) == 79.6875
    assert linear_rampup(26, **given) == linear_rampup(300, **given) == 25
    assert linear_rampup(11, warm_up=10, rampup_length=4) == 0.25
    assert linear_rampup(9.9, warm_up=10, rampup_length=0) == 0
    assert linear_rampup(10, warm_up=10, rampup_length=0) == 1


@pytest.mark.parametrize(
    "change",
    [{"rampup_length": -1}, {"epoch": float("nan")}, {"warm_up": float("nan")}, {"rampup_length": math.nan}],
)
def test_illegal_ramps(change):
    with pytest.raises(InputError, match="rampup_length"):
        linear_rampup(**{"epoch": 1, "warm_up": 0} | change)


def test_a_missing_part_has_no_loss():
    logits, targets = batch()
    alone, empty = mixmatch_losses(logits, targets), mixmatch_losses(logits, targets, logits[:0], targets[:0])
    assert alone.unlabelled == empty.unlabelled == 0
    torch.testing.assert_close(tuple(alone), tuple(empty))
    torch.testing.assert_close(alone.penalty, uniform_mean_penalty(logits))
    other = mixmatch_losses(logits[:0], targets[:0], logits, targets)
    assert other.labelled == 0
    assert torch.isfinite(other.total(1.0))
    logits.requires_grad_()
    mixmatch_losses(logits, targets, logits[:0], targets[:0]).total(1.0).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, targets = batch(8)
    logits, targets = logits.mul(20).to(dtype), targets.float()
    found = mixmatch_losses(logits, targets, logits, targets)
    wide = mixmatch_losses(logits.double(), targets.double(), logits.double(), targets.double())
    for half, full in zip(found, wide, strict=True):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, full.float())


def test_autocast():
    weight, (rows, targets) = torch.randn(4, 4), batch(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = rows.float() @ weight
        assert logits.dtype == torch.bfloat16
        found = mixmatch_losses(logits, targets.float(), logits, targets.float()).total(1.0)
        entropy = negative_entropy(logits)
    assert found.dtype == entropy.dtype == torch.float32


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    found = mixmatch_losses(logits, torch.eye(2), logits, torch.eye(2))
    assert [float(term) for term in found] == pytest.approx([0, 0, 0], abs=1e-6)


def test_shapes_that_do_not_belong_together():
    logits, targets = batch()
    with pytest.raises(InputError, match=r"targets \(5, 3\)"):
        soft_cross_entropy(logits, targets[:, :3])
    with pytest.raises(InputError, match="reduction is 'sum'"):
        soft_cross_entropy(logits, targets, reduction="sum")
    with pytest.raises(InputError, match="one is missing"):
        mixmatch_losses(logits, targets, logits)
    with pytest.raises(InputError, match=r"targets_u \(4, 4\)"):
        mixmatch_losses(logits, targets, logits, targets[:4])
    with pytest.raises(InputError, match="same classes"):
        mixmatch_losses(logits, targets, logits[:, :3], targets[:, :3])
    with pytest.raises(InputError, match="no rows"):
        mixmatch_losses(logits[:0], targets[:0])
    with pytest.raises(InputError, match="int64"):
        soft_cross_entropy(logits.long(), targets)


def test_the_confidence_penalty_keeps_wrong_labels_less_certain():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (300,), generator=generator)
    rows = torch.randn(300, 20, generator=generator) + 1.5 * one_hot(truth, 20)
    labels = torch.where(torch.rand(300, generator=generator) < 0.3, (truth + 1) % 3, truth)
    entropies = {}
    for strength in (0.0, 1.0):
        weight = torch.zeros(3, 20, requires_grad=True)
        optimiser = torch.optim.SGD([weight], lr=1.0)
        for _ in range(100):
            optimiser.zero_grad()
            logits = rows @ weight.T
            (cross_entropy(logits, labels) + strength * negative_entropy(logits)).backward()
            optimiser.step()
        entropies[strength] = -negative_entropy(rows @ weight.T).item()
    assert entropies[1.0] > entropies[0.0] + 0.1
