"""Losses of two networks: Co-teaching and JoCoR."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses import (
    CoTeachingLoss,
    JointTrainingLoss,
    co_teaching_losses,
    joint_losses,
    joint_training_loss,
)

B, K = 11, 4
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2])


def pair():
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(2, B, K, generator=generator, dtype=torch.float64)


def cross_entropy(logits):
    return functional.cross_entropy(logits, LABELS, reduction="none")


class TestCoTeaching:
    def test_by_hand(self):
        # Network 1 finds row 0 easy, network 2 row 1: each trains on the other's row.
        first = torch.tensor([[5.0, 0.0], [1.0, 0.0]])
        second = torch.tensor([[1.0, 0.0], [5.0, 0.0]])
        losses = co_teaching_losses(first, second, torch.tensor([0, 0]), 0.5)
        assert (losses.selected1.tolist(), losses.selected2.tolist()) == ([0], [1])
        assert losses.loss1.item() == losses.loss2.item() == pytest.approx(np.log1p(np.exp(-1)), rel=1e-6)

    @pytest.mark.parametrize("rate", [0.1, 0.45, 0.9])
    def test_against_loops(self, rate):
        first, second = pair()
        losses = co_teaching_losses(first, second, LABELS, rate)
        n = int((1 - rate) * B)
        easy1, easy2 = (
            np.argsort(cross_entropy(each).numpy(), kind="stable")[:n] for each in (first, second)
        )
        assert losses.selected1.tolist() == sorted(easy1)
        assert losses.selected2.tolist() == sorted(easy2)
        assert losses.loss1.item() == pytest.approx(cross_entropy(first)[easy2].mean().item())
        assert losses.loss2.item() == pytest.approx(cross_entropy(second)[easy1].mean().item())

    def test_nothing_dropped_is_cross_entropy(self):
        first, second = pair()
        losses = co_teaching_losses(first, second, LABELS, 0.0)
        torch.testing.assert_close(losses.loss1, functional.cross_entropy(first, LABELS))
        torch.testing.assert_close(losses.loss2, functional.cross_entropy(second, LABELS))

    def test_swapped_networks_swap_losses(self):
        first, second = pair()
        one, two = (
            co_teaching_losses(first, second, LABELS, 0.4),
            co_teaching_losses(second, first, LABELS, 0.4),
        )
        assert (one.loss1, one.loss2) == (two.loss2, two.loss1)
        assert torch.equal(one.selected1, two.selected2)

    def test_no_gradient_for_what_was_not_selected(self):
        first, second = pair().requires_grad_()
        losses = co_teaching_losses(first, second, LABELS, 0.5)
        (gradient,) = torch.autograd.grad(losses.loss1, first)
        used = torch.zeros(B, dtype=torch.bool)
        used[losses.selected2] = True
        assert torch.equal(gradient.abs().sum(1) > 0, used)

    def test_order_does_not_matter(self):
        first, second = pair()
        rows = torch.randperm(B)
        one = co_teaching_losses(first, second, LABELS, 0.4)
        two = co_teaching_losses(first[rows], second[rows], LABELS[rows], 0.4)
        torch.testing.assert_close(one.loss1, two.loss1)
        assert sorted(rows[two.selected1].tolist()) == one.selected1.tolist()

    def test_edges(self):
        first, second = pair()
        # All dropped: one sample stays, where the authors' code divides by zero.
        assert len(co_teaching_losses(first, second, LABELS, 1.0).selected1) == 1
        assert len(co_teaching_losses(first[:1], second[:1], LABELS[:1], 0.5).selected1) == 1
        empty = co_teaching_losses(first[:0], second[:0], LABELS[:0], 0.5)
        assert empty.loss1.item() == empty.loss2.item() == 0.0
        # Ties: the earlier rows.
        same = torch.zeros(6, K)
        assert co_teaching_losses(same, same, LABELS[:6], 0.5).selected1.tolist() == [0, 1, 2]
        first[3] = torch.nan
        with pytest.raises(InputError, match="losses row 3 gives NaN"):
            co_teaching_losses(first, second, LABELS, 0.5)
        with pytest.raises(InputError, match="forget_rate is 20"):
            co_teaching_losses(second, second, LABELS, 20)
        with pytest.raises(InputError, match="logits2 has 5 rows"):
            co_teaching_losses(second, second[:5], LABELS, 0.5)

    def test_module_follows_the_schedule(self):
        first, second = pair()
        loss = CoTeachingLoss(0.5, n_gradual=3)
        for epoch, rate in enumerate((0.0, 0.25, 0.5, 0.5)):
            loss.set_epoch(epoch)
            assert loss(first, second, LABELS).loss1 == co_teaching_losses(first, second, LABELS, rate).loss1
        with pytest.raises(InputError, match=r"rate is 1\.5"):
            CoTeachingLoss(1.5)


class TestJoint:
    def test_by_hand(self):
        # p1 = (1/2, 1/2), p2 = (3/4, 1/4): CE = log 2 + log 4/3; KL sum = (1/4) log 3.
        first, second = torch.zeros(1, 2).double(), torch.tensor([[3.0, 1.0]]).double().log()
        value = joint_losses(first, second, torch.tensor([0]), co_lambda=0.25)
        assert value.item() == pytest.approx(0.75 * np.log(8 / 3) + 0.25 * 0.25 * np.log(3))

    def test_against_scipy(self):
        first, second = pair()
        p, q = softmax(first.numpy(), axis=1), softmax(second.numpy(), axis=1)
        fit = -np.log(p[np.arange(B), LABELS]) - np.log(q[np.arange(B), LABELS])
        slow = 0.35 * fit + 0.65 * (rel_entr(p, q) + rel_entr(q, p)).sum(axis=1)
        np.testing.assert_allclose(joint_losses(first, second, LABELS, co_lambda=0.65), slow, rtol=1e-10)
        joint = joint_training_loss(first, second, LABELS, 0.45, co_lambda=0.65)
        assert joint.selected.tolist() == sorted(np.argsort(slow)[:6])
        assert joint.loss.item() == pytest.approx(np.sort(slow)[:6].mean())

    def test_properties(self):
        first, second = pair()
        both = joint_losses(first, second, LABELS)
        torch.testing.assert_close(joint_losses(second, first, LABELS), both)
        torch.testing.assert_close(joint_losses(first, first, LABELS, co_lambda=0.5), cross_entropy(first))
        other = (LABELS + 1) % K
        agreement = joint_losses(first, second, LABELS, co_lambda=1.0)
        assert torch.equal(agreement, joint_losses(first, second, other, co_lambda=1.0))
        assert (agreement >= 0).all()
        classes = torch.tensor([2, 0, 3, 1])
        renamed = joint_losses(first[:, classes], second[:, classes], classes.argsort()[LABELS])
        torch.testing.assert_close(renamed, both)

    def test_gradient_reaches_both_networks(self):
        first, second = pair().requires_grad_()
        joint = joint_training_loss(first, second, LABELS, 0.5)
        used = torch.zeros(B, dtype=torch.bool)
        used[joint.selected] = True
        for gradient in torch.autograd.grad(joint.loss, (first, second)):
            assert torch.equal(gradient.abs().sum(1) > 0, used)

    def test_edges(self):
        first, second = pair()
        assert joint_training_loss(first[:0], second[:0], LABELS[:0], 0.5).loss.item() == 0.0
        assert joint_training_loss(first, second, LABELS, 1.0).selected.shape == (1,)
        sure = torch.tensor([[2e3, -2e3]])
        assert joint_losses(sure, -sure, torch.tensor([0])).isfinite().all()
        assert joint_losses(first.half(), second.half(), LABELS).dtype == torch.float32
        with pytest.raises(InputError, match="co_lambda is 2"):
            joint_losses(first, second, LABELS, co_lambda=2)
        with pytest.raises(InputError, match=r"logits2 has shape \(11, 5\); expected \(11, 4\)"):
            joint_losses(first, torch.zeros(B, 5), LABELS)
        with pytest.raises(InputError, match="losses row 0 gives NaN"):
            joint_training_loss(first * torch.nan, second, LABELS, 0.5)

    def test_module_follows_the_schedule(self):
        first, second = pair()
        loss = JointTrainingLoss(0.5, co_lambda=0.3, n_gradual=0)
        expected = joint_training_loss(first, second, LABELS, 0.5, co_lambda=0.3)
        assert loss(first, second, LABELS).loss == expected.loss
        with pytest.raises(InputError, match="co_lambda is -1"):
            JointTrainingLoss(0.5, co_lambda=-1)
