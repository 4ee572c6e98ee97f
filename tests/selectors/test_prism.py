"""PRISM: its scores, its threshold, and both with a memory over a training."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import ive
from torch import Tensor

from tamis.errors import InputError
from tamis.memory import EmbeddingMemory
from tamis.metrics.ranking import average_precision
from tamis.selectors import OracleSelector, Prism, RandomDrop, Selection, prism_filter, prism_scores
from tamis.statistics.average_similarity import average_similarity_posterior
from tamis.statistics.class_sums import ClassSums
from tamis.statistics.vmf_similarity import ConcentrationRule, vmf_classes, vmf_posterior

D, C = 8, 5
SIMILARITIES = ["average", "vmf"]


class Network(NamedTuple):
    features: Tensor


def world(n=200, seed=0, d=D, c=C, spread=0.5):
    """Return embeddings around one direction a class, of unequal spread, and their classes, in float64."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(1000 + d + c).normal(size=(c, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = draw.integers(0, c, n)
    widths = spread * np.linspace(0.3, 1.5, c) / np.sqrt(d)
    rows = centres[labels] + widths[labels, None] * draw.normal(size=(n, d))
    return torch.from_numpy(rows), torch.from_numpy(labels)


def planted(labels, rate, seed=0, c=C):
    """Return labels of which a share was moved to another class, and which."""
    draw = np.random.default_rng(seed)
    is_wrong = torch.from_numpy(draw.random(len(labels)) < rate)
    shift = torch.from_numpy(draw.integers(1, c, len(labels)))
    return torch.where(is_wrong, (labels + shift) % c, labels), is_wrong


def filled(rows, labels, c=C, **options):
    memory = EmbeddingMemory(len(rows), rows.shape[1], c, dtype=rows.dtype, **options)
    memory.enqueue(rows, labels)
    return memory


def scores_of(rows, labels, memory_rows, memory_labels, c=C, **options):
    memory = filled(memory_rows, memory_labels, c)
    return prism_scores(rows, labels, memory.sums, memory.counts, **options)


class TestAverageScores:
    def test_by_hand(self):
        memory = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -2.0]])
        got = scores_of(
            torch.tensor([[5.0, 0.0], [5.0, 0.0]]), torch.tensor([0, 1]), memory, torch.tensor([0, 0, 1]), 2
        )
        first, second = math.exp((1 + 0.6) / 2), math.exp(0.0)
        assert got.tolist() == pytest.approx([first / (first + second), second / (first + second)])

    def test_equals_the_mean_over_all_entries(self):
        memory, memory_labels = world(60, 1)
        rows, labels = world(20, 2)
        got = scores_of(rows, labels, memory, memory_labels)
        for row, label, score in zip(rows, labels, got, strict=True):
            cosines = memory @ row / memory.norm(dim=1) / row.norm()
            mean = torch.stack([cosines[memory_labels == k].mean() for k in range(C)])
            assert float(score) == pytest.approx(float(mean.exp()[label] / mean.exp().sum()), abs=1e-12)

    def test_equals_the_detector(self):
        memory, memory_labels = world(60, 1)
        rows, labels = world(20, 2)
        sums = ClassSums(C, D).partial_fit(memory, memory_labels)
        reference = average_similarity_posterior(rows, labels, sums).log_given
        torch.testing.assert_close(scores_of(rows, labels, memory, memory_labels).log(), reference)

    def test_absent_classes(self):
        memory, memory_labels = world(40, 1, c=3)
        rows, _ = world(6, 2)
        labels = torch.tensor([0, 1, 2, 3, 4, 0])
        left_out, counted = (
            scores_of(rows, labels, memory, memory_labels, absent_in_denominator=each)
            for each in (False, True)
        )
        assert left_out[3:5].tolist() == counted[3:5].tolist() == [1.0, 1.0]
        three = scores_of(rows[:3], labels[:3], memory, memory_labels, c=3)
        torch.testing.assert_close(left_out[:3], three)
        assert (counted[:3] < left_out[:3]).all()


class TestVmfScores:
    def test_equals_the_density(self):
        memory, memory_labels = world(60, 1)
        rows, labels = world(20, 2)
        sums = ClassSums(C, D).partial_fit(memory, memory_labels).sums.numpy()
        counts, nu = np.bincount(memory_labels, minlength=C), D / 2 - 1
        length = np.linalg.norm(sums, axis=1)
        r = length / counts
        kappa = r * (D - r**2) / (1 - r**2)
        bessel = np.log(ive(nu, kappa)) + kappa
        unit = rows.numpy() / np.linalg.norm(rows.numpy(), axis=1, keepdims=True)
        logits = nu * np.log(kappa) - bessel + kappa * (unit @ (sums / length[:, None]).T)
        expected = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        expected = (expected - logits.max(1, keepdims=True))[np.arange(20), labels.numpy()]
        got = scores_of(rows, labels, memory, memory_labels, similarity="vmf")
        np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("rule", [ConcentrationRule(), ConcentrationRule(min_count=8, unbiased=True)])
    @pytest.mark.parametrize("n", [14, 15, 40])
    def test_equals_the_detector_with_small_classes(self, rule, n):
        memory, memory_labels = world(n, 3)
        memory_labels[memory_labels == 4] = 3  # class 4 is absent
        rows, labels = world(30, 2)
        sums = ClassSums(C, D).partial_fit(memory, memory_labels)
        reference = vmf_posterior(rows, labels, vmf_classes(sums, rule)).log_given
        got = scores_of(rows, labels, memory, memory_labels, similarity="vmf", rule=rule)
        torch.testing.assert_close(got, reference, rtol=1e-9, atol=1e-9)

    def test_one_entry_a_class_borrows(self):
        rows, labels = world(5, 0)
        got = scores_of(rows, labels, rows, labels, similarity="vmf")
        assert torch.isfinite(got).all()
        assert (got < 0).all()

    def test_equal_concentration_ranks_as_a_cosine_softmax(self):
        rule = ConcentrationRule(kappa_min=20.0, kappa_max=20.0)
        memory, memory_labels = world(60, 1)
        rows, labels = world(40, 2)
        got = scores_of(rows, labels, memory, memory_labels, similarity="vmf", rule=rule)
        sums = ClassSums(C, D).partial_fit(memory, memory_labels).sums
        cosines = (rows / rows.norm(dim=1, keepdim=True)) @ (sums / sums.norm(dim=1, keepdim=True)).T
        expected = (20 * cosines).log_softmax(1)[torch.arange(40), labels]
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)

    def test_good_rows_do_not_all_score_the_same(self):
        rows, labels = world(40, 1, d=64, spread=0.5)
        got = scores_of(rows.float(), labels, rows.float(), labels, similarity="vmf")
        assert got.dtype == torch.float64
        assert len(got.unique()) > 35
        assert (got < 0).all()

    def test_better_where_spreads_differ(self):
        """Twenty classes of unequal spread, half of the labels wrong: the check of the specification."""
        gains = []
        for seed in range(5):
            rows, truth = world(2000, seed, d=64, c=20, spread=4.0)
            labels, is_wrong = planted(truth, 0.5, seed, c=20)
            areas = [
                area(scores_of(rows, labels, rows, labels, c=20, similarity=each), is_wrong)
                for each in SIMILARITIES
            ]
            gains.append(areas[1] - areas[0])
        assert np.mean(gains) > 0.02
        assert min(gains) > 0


def area(scores, is_wrong):
    """Return the area under the ROC curve of finding wrong labels by low scores."""
    order = scores.argsort().argsort().double()
    n_wrong, n_right = int(is_wrong.sum()), int((~is_wrong).sum())
    return 1 - float(order[is_wrong].sum() - n_wrong * (n_wrong - 1) / 2) / (n_wrong * n_right)


@pytest.mark.parametrize("similarity", SIMILARITIES)
class TestScores:
    def test_invariances(self, similarity):
        memory, memory_labels = world(60, 1)
        rows, labels = world(20, 2)
        draw = np.random.default_rng(5)
        rotation = torch.from_numpy(np.linalg.qr(draw.normal(size=(D, D)))[0])
        order, names = torch.from_numpy(draw.permutation(60)), torch.tensor([3, 0, 4, 1, 2])
        scale = torch.from_numpy(draw.uniform(0.1, 50, (20, 1)))

        def score(rows, labels, memory, memory_labels):
            return scores_of(rows, labels, memory, memory_labels, similarity=similarity)

        first = score(rows, labels, memory, memory_labels)
        for other in (
            score(rows, labels, memory[order], memory_labels[order]),
            score(rows, labels, memory.repeat(2, 1), memory_labels.repeat(2)),
            score(rows @ rotation, labels, memory @ rotation, memory_labels),
            score(rows, names[labels], memory, names[memory_labels]),
            score(rows * scale, labels, memory, memory_labels),
            torch.cat([score(rows[:7], labels[:7], memory, memory_labels), first[7:]]),
        ):
            torch.testing.assert_close(other, first, rtol=1e-9, atol=1e-9)

    def test_zero_and_undefined_rows(self, similarity):
        memory, memory_labels = world(60, 1)
        rows = torch.zeros(4, D, dtype=torch.float64)
        rows[1, 0], rows[2, 1] = math.nan, -math.inf
        got = scores_of(rows, torch.tensor([0, 0, 4, 1]), memory, memory_labels, similarity=similarity)
        assert got[1:3].tolist() == [-math.inf, -math.inf]
        assert torch.isfinite(got[[0, 3]]).all()
        if similarity == "average":
            assert got[0] == pytest.approx(1 / C)

    def test_empty_memory_and_empty_batch(self, similarity):
        rows, labels = world(4)
        sums, counts = torch.zeros(C, D), torch.zeros(C, dtype=torch.int64)
        certain = 1.0 if similarity == "average" else 0.0
        assert prism_scores(rows, labels, sums, counts, similarity=similarity).tolist() == [certain] * 4
        assert prism_scores(rows[:0], labels[:0], sums, counts, similarity=similarity).shape == (0,)

    def test_half_precision_and_autocast(self, similarity):
        memory, memory_labels = (each.float() for each in world(60, 1))
        rows, labels = world(20, 2)
        rows, memory_labels = rows.bfloat16().float(), memory_labels.long()
        first = scores_of(rows, labels, memory, memory_labels, similarity=similarity)
        half = scores_of(rows.bfloat16(), labels, memory, memory_labels, similarity=similarity)
        assert torch.equal(half, first)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(scores_of(rows, labels, memory, memory_labels, similarity=similarity), first)
        wide = scores_of(rows.double(), labels, memory.double(), memory_labels, similarity=similarity)
        torch.testing.assert_close(first.double(), wide, rtol=1e-4, atol=1e-5)

    def test_refusals(self, similarity):
        rows, labels = world(4)
        sums, counts = torch.ones(C, D), torch.ones(C, dtype=torch.int64)
        for wrong, message in (
            ((rows[:, :3], labels, sums, counts), r"embeddings has shape \(4, 3\)"),
            ((rows.long(), labels, sums, counts), "dtype torch.int64"),
            ((rows, labels + C, sums, counts), "labels row 0 is"),
            ((rows, labels[:2], sums, counts), "labels has shape"),
            ((rows, labels, sums, counts[:2]), "counts"),
        ):
            with pytest.raises(InputError, match=message):
                prism_scores(*wrong, similarity=similarity)


class TestFilter:
    def test_by_hand(self):
        scores = torch.tensor([0.5, 0.2, 0.4, 0.1, 0.3])
        result = prism_filter(scores, 0.4, torch.tensor([0.9, 0.6, 0.3]), window=3)
        # Q = 0.2, the second smallest; the window 0.6, 0.3, 0.2; its mean 0.3667.
        assert result.threshold == pytest.approx(1.1 / 3)
        assert result.keep.tolist() == [True, False, True, False, False]
        assert result.quantiles == pytest.approx([0.6, 0.3, 0.2])

    def test_trm_keeps_all_but_the_share(self):
        for n in (3, 10, 64, 101):
            scores = torch.rand(n, generator=torch.Generator().manual_seed(n))
            for rate in (0.0, 0.1, 0.34, 0.5, 0.99):
                keep = prism_filter(scores, rate, torch.zeros(0), window=1).keep
                assert int(keep.sum()) == n - int(rate * n)
                if keep.any() and not keep.all():
                    assert scores[keep].min() > scores[~keep].max()

    def test_steady_scores_give_the_quantile(self):
        draw, quantiles = np.random.default_rng(0), torch.zeros(0)
        for _ in range(300):
            result = prism_filter(torch.from_numpy(draw.random(400)), 0.3, quantiles, window=100)
            quantiles = torch.tensor(result.quantiles)
        assert len(result.quantiles) == 100
        assert result.threshold == pytest.approx(0.3, abs=0.01)

    def test_order_of_the_rows(self):
        scores, order = torch.rand(50), torch.randperm(50)
        first = prism_filter(scores, 0.4, torch.tensor([0.3]))
        other = prism_filter(scores[order], 0.4, torch.tensor([0.3]))
        assert torch.equal(other.keep, first.keep[order])
        assert other.threshold == first.threshold

    @pytest.mark.parametrize(("certain", "scale"), [(1.0, 1.0), (0.0, -1.0)])
    def test_unseen_classes_are_never_dropped(self, certain, scale):
        all_unseen = torch.full((6,), certain)
        for known in (torch.zeros(0), torch.tensor([certain - 0.5])):
            result = prism_filter(all_unseen, 0.5, known, certain=certain)
            assert result.keep.all()
            assert result.quantiles == known.tolist()
        # Fewer seen than are to be left out: no quantile, and without any the seen ones stay too.
        mixed = torch.tensor([certain - 0.25, certain, certain, certain])
        assert prism_filter(mixed, 0.5, torch.zeros(0), certain=certain).keep.all()
        kept = prism_filter(mixed, 0.5, torch.tensor([certain - 0.125]), certain=certain).keep
        assert kept.tolist() == [False, True, True, True]

    def test_all_below_the_threshold(self):
        scores = torch.tensor([0.3, 0.1, 0.2, 0.4])
        result = prism_filter(scores, 0.5, torch.tensor([0.9, 0.8]), window=5)
        assert result.keep.tolist() == [True, False, False, True]
        assert result.quantiles == pytest.approx([0.2])
        assert result.threshold == pytest.approx(0.2)
        equal = prism_filter(torch.full((4,), 0.25), 0.5, torch.zeros(0))
        assert equal.keep.tolist() == [False, False, True, True]

    def test_undefined_scores(self):
        for bad in (math.nan, -math.inf):
            scores = torch.tensor([0.3, bad, 0.2, 0.4])
            result = prism_filter(scores, 0.5, torch.tensor([0.25]))
            assert result.quantiles == [0.25]
            assert result.keep.tolist() == [True, False, False, True]
            result = prism_filter(scores, 0.5, torch.tensor([0.9]))
            assert result.keep.tolist() == [True, False, False, True]
            assert prism_filter(scores, 0.0, torch.zeros(0)).keep.tolist() == [True, False, True, True]
            nothing = prism_filter(torch.full((2,), bad), 0.5, torch.tensor([0.9]))
            assert not nothing.keep.any()

    def test_nothing_to_leave_out(self):
        scores = torch.tensor([0.1, 0.2])
        for rate in (0.0, 0.49):
            result = prism_filter(scores, rate, torch.tensor([0.9]))
            assert result.keep.all()
            assert result.threshold == -math.inf
            assert result.quantiles == pytest.approx([0.9])
        assert prism_filter(scores[:0], 0.5, torch.zeros(0)).keep.shape == (0,)

    def test_refusals(self):
        for rate in (-0.1, 1.0, math.nan):
            with pytest.raises(InputError, match="rate is"):
                prism_filter(torch.zeros(3), rate, torch.zeros(0))
        with pytest.raises(InputError, match="window is 0"):
            prism_filter(torch.zeros(3), 0.5, torch.zeros(0), window=0)


def train(selector, steps=60, rate=0.4, spread=0.5, n=64):
    """Run the filter over batches with planted errors; return which were left out and which were wrong."""
    dropped, wrong = [], []
    for step in range(steps):
        rows, truth = world(n, step, spread=spread)
        labels, is_wrong = planted(truth, rate, step)
        selection = selector.select(rows, labels)
        selector.commit(selection, rows, labels)
        dropped.append(~selection.keep)
        wrong.append(is_wrong)
    return torch.cat(dropped[steps // 2 :]), torch.cat(wrong[steps // 2 :])


@pytest.mark.parametrize("similarity", SIMILARITIES)
class TestSelector:
    def test_finds_wrong_labels(self, similarity):
        selector = Prism(EmbeddingMemory(500, D, C), rate=0.4, similarity=similarity)
        dropped, wrong = train(selector)
        assert float(dropped.float().mean()) == pytest.approx(0.4, abs=0.06)
        precision = float(wrong[dropped].float().mean())
        assert precision > 0.9  # base rate 0.4
        rows, truth = world(500, 99)
        labels, is_wrong = planted(truth, 0.4, 99)
        scores = selector.select(rows, labels).clean_scores
        assert average_precision(scores.numpy(), is_wrong.numpy()) > 0.95

    @pytest.mark.parametrize("window", [1, 30])
    def test_leaves_out_the_share_of_clean_data_too(self, similarity, window):
        selector = Prism(EmbeddingMemory(500, D, C), rate=0.2, similarity=similarity, window=window)
        # Averaged logarithms of P that are all near 0 lie below most of them: wide classes for vMF.
        dropped, _ = train(selector, rate=0.0, spread=0.1 if similarity == "average" else 4.0)
        assert float(dropped.float().mean()) == pytest.approx(0.2, abs=0.04)

    def test_looking_changes_nothing(self, similarity):
        selector = Prism(filled(*world(50)), rate=0.3, similarity=similarity)
        before = {name: each.clone() for name, each in selector.state_dict().items()}
        rows, labels = world(20, 1)
        first, second = selector.select(rows, labels), selector(Network(rows.requires_grad_()), labels)
        assert torch.equal(first.keep, second.keep)
        assert not first.clean_scores.requires_grad
        for name, value in selector.state_dict().items():
            assert torch.equal(value.nan_to_num(), before[name].nan_to_num())

    def test_only_what_is_kept_is_stored(self, similarity):
        selector = Prism(EmbeddingMemory(100, D, C), rate=0.5, similarity=similarity, window=1)
        rows, labels = world(20, 1)
        assert selector.select(rows, labels).keep.all()
        selector.commit(selector.select(rows, labels), rows, labels)
        assert int(selector.n_quantiles) == 0
        rows, labels = world(20, 2)
        selection = selector.select(rows, labels)
        selector.commit(selection, rows, labels, torch.arange(20))
        assert int(selection.keep.sum()) == 10
        assert selector.memory.index[20:30].tolist() == selection.keep.nonzero()[:, 0].tolist()
        assert int(selector.n_quantiles) == 1
        assert float(selector.quantiles[0]) == selection.threshold

    def test_a_resumed_selector_is_the_same(self, similarity):
        def make():
            memory = EmbeddingMemory(90, D, C, product_dtype=torch.bfloat16)
            return Prism(memory, rate=0.4, similarity=similarity, window=4, warmup=2)

        first, second = make(), make()
        train(first, steps=11)
        second.load_state_dict({name: each.clone() for name, each in first.state_dict().items()})
        for step in range(50, 58):
            rows, labels = world(64, step)
            kept = [selector.select(rows, labels) for selector in (first, second)]
            assert torch.equal(kept[0].clean_scores, kept[1].clean_scores)
            for selector, selection in zip((first, second), kept, strict=True):
                selector.commit(selection, rows, labels)
        for name, value in first.state_dict().items():
            assert torch.equal(value.nan_to_num(), second.state_dict()[name].nan_to_num()), name

    def test_warmup_keeps_all_and_remembers_nothing(self, similarity):
        selector = Prism(EmbeddingMemory(100, D, C), rate=0.5, similarity=similarity, warmup=2)
        for step in range(4):
            rows, labels = world(10, step)
            rows[0, 0] = math.nan
            selection = selector.select(rows, labels)
            assert selection.keep.tolist() == [False] + [True] * 9 or step == 3
            selector.commit(selection, rows, labels)
            assert int(selector.memory.n_rows) == (0, 0, 9, 9 + int(selection.keep.sum()))[step]

    def test_low_precision_products(self, similarity):
        rows, labels = (world(400, 1, d=64, c=40)[0].float(), world(400, 1, d=64, c=40)[1])
        batch, given = (world(200, 2, d=64, c=40)[0].float(), world(200, 2, d=64, c=40)[1])
        exact, low = (
            Prism(filled(rows, labels, 40, product_dtype=each), rate=0.5, similarity=similarity)
            for each in (None, torch.bfloat16)
        )
        first, second = exact.select(batch, given), low.select(batch, given)
        tolerance = 2e-3 if similarity == "average" else 0.15
        torch.testing.assert_close(second.clean_scores, first.clean_scores, rtol=tolerance, atol=tolerance)
        assert (first.keep != second.keep).float().mean() < 0.03

    def test_no_gradient_and_the_loss_of_the_subset(self, similarity):
        losses = pytest.importorskip("pytorch_metric_learning.losses")
        selector, loss = Prism(filled(*world(50)), rate=0.4, similarity=similarity), losses.ContrastiveLoss()
        values = []
        for _ in range(2):
            rows, labels = world(30, 3)
            rows.requires_grad_()
            selection = selector.select(rows, labels)
            keep = selection.keep if not values else values[0][2]
            value = loss(rows[keep], labels[keep])
            value.backward()
            values.append((value, rows.grad, keep))
        assert not values[0][1][~values[0][2]].any()
        torch.testing.assert_close(values[0][0], values[1][0])
        torch.testing.assert_close(values[0][1], values[1][1])


class TestSelectorEdges:
    def test_rate_zero_is_no_filter(self):
        selector = Prism(filled(*world(50)), rate=0.0)
        selection = selector.select(*world(20, 1))
        assert selection.keep.all()
        assert selection.threshold == -math.inf
        assert selection.weight.tolist() == [1.0] * 20

    def test_nothing_kept_is_stored_as_nothing(self):
        selector = Prism(filled(*world(50)), rate=0.5)
        rows, labels = torch.full((4, D), math.nan), torch.tensor([0, 1, 2, 3])
        selection = selector.select(rows, labels)
        assert not selection.keep.any()
        before = selector.memory.sums.clone()
        selector.commit(selection, rows, labels)
        assert torch.equal(selector.memory.sums, before)
        value = selection.weighted_mean(torch.full((4,), math.nan, requires_grad=True))
        assert value.item() == 0.0

    def test_class_with_one_entry(self):
        memory = torch.eye(3, D)
        for similarity in SIMILARITIES:
            selector = Prism(filled(memory, torch.tensor([0, 1, 2]), 3), rate=0.3, similarity=similarity)
            scores = selector.select(memory, torch.tensor([0, 1, 1])).clean_scores
            assert torch.isfinite(scores).all()
            assert scores[2] < scores[:2].min()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rate": 1.0}, "rate is 1.0"),
            ({"rate": 0.5, "window": 0}, "window is 0"),
            ({"rate": 0.5, "warmup": -1}, "warmup is -1"),
            ({"rate": 0.5, "similarity": "cosine"}, "similarity is 'cosine'"),
            ({"rate": 0.5, "similarity": "vmf", "absent_in_denominator": True}, "absent_in_denominator"),
        ],
    )
    def test_wrong_parameters(self, options, message):
        with pytest.raises(InputError, match=message):
            Prism(EmbeddingMemory(4, D, C), **options)

    def test_wrong_inputs(self):
        with pytest.raises(InputError, match="memory has no class sums"):
            Prism(EmbeddingMemory(4, D), rate=0.5)
        selector = Prism(EmbeddingMemory(4, D, C), rate=0.5)
        with pytest.raises(InputError, match="outputs is a list"):
            selector.select([1.0], torch.tensor([0]))
        with pytest.raises(InputError, match="labels row 0 is 5"):
            selector.select(torch.zeros(1, D), torch.tensor([5]))
        with pytest.raises(InputError, match="embeddings has shape"):
            selector.select(torch.zeros(1, 3), torch.tensor([0]))


class TestForComparison:
    def test_random_drop(self):
        selector, labels = RandomDrop(0.3, seed=4), torch.zeros(50, dtype=torch.int64)
        first = selector.select(None, labels)
        assert int(first.keep.sum()) == 35
        assert torch.equal(selector.select(None, labels).keep, first.keep)
        selector.commit(first, None, labels)
        second = selector.select(None, labels)
        assert not torch.equal(second.keep, first.keep)
        other = RandomDrop(0.3, seed=4)
        other.load_state_dict(selector.state_dict())
        assert torch.equal(other.select(None, labels).keep, second.keep)
        with pytest.raises(InputError, match="rate is 1"):
            RandomDrop(1.0)

    def test_oracle(self):
        selector = OracleSelector(torch.tensor([True, False, True]))
        labels = torch.tensor([0, 0])
        selection = selector.select(None, labels, torch.tensor([2, 1]))
        assert isinstance(selection, Selection)
        assert selection.keep.tolist() == [True, False]
        with pytest.raises(InputError, match="index is None"):
            selector.select(None, labels)
        with pytest.raises(InputError, match="index runs from 0 to 3"):
            selector.select(None, labels, torch.tensor([0, 3]))
        with pytest.raises(InputError, match="is_clean has shape"):
            OracleSelector(torch.ones(3))
