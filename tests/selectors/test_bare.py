"""BARE: the rule by hand and in loops, its properties, its edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn import functional

from tamis.errors import InputError, TamisWarning
from tamis.selectors import BareSelector, bare_loss, bare_selection

STATS = ["all", "same_label"]


def batch(b=40, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, k, (b,), generator=generator)
    noise = torch.randn(b, k, generator=generator, dtype=torch.float64)
    return 2 * noise + 2 * functional.one_hot(labels, k), labels


def slow_keep(logits, labels, kappa, stats):
    probs = np.clip(softmax(logits.numpy(), axis=1), 1e-8, 1 - 1e-8)
    thresholds = []
    for c in range(probs.shape[1]):
        column = probs[:, c] if stats == "all" else probs[labels.numpy() == c, c]
        spread = column.std(ddof=1) if stats == "all" else column.std()
        thresholds.append(column.mean() + kappa * spread)
    return np.array([probs[i, y] >= thresholds[y] for i, y in enumerate(labels)]), np.array(thresholds)


def test_by_hand():
    # Posteriors of class 0: 0.9, 0.5, 0.1: mean 0.5, deviation 0.4, so rows need 0.9; of class 1 the same.
    logits = torch.tensor([[9.0, 1.0], [1.0, 1.0], [1.0, 9.0]], dtype=torch.float64).log()
    with pytest.warns(TamisWarning, match="kappa is 1 with 2 classes"):
        selection = bare_selection(logits, torch.tensor([0, 0, 0]), 1)
    torch.testing.assert_close(selection.threshold, torch.tensor([0.9, 0.9], dtype=torch.float64))
    assert selection.keep.tolist() == [True, False, False]
    assert selection.clean_scores.tolist() == pytest.approx([0.0, -0.4, -0.8], abs=1e-12)


@pytest.mark.parametrize("stats", STATS)
@pytest.mark.parametrize("kappa", [-1.0, 0.0, 0.5, 1.0])
def test_against_loops(stats, kappa):
    logits, labels = batch()
    selection = bare_selection(logits, labels, kappa, stats=stats)
    keep, thresholds = slow_keep(logits, labels, kappa, stats)
    assert selection.keep.tolist() == keep.tolist()
    np.testing.assert_allclose(selection.threshold, thresholds, rtol=1e-12)
    loss = bare_loss(logits, labels, kappa, stats=stats)
    torch.testing.assert_close(loss, functional.cross_entropy(logits[keep], labels[keep]))


class TestProperties:
    @pytest.mark.parametrize("stats", STATS)
    def test_constants_and_order(self, stats):
        logits, labels = batch()
        first = bare_selection(logits, labels, 0.3, stats=stats)
        shifted = bare_selection(logits + torch.randn(40, 1), labels, 0.3, stats=stats)
        assert torch.equal(shifted.keep, first.keep)
        rows, classes = torch.randperm(40), torch.tensor([3, 1, 0, 2])
        permuted = bare_selection(logits[rows], labels[rows], 0.3, stats=stats)
        assert torch.equal(permuted.keep, first.keep[rows])
        renamed = bare_selection(logits[:, classes], classes.argsort()[labels], 0.3, stats=stats)
        assert torch.equal(renamed.keep, first.keep)
        torch.testing.assert_close(renamed.threshold, first.threshold[classes])

    @pytest.mark.parametrize("stats", STATS)
    def test_higher_kappa_keeps_fewer(self, stats):
        logits, labels = batch()
        kept = [
            bare_selection(logits, labels, kappa, stats=stats).keep for kappa in (-1e6, -1, 0, 0.5, 1, 1e6)
        ]
        assert kept[0].all()
        assert not kept[-1].any()
        assert all((more | ~fewer).all() for more, fewer in itertools.pairwise(kept))
        plain = functional.cross_entropy(logits, labels)
        torch.testing.assert_close(bare_loss(logits, labels, 1e6, stats=stats), plain)

    def test_gradient(self):
        logits, labels = batch()
        logits.requires_grad_()
        keep = bare_selection(logits, labels).keep
        (gradient,) = torch.autograd.grad(bare_loss(logits, labels), logits)
        assert (gradient[~keep] == 0).all()
        expected = (logits.softmax(1) - functional.one_hot(labels, 4)) / keep.sum()
        torch.testing.assert_close(gradient[keep], expected[keep])

    def test_same_label_keeps_at_most_half(self):
        for seed in range(20):
            logits, labels = batch(seed=seed)
            keep = bare_selection(logits, labels, stats="same_label").keep
            for c in range(4):
                assert keep[labels == c].double().mean() <= 0.5

    @pytest.mark.parametrize("k", [3, 10])
    def test_separated_batch_is_kept(self, k):
        labels = torch.arange(k).repeat(2)
        logits = 30.0 * functional.one_hot(labels, k)
        assert bare_selection(logits, labels).keep.all()

    def test_two_classes_fall_back(self):
        labels = torch.tensor([0, 1] * 4)
        logits = 30.0 * functional.one_hot(labels, 2)
        with pytest.warns(TamisWarning, match="BARE then keeps nothing"):
            selection = bare_selection(logits, labels)
        assert not selection.keep.any()
        assert (selection.weight == 1).all()
        assert bare_selection(logits, labels, 0.0).keep.all()
        assert bare_selection(logits, labels, stats="same_label").keep.all()


class TestEdges:
    @pytest.mark.parametrize("stats", STATS)
    def test_one_sample(self, stats):
        logits, labels = torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([0])
        assert bare_selection(logits, labels, stats=stats).keep.all()
        value = bare_loss(logits, labels, stats=stats)
        torch.testing.assert_close(value, functional.cross_entropy(logits, labels))

    @pytest.mark.parametrize("stats", STATS)
    def test_no_sample(self, stats):
        logits, labels = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, dtype=torch.long)
        selection = bare_selection(logits, labels, stats=stats)
        assert selection.keep.shape == (0,)
        assert selection.threshold.tolist() == [-1.0] * 3
        value = bare_loss(logits, labels, stats=stats)
        value.backward()
        assert value.item() == 0.0

    @pytest.mark.parametrize("stats", STATS)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_equal_posteriors_are_ties(self, stats, dtype):
        # Rows that differ by order of classes only: rounding must not decide.
        row = torch.tensor([0.3, -1.7, 2.1], dtype=dtype)
        for b in (2, 3, 7, 64):
            logits = row.repeat(b, 1)
            assert bare_selection(logits, torch.zeros(b, dtype=torch.long), stats=stats).keep.all()

    def test_absent_and_single_class(self):
        logits, _ = batch(6, 4)
        selection = bare_selection(logits, torch.tensor([0, 0, 0, 0, 0, 2]), stats="same_label")
        assert selection.threshold[[1, 3]].tolist() == [-1.0, -1.0]
        assert selection.keep[5]

    def test_more_classes_than_samples(self):
        logits, labels = batch(5, 60)
        assert bare_selection(logits, labels).keep.any()

    def test_fallback(self):
        logits, labels = batch()
        logits.requires_grad_()
        skipped = bare_selection(logits, labels, 1e6, fallback="skip")
        assert (skipped.weight == 0).all()
        value = bare_loss(logits, labels, 1e6, fallback="skip")
        value.backward()
        assert value.item() == 0.0
        assert (logits.grad == 0).all()

    def test_a_class_ruled_out_does_no_harm(self):
        logits, labels = batch(12, 3)
        labels = labels.masked_fill(labels == 1, 0)
        logits[:, 1] = -math.inf
        logits.requires_grad_()
        value = bare_loss(logits, labels)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()

    def test_refuses(self):
        logits, labels = batch()
        for bad in (math.nan, math.inf):
            broken = logits.clone()
            broken[7, 2] = bad
            with pytest.raises(InputError, match="logits row 7 gives NaN"):
                bare_selection(broken, labels)
        for options, message in (
            ({"kappa": math.inf}, "kappa is inf"),
            ({"stats": "some"}, "stats is 'some'; expected one of 'all', 'same_label'"),
            ({"fallback": "none"}, "fallback is 'none'"),
        ):
            with pytest.raises(InputError, match=message):
                BareSelector(**options)
        with pytest.raises(InputError, match="labels row 0 is 9"):
            bare_selection(logits, labels + 9 - labels[0])


def test_half_precision():
    logits, labels = batch()
    selection = bare_selection(logits.bfloat16(), labels)
    assert selection.weight.dtype == torch.float32
    assert torch.equal(selection.keep, bare_selection(logits.bfloat16().double(), labels).keep)
    assert bare_loss(logits.half(), labels).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bare_selection(logits.float(), labels).keep, bare_selection(logits, labels).keep)
