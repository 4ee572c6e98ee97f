"""Losses without memory: generalised, truncated and symmetric cross-entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses import (
    GeneralizedCrossEntropy,
    SymmetricCrossEntropy,
    TruncatedCrossEntropy,
    generalized_cross_entropy,
    symmetric_cross_entropy,
    truncated_cross_entropy,
)


def batch(b=12, k=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(b, k, generator=generator, dtype=dtype)
    return logits, torch.randint(0, k, (b,), generator=generator)


def all_truncated(logits, labels, *, reduction="mean"):
    weights = (torch.arange(len(labels)) % 2).to(logits.dtype)
    return truncated_cross_entropy(logits, labels, weights, reduction=reduction)


PLAIN = [generalized_cross_entropy, symmetric_cross_entropy]
LOSSES = [*PLAIN, all_truncated]


class TestByHand:
    def test_generalized(self):
        # p_y = 0.25: (1 - 0.25^0.5) / 0.5 = 1.
        logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
        value = generalized_cross_entropy(logits, torch.tensor([0]), q=0.5)
        assert value.item() == pytest.approx(1.0, abs=1e-12)

    def test_truncated(self):
        # q = 1: l = 0.75 and the loss at k = 0.5 is 0.5.
        logits = torch.tensor([[0.0, math.log(3.0)]] * 2, dtype=torch.float64)
        weights = torch.tensor([1.0, 0.0])
        values = truncated_cross_entropy(logits, torch.tensor([0, 0]), weights, q=1.0, reduction="none")
        assert values.tolist() == pytest.approx([0.25, 0.0], abs=1e-12)

    def test_symmetric(self):
        # p_y = 0.25: CE = log 4, RCE = 0.75 * 4 log 10.
        logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
        value = symmetric_cross_entropy(logits, torch.tensor([0]), alpha=2.0, beta=0.5)
        assert value.item() == pytest.approx(2 * math.log(4) + 0.5 * 0.75 * 4 * math.log(10), abs=1e-12)


class TestReference:
    @pytest.mark.parametrize("q", [1e-3, 0.3, 0.7, 1.0])
    def test_generalized(self, q):
        logits, labels = batch()
        given = softmax(logits.numpy(), axis=1)[np.arange(12), labels]
        values = generalized_cross_entropy(logits, labels, q, reduction="none")
        np.testing.assert_allclose(values, (1 - given**q) / q, rtol=1e-9)

    def test_symmetric(self):
        logits, labels = batch()
        probs, logs = softmax(logits.numpy(), axis=1), log_softmax(logits.numpy(), axis=1)
        one_hot = np.eye(5)[labels]
        slow = [
            0.1 * -logs[i, labels[i]]
            + sum(-max(probs[i, c], 1e-7) * np.log(max(one_hot[i, c], 1e-4)) for c in range(5))
            for i in range(12)
        ]
        values = symmetric_cross_entropy(logits, labels, reduction="none")
        np.testing.assert_allclose(values, slow, rtol=1e-12)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_gradients(self, loss):
        logits, labels = batch(b=4, k=3)
        assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


class TestProperties:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_mean_of_the_samples(self, loss):
        logits, labels = batch()
        torch.testing.assert_close(loss(logits, labels), loss(logits, labels, reduction="none").mean())

    @pytest.mark.parametrize("loss", PLAIN)
    def test_order_of_samples_and_classes(self, loss):
        logits, labels = batch()
        rows, classes = torch.randperm(12), torch.randperm(5)
        values = loss(logits, labels, reduction="none")
        torch.testing.assert_close(loss(logits[rows], labels[rows], reduction="none"), values[rows])
        renamed = loss(logits[:, classes], classes.argsort()[labels], reduction="none")
        torch.testing.assert_close(renamed, values)
        torch.testing.assert_close(loss(logits + 7, labels, reduction="none"), values)

    def test_generalized_is_bounded(self):
        logits, labels = batch(200)
        for q in (0.2, 0.7, 1.0):
            values = generalized_cross_entropy(10 * logits, labels, q, reduction="none")
            assert ((values >= 0) & (values <= 1 / q)).all()
            columns = [
                generalized_cross_entropy(logits, torch.full((200,), c), q, reduction="none")
                for c in range(5)
            ]
            total = torch.stack(columns).sum(dim=0)
            assert (total >= (5 - 5 ** (1 - q)) / q - 1e-9).all()
            assert (total <= 4 / q + 1e-9).all()

    def test_generalized_between_cross_entropy_and_absolute_error(self):
        logits, labels = batch()
        plain = functional.cross_entropy(logits, labels)
        torch.testing.assert_close(generalized_cross_entropy(logits, labels, 1e-7), plain, rtol=1e-6, atol=0)
        error = (functional.one_hot(labels, 5) - logits.softmax(1)).abs().sum(1).mean() / 2
        torch.testing.assert_close(generalized_cross_entropy(logits, labels, 1.0), error)

    def test_generalized_falls_in_the_posterior(self):
        logits = torch.stack([torch.linspace(-20, 20, 50), torch.zeros(50)], dim=1).double()
        values = generalized_cross_entropy(logits, torch.zeros(50, dtype=torch.long), reduction="none")
        assert (values.diff() <= 0).all()

    def test_symmetric_without_one_of_its_terms(self):
        logits, labels = batch()
        plain = functional.cross_entropy(logits, labels)
        torch.testing.assert_close(symmetric_cross_entropy(logits, labels, 0.3, 0.0), 0.3 * plain)
        columns = [
            symmetric_cross_entropy(logits, torch.full((12,), c), 0.0, 1.0, reduction="none")
            for c in range(5)
        ]
        # Noise tolerant: the sum over all labels does not depend on the network.
        expected = torch.full((12,), -math.log(1e-4) * 4, dtype=torch.float64)
        torch.testing.assert_close(torch.stack(columns).sum(dim=0), expected, rtol=1e-5, atol=0)

    def test_symmetric_second_term_is_still_at_both_ends(self):
        logits = torch.tensor([[60.0, 0.0], [0.0, 60.0]], requires_grad=True)
        symmetric_cross_entropy(logits, torch.tensor([0, 0]), 0.0, 1.0).backward()
        assert logits.grad.abs().max() < 1e-6

    def test_truncated_leaves_out(self):
        logits, labels = batch()
        loss = TruncatedCrossEntropy(12, q=0.7, k=0.5)
        index = torch.arange(12)
        loss.refresh(logits, labels, index)
        given = logits.softmax(1)[index, labels]
        assert torch.equal(loss.weights.bool(), given > 0.5)
        logits.requires_grad_()
        loss(logits, labels, index).backward()
        assert (logits.grad[given <= 0.5] == 0).all()
        assert (logits.grad[given > 0.5].abs().sum(dim=1) > 0).all()
        # Refreshed in pieces and in another order: the same.
        again = TruncatedCrossEntropy(12)
        for rows in torch.randperm(12).split(5):
            again.refresh(logits.detach()[rows], labels[rows], rows)
        assert torch.equal(again.weights, loss.weights)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("q", [0.01, 0.1, 0.3, 0.4, 0.6, 0.7, 1.0])
    @pytest.mark.parametrize("n_classes", [2, 4, 8])
    def test_truncated_leaves_out_a_posterior_of_exactly_k(self, n_classes, q, dtype):
        loss = TruncatedCrossEntropy(1, q=q, k=1 / n_classes)
        loss.refresh(torch.zeros(1, n_classes, dtype=dtype), torch.tensor([0]), torch.tensor([0]))
        assert loss.weights.tolist() == [0.0]


class TestEdges:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_empty_batch(self, loss):
        logits = torch.zeros(0, 3, requires_grad=True)
        value = loss(logits, torch.zeros(0, dtype=torch.long))
        value.backward()
        assert value.item() == 0.0

    @pytest.mark.parametrize("loss", LOSSES)
    def test_sure_and_wrong(self, loss):
        logits = torch.tensor([[300.0, -300.0], [-1e4, 1e4]], requires_grad=True)
        value = loss(logits, torch.tensor([1, 0]))
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()

    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, loss, dtype):
        logits, labels = batch()
        value = loss(logits.to(dtype), labels)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(logits.to(dtype).float(), labels))
        assert loss(logits, labels).dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(loss(logits.float(), labels), loss(logits, labels).float())

    @pytest.mark.parametrize("loss", LOSSES)
    def test_one_class(self, loss):
        value = loss(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long), reduction="none")
        assert value[0].item() == 0.0

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (torch.zeros(2, 3), torch.tensor([0, 3]), "labels row 1 is 3; expected a class code from 0 to 2"),
            (torch.zeros(2, 3), torch.tensor([-1, 0]), r"labels row 0 is -1; .* Leave unlabelled rows"),
            (torch.zeros(2, 3), torch.tensor([0]), r"labels has shape \(1,\); expected \(2,\)"),
            (torch.zeros(2, 3), torch.zeros(2), "labels is torch.float32; expected an integer tensor"),
            (torch.zeros(2, 3), [0, 1], "labels is list; expected an integer tensor"),
            (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]), "logits is torch.int64"),
            (torch.zeros(2), torch.tensor([0, 1]), r"logits has shape \(2,\); expected \(B, K\)"),
        ],
    )
    @pytest.mark.parametrize("loss", PLAIN)
    def test_wrong_batch(self, loss, logits, labels, message):
        with pytest.raises(InputError, match=message):
            loss(logits, labels)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: GeneralizedCrossEntropy(0.0), "q is 0.0; expected a number above 0"),
            (lambda: GeneralizedCrossEntropy(1.1), "q is 1.1"),
            (
                lambda: GeneralizedCrossEntropy(reduction="sum"),
                "reduction is 'sum'; expected 'mean' or 'none'",
            ),
            (lambda: TruncatedCrossEntropy(0), "n_samples is 0"),
            (lambda: TruncatedCrossEntropy(3, k=0.0), "k is 0.0"),
            (lambda: SymmetricCrossEntropy(alpha=-1.0), "alpha is -1.0"),
            (lambda: SymmetricCrossEntropy(beta=math.nan), "beta nan"),
            (lambda: SymmetricCrossEntropy(clamp_label=0.0), "clamp_label is 0.0"),
        ],
    )
    def test_wrong_parameters(self, make, message):
        with pytest.raises(InputError, match=message):
            make()

    def test_truncated_needs_its_rows(self):
        loss, (logits, labels) = TruncatedCrossEntropy(3), batch(b=2)
        with pytest.raises(InputError, match="index is None"):
            loss(logits, labels)
        with pytest.raises(InputError, match=r"index holds 3; expected rows from 0 to 2"):
            loss(logits, labels, torch.tensor([0, 3]))
        with pytest.raises(InputError, match="index holds 1 twice"):
            loss.refresh(logits, labels, torch.tensor([1, 1]))
        # Only reading, a row may come twice.
        loss(logits, labels, torch.tensor([1, 1]))
        with pytest.raises(InputError, match=r"weights has shape \(3,\)"):
            truncated_cross_entropy(logits, labels, torch.ones(3))


@pytest.mark.parametrize("loss", [GeneralizedCrossEntropy(0.5), SymmetricCrossEntropy(6.0, 0.1)])
def test_modules_do_what_the_functions_do(loss):
    logits, labels = batch()
    function = {
        GeneralizedCrossEntropy: lambda: generalized_cross_entropy(logits, labels, 0.5),
        SymmetricCrossEntropy: lambda: symmetric_cross_entropy(logits, labels, 6.0, 0.1),
    }[type(loss)]
    assert loss(logits, labels).item() == function().item()
    loss.reduction = "none"
    assert loss(logits, labels, torch.arange(12)).shape == (12,)


@pytest.mark.slow
@pytest.mark.parametrize("loss", PLAIN)
def test_losses_compile_to_one_graph(loss):
    logits, labels = batch()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, labels), loss(logits, labels))
