"""Losses that remember samples: ELR, ELR+, self-adaptive training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses import (
    EarlyLearningLoss,
    EarlyLearningPlusLoss,
    SelfAdaptiveLoss,
    early_learning_loss,
    early_learning_plus_loss,
    early_learning_targets,
    self_adaptive_loss,
)

N, K = 9, 4
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0])


def logits_of(b=N, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(b, K, generator=generator, dtype=dtype)


def elr(**options):
    return EarlyLearningLoss(N, K, **({"dtype": torch.float64} | options))


def sat(**options):
    return SelfAdaptiveLoss(LABELS, K, **({"dtype": torch.float64, "start_epoch": 0} | options))


class SlowEarlyLearning:
    """ELR in plain loops."""

    def __init__(self, beta, lam):
        self.beta, self.lam, self.table = beta, lam, np.zeros((N, K))

    def __call__(self, logits, labels, index):
        total = 0.0
        for z, y, i in zip(logits.numpy(), labels.numpy(), index.numpy(), strict=True):
            p = np.clip(softmax(z), 1e-4, 1 - 1e-4)
            self.table[i] = self.beta * self.table[i] + (1 - self.beta) * p / p.sum()
            total += -log_softmax(z)[y] + self.lam * math.log(1 - self.table[i] @ p)
        return total / len(labels)


class SlowSelfAdaptive:
    """Self-adaptive training in plain loops."""

    def __init__(self, momentum):
        self.momentum, self.table = momentum, np.eye(K)[LABELS]

    def __call__(self, logits, labels, index):
        for z, i in zip(logits.numpy(), index.numpy(), strict=True):
            self.table[i] = self.momentum * self.table[i] + (1 - self.momentum) * softmax(z)
        index = index.numpy()
        weights = self.table[index].max(axis=1)
        weights = weights * len(index) / weights.sum()
        losses = -(self.table[index] * log_softmax(logits.numpy(), axis=1)).sum(axis=1)
        return (weights * losses).mean()


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (elr(beta=0.8, lam=2.0), SlowEarlyLearning(0.8, 2.0)),
        (sat(momentum=0.6), SlowSelfAdaptive(0.6)),
    ],
    ids=["elr", "sat"],
)
def test_epochs_against_loops(fast, slow):
    for epoch in range(3):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        logits = logits_of(seed=epoch)
        for rows in order.split(4):
            value = fast(logits[rows], LABELS[rows], rows)
            assert value.item() == pytest.approx(slow(logits[rows], LABELS[rows], rows), rel=1e-10)
    np.testing.assert_allclose(fast.targets, slow.table, rtol=1e-10)


class TestBoth:
    @pytest.mark.parametrize("make", [elr, sat])
    def test_order_and_batches_do_not_matter_to_the_table(self, make):
        logits, whole, pieces = logits_of(), make(), make()
        whole(logits, LABELS, torch.arange(N))
        for rows in torch.randperm(N).split(2):
            pieces(logits[rows], LABELS[rows], rows)
        torch.testing.assert_close(pieces.targets, whole.targets)

    @pytest.mark.parametrize("make", [elr, sat])
    def test_class_names_do_not_matter(self, make):
        logits, classes = logits_of(), torch.tensor([2, 0, 3, 1])
        first, second = make(reduction="none"), make(reduction="none")
        renamed = classes.argsort()[LABELS]
        if make is sat:
            second = SelfAdaptiveLoss(renamed, K, start_epoch=0, reduction="none", dtype=torch.float64)
        index = torch.arange(N)
        values = second(logits[:, classes], renamed, index)
        torch.testing.assert_close(values, first(logits, LABELS, index))
        torch.testing.assert_close(second.targets, first.targets[:, classes])
        assert torch.equal(second.suspects(renamed), first.suspects(LABELS))

    @pytest.mark.parametrize("make", [elr, sat])
    def test_evaluation_only_reads(self, make):
        loss = make()
        loss(logits_of(), LABELS, torch.arange(N))
        before = loss.targets.clone()
        rows = torch.tensor([3, 3, 1])
        value = loss.eval()(logits_of(3), LABELS[rows], rows)
        assert value.isfinite()
        assert torch.equal(loss.targets, before)

    @pytest.mark.parametrize("make", [elr, sat])
    def test_table_is_saved_with_the_module(self, make):
        loss, other = make(), make()
        loss(logits_of(), LABELS, torch.arange(N))
        other.load_state_dict(loss.state_dict())
        assert torch.equal(other.targets, loss.targets)
        assert list(loss.parameters()) == []

    @pytest.mark.parametrize("make", [elr, sat])
    def test_no_gradient_through_the_table(self, make):
        logits = logits_of().requires_grad_()
        loss = make()
        (gradient,) = torch.autograd.grad(loss(logits, LABELS, torch.arange(N)), logits)
        rows = loss.targets.clone()
        is_elr = make is elr
        value = early_learning_loss(logits, LABELS, rows) if is_elr else self_adaptive_loss(logits, rows)
        torch.testing.assert_close(torch.autograd.grad(value, logits)[0], gradient)

    @pytest.mark.parametrize("make", [elr, sat])
    def test_half_precision_and_table_in_float32(self, make):
        loss, exact = make(dtype=torch.float32), make()
        logits, index = logits_of().bfloat16(), torch.arange(N)
        value = loss(logits, LABELS, index)
        assert value.dtype == loss.targets.dtype == torch.float32
        assert value.item() == pytest.approx(exact(logits.double(), LABELS, index).item(), rel=1e-5)

    @pytest.mark.parametrize("make", [elr, sat])
    def test_empty_batch(self, make):
        loss, none = make(), torch.zeros(0, dtype=torch.long)
        before = loss.targets.clone()
        value = loss(torch.zeros(0, K, requires_grad=True), none, none)
        value.backward()
        assert value.item() == 0.0
        assert torch.equal(loss.targets, before)

    @pytest.mark.parametrize("make", [elr, sat])
    @pytest.mark.parametrize(
        ("index", "message"),
        [
            (None, "index is None; expected the data-set row"),
            (torch.tensor([0, 0]), "index holds 0 twice"),
            (torch.tensor([0, N]), rf"index holds {N}; expected rows from 0 to {N - 1}"),
            (torch.tensor([-1, 0]), "index holds -1"),
            (torch.tensor([0]), r"index has shape \(1,\)"),
            (torch.zeros(2), "type torch.float32"),
        ],
    )
    def test_wrong_index_leaves_the_table_alone(self, make, index, message):
        loss = make()
        before = loss.targets.clone()
        with pytest.raises(InputError, match=message):
            loss(logits_of(2), LABELS[:2], index)
        assert torch.equal(loss.targets, before)

    @pytest.mark.parametrize("make", [elr, sat])
    def test_other_number_of_classes(self, make):
        with pytest.raises(InputError, match=f"logits has 7 columns; expected {K}"):
            make()(torch.zeros(2, 7), LABELS[:2], torch.arange(2))

    @pytest.mark.parametrize("make", [elr, sat])
    def test_labels_of_the_verdict(self, make):
        with pytest.raises(InputError, match=r"labels has shape \(2,\); expected \(9,\)"):
            make().suspects(LABELS[:2])
        with pytest.raises(InputError, match="labels runs from 0 to 7"):
            make().clean_scores(torch.full((N,), 7).where(LABELS > 0, LABELS))
        unlabelled = LABELS.masked_fill(LABELS == 3, -1)
        loss = make()
        loss(logits_of(), LABELS, torch.arange(N))
        assert not loss.suspects(unlabelled)[LABELS == 3].any()
        assert torch.equal(loss.clean_scores(unlabelled).isnan(), LABELS == 3)


class TestEarlyLearning:
    def test_by_hand(self):
        # p = (0.8, 0.2), t = 0.3 p: CE = -log 0.8, <t, p> = 0.3 * 0.68.
        loss = EarlyLearningLoss(1, 2, beta=0.7, lam=3.0, dtype=torch.float64)
        logits = torch.tensor([[math.log(4.0), 0.0]], dtype=torch.float64)
        value = loss(logits, torch.tensor([0]), torch.tensor([0]))
        assert value.item() == pytest.approx(-math.log(0.8) + 3 * math.log(1 - 0.3 * 0.68), abs=1e-12)
        torch.testing.assert_close(loss.targets, torch.tensor([[0.24, 0.06]], dtype=torch.float64))

    def test_rows_sum_to_what_they_have_seen(self):
        loss = elr(beta=0.7)
        for n in range(1, 4):
            loss(logits_of(5, seed=n), LABELS[:5], torch.arange(5))
            torch.testing.assert_close(loss.targets[:5].sum(1), torch.full((5,), 1 - 0.7**n).double())
        assert (loss.targets >= 0).all()
        assert (loss.targets[5:] == 0).all()

    def test_without_weight_it_is_cross_entropy(self):
        logits = logits_of()
        value = elr(lam=0.0)(logits, LABELS, torch.arange(N))
        torch.testing.assert_close(value, functional.cross_entropy(logits, LABELS))

    def test_gradient_is_cut_where_the_posterior_is_clamped(self):
        logits = torch.tensor([[40.0, 0.0, -40.0]], dtype=torch.float64, requires_grad=True)
        targets = torch.tensor([[0.5, 0.3, 0.1]], dtype=torch.float64)
        with_term = early_learning_loss(logits, torch.tensor([1]), targets)
        (gradient,) = torch.autograd.grad(with_term, logits)
        (plain,) = torch.autograd.grad(functional.cross_entropy(logits, torch.tensor([1])), logits)
        assert torch.equal(gradient, plain)
        # With the surest network and the surest table: no logarithm of zero.
        for _ in range(500):
            targets = early_learning_targets(targets, logits)
        assert early_learning_loss(logits, torch.tensor([0]), targets).isfinite()
        assert early_learning_loss(logits.float(), torch.tensor([0]), targets).isfinite()

    def test_suspects(self):
        loss = elr()
        assert not loss.suspects(LABELS).any()
        assert (loss.clean_scores(LABELS) == 1).all()
        said = LABELS.clone()
        said[[2, 5]] = 0
        loss(9.0 * functional.one_hot(said, K)[:7].double(), LABELS[:7], torch.arange(7))
        assert loss.suspects(LABELS).nonzero()[:, 0].tolist() == [2, 5]
        scores = loss.clean_scores(LABELS)
        assert set(scores.argsort()[:2].tolist()) == {2, 5}
        assert (scores[7:] == 1).all()
        loss.targets[0] = 0.25  # a tie accuses nobody
        assert not loss.suspects(LABELS)[0]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"beta": 1.5}, "beta is 1.5"),
            ({"clamp": 0.0}, "clamp is 0.0"),
            ({"lam": -1.0}, "lam is -1.0; expected a finite weight of at least 0"),
            ({"lam": float("nan")}, "lam is nan"),
            ({"reduction": "sum"}, "reduction is 'sum'"),
            ({"dtype": torch.int64}, "dtype is torch.int64"),
            ({"n_samples": 0}, "n_samples is 0"),
            ({"n_classes": 0}, "n_classes 0"),
        ],
    )
    def test_wrong_parameters(self, options, message):
        for kind in (EarlyLearningLoss, EarlyLearningPlusLoss):
            with pytest.raises(InputError, match=message):
                kind(**({"n_samples": N, "n_classes": K} | options))


class TestEarlyLearningPlus:
    def test_against_loops(self):
        index, partner, m = torch.tensor([4, 0, 7]), torch.tensor([2, 0, 2]), torch.tensor([0.6, 0.9, 0.5])
        loss = EarlyLearningPlusLoss(N, K, beta=0.8, lam=2.0, ramp_length=10, dtype=torch.float64)
        other, mixed = logits_of(3, seed=1), logits_of(3, seed=2)
        loss.update(other, index)
        loss.update(other, index)
        one_hot = functional.one_hot(LABELS[index], K).double()
        targets = m[:, None] * one_hot + (1 - m[:, None]) * one_hot[partner]
        value = loss(mixed, targets, index, partner=partner, mix_weight=m.double(), step=5)
        history = (1 - 0.8**2) * softmax(other.numpy(), axis=1)
        total = 0.0
        for i in range(3):
            q = float(m[i]) * history[i] + (1 - float(m[i])) * history[partner[i]]
            p = np.clip(softmax(mixed[i].numpy()), 1e-4, 1 - 1e-4)
            total -= targets[i].numpy() @ log_softmax(mixed[i].numpy())
            total += math.exp(-5 * 0.25) * 2.0 * math.log(1 - q @ p)
        assert value.item() == pytest.approx(total / 3, rel=1e-7)
        np.testing.assert_allclose(loss.targets[index], history, rtol=1e-10)

    def test_without_mixing(self):
        index = torch.arange(N)
        loss = EarlyLearningPlusLoss(N, K, lam=0.0)
        loss.update(logits_of(), index)
        one_hot = functional.one_hot(LABELS, K)
        value = loss(logits_of(seed=3), one_hot, index)
        torch.testing.assert_close(value, functional.cross_entropy(logits_of(seed=3), LABELS))
        torch.testing.assert_close(loss.mixed_history(index), loss.targets)

    def test_reweighted_targets(self):
        # y' q = (0.5 * 0.2, 0.5 * 0.6): a quarter and three quarters.
        targets, history = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.2, 0.6, 0.2]])
        logits = torch.tensor([[1.0, 2.0, 3.0]])
        value = early_learning_plus_loss(logits, targets, history, lam=0.0, reweight_targets=True)
        expected = -(logits.log_softmax(1) * torch.tensor([[0.25, 0.75, 0.0]])).sum()
        torch.testing.assert_close(value, expected)
        # Nothing remembered yet: the targets as they are, not NaN.
        value = early_learning_plus_loss(logits, targets, torch.zeros(1, 3), reweight_targets=True)
        torch.testing.assert_close(value, -(logits.log_softmax(1) * targets).sum())

    def test_refuses(self):
        loss, index = EarlyLearningPlusLoss(N, K), torch.tensor([0, 1])
        with pytest.raises(InputError, match=r"mixed_targets has shape \(2,\); expected \(2, 4\)"):
            loss(logits_of(2), LABELS[:2], index)
        with pytest.raises(InputError, match="index holds 1 twice"):
            loss.update(logits_of(2), torch.tensor([1, 1]))
        with pytest.raises(InputError, match="averaged_logits is"):
            loss.update(LABELS[None], index)
        with pytest.raises(InputError, match="length -1"):
            EarlyLearningPlusLoss(N, K, ramp_length=-1)


class TestSelfAdaptive:
    def test_by_hand(self):
        # t = (0.9 + 0.1 * 0.8, 0.1 * 0.2) = (0.98, 0.02); one sample: weight 1.
        loss = SelfAdaptiveLoss(torch.tensor([0]), 2, start_epoch=0, dtype=torch.float64)
        logits = torch.tensor([[math.log(4.0), 0.0]], dtype=torch.float64)
        value = loss(logits, torch.tensor([0]), torch.tensor([0]))
        assert value.item() == pytest.approx(-0.98 * math.log(0.8) - 0.02 * math.log(0.2), abs=1e-12)

    def test_before_the_start_it_is_cross_entropy(self):
        loss, logits = sat(start_epoch=3), logits_of()
        before = loss.targets.clone()
        for epoch in range(3):
            loss.set_epoch(epoch)
            value = loss(logits, LABELS)
            torch.testing.assert_close(value, functional.cross_entropy(logits, LABELS))
        assert torch.equal(loss.targets, before)
        loss.set_epoch(3)
        loss(logits, LABELS, torch.arange(N))
        assert not torch.equal(loss.targets, before)

    def test_rows_always_sum_to_one(self):
        loss = sat()
        for seed in range(4):
            loss(logits_of(seed=seed), LABELS, torch.arange(N))
            torch.testing.assert_close(loss.targets.sum(1), torch.ones(N).double())

    def test_only_the_past_is_cross_entropy(self):
        logits = logits_of()
        value = sat(momentum=1.0, reduction="none")(logits, LABELS, torch.arange(N))
        torch.testing.assert_close(value, functional.cross_entropy(logits, LABELS, reduction="none"))

    def test_weights_have_mean_one(self):
        targets = logits_of().softmax(1)
        values = self_adaptive_loss(logits_of(), targets, reduction="none")
        plain = -(targets * logits_of().log_softmax(1)).sum(1)
        weights = values / plain
        assert weights.mean().item() == pytest.approx(1.0)
        torch.testing.assert_close(weights / weights.max(), targets.amax(1) / targets.amax())

    def test_unlabelled_rows_start_even(self):
        loss = SelfAdaptiveLoss(torch.tensor([1, -1]), 4)
        assert loss.targets.tolist() == [[0, 1, 0, 0], [0.25] * 4]
        assert loss.clean_scores(torch.tensor([1, -1]))[0] == 1

    @pytest.mark.parametrize(
        ("labels", "options", "message"),
        [
            (torch.tensor([0, 4]), {}, "labels runs from 0 to 4"),
            (torch.tensor([0, -2]), {}, "labels runs from -2 to 0"),
            (torch.zeros(2), {}, "labels is no integer tensor"),
            (torch.zeros(0, dtype=torch.long), {}, "n_samples is 0"),
            (LABELS, {"momentum": -0.1}, "momentum is -0.1"),
        ],
    )
    def test_wrong_parameters(self, labels, options, message):
        with pytest.raises(InputError, match=message):
            SelfAdaptiveLoss(labels, K, **options)
        with pytest.raises(InputError, match=r"targets has shape \(1, 4\)"):
            self_adaptive_loss(logits_of(), torch.ones(1, K))
