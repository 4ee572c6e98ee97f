"""Adaptive margins and the loss on them: by hand, against loops and Multi-Similarity, properties, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses.adaptive_margins import adaptive_margins, mapped_similarities
from tamis.losses.ahsml import AdaptiveHierarchicalSimilarityLoss
from tamis.statistics.hyperbolic import exp_map_origin, geodesic_distances

GEOMETRIES = ["cosine", "hyperbolic"]


def batch(seed=0, n=12, d=5, k=4):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d))), torch.arange(n) % k


def similarities(left, right, geometry):
    if geometry == "cosine":
        return normalize(left) @ normalize(right).T
    return (-geodesic_distances(exp_map_origin(left), exp_map_origin(right))).exp()


def by_loops(weak, strong, labels, loss):
    """Return the loss of each anchor, from its definition."""
    pairs = similarities(weak, weak, loss.geometry).numpy()
    views = similarities(weak, strong, loss.geometry).diagonal().numpy()
    labels, n = labels.numpy(), len(labels)
    classes = sorted(set(labels))
    others = [(i, j) for i in range(n) for j in range(n) if i != j]
    table = {
        (a, b): np.mean([pairs[i, j] for i, j in others if labels[i] == a and labels[j] == b])
        for a in classes
        for b in classes
    }
    low, high = min(table.values()), max(table.values())
    start, stop = loss.map_range
    mapped = {key: start + (stop - start) * (value - low) / (high - low) for key, value in table.items()}
    losses = []
    for i in range(n):
        a = labels[i]
        least = min(pairs[j, k] for j, k in others if labels[j] == a and labels[k] == a)
        positive = loss.gamma + mapped[a, a]
        own = sum(
            math.exp(-loss.beta * (pairs[i, j] - positive)) for j in range(n) if j != i and labels[j] == a
        )
        rest = sum(
            math.exp(loss.sigma * (pairs[i, j] - loss.gamma + mapped[a, labels[j]]))
            for j in range(n)
            if labels[j] != a
        )
        losses.append(
            math.log1p(math.exp(-loss.rho * (views[i] - least))) / loss.rho
            + math.log1p(own) / loss.beta
            + math.log1p(rest) / loss.sigma
        )
    return losses


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_against_loops(geometry):
    weak, labels = batch()
    strong = weak + 0.3 * batch(1)[0]
    loss = AdaptiveHierarchicalSimilarityLoss(
        gamma=0.4, map_range=(0.05, 0.3), rho=3.0, beta=1.5, sigma=20.0, geometry=geometry, reduction="none"
    )
    found = loss(weak, labels, strong_embeddings=strong)
    np.testing.assert_allclose(found, by_loops(weak, strong, labels, loss), rtol=1e-10)
    # Names of classes do not count, nor does it where the margins are made.
    names = torch.tensor([7, 2, 900, 4])[labels]
    torch.testing.assert_close(loss(weak, names, strong_embeddings=strong), found)
    margins = loss.margins(weak, labels, 4)
    torch.testing.assert_close(loss(weak, labels, strong_embeddings=strong, margins=margins), found)
    loss.reduction = "mean"
    torch.testing.assert_close(loss(weak, labels, strong_embeddings=strong), found.mean())


def test_margins_by_hand():
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 3.0], [0.0, 1.0], [-2.0, 0.0]], dtype=torch.float64)
    margins = adaptive_margins(rows, torch.tensor([0, 0, 1, 1, 2]), 4)
    nan = math.nan
    table = [[0.6, 0.4, -0.8, nan], [0.4, 1.0, 0.0, nan], [-0.8, 0.0, nan, nan], [nan] * 4]
    np.testing.assert_allclose(margins.class_similarity, table, atol=1e-12)
    # From -0.8 to 1, mapped to 0 to 0.2: a ninth of the way above the least.
    assert margins.positive.tolist() == pytest.approx([0.5 + 1.4 / 9, 0.7, 0.5, 0.5])
    assert margins.negative[0].tolist() == pytest.approx([0.5 - 1.4 / 9, 0.5 - 1.2 / 9, 0.5, 0.5])
    # The class of one and the absent one take the median of 0.6 and 1.
    assert margins.augmented.tolist() == pytest.approx([0.6, 1.0, 0.8, 0.8])


def test_mapping():
    table = torch.tensor([[0.5, -0.5], [0.0, math.nan]])
    torch.testing.assert_close(mapped_similarities(table), torch.tensor([[0.2, 0.0], [0.1, 0.0]]))
    torch.testing.assert_close(mapped_similarities(table, (0.1, 0.5)), torch.tensor([[0.5, 0.1], [0.3, 0.1]]))
    assert mapped_similarities(torch.full((2, 2), 0.3)).tolist() == [[0, 0], [0, 0]]
    assert mapped_similarities(torch.full((2, 2), math.nan)).tolist() == [[0, 0], [0, 0]]
    assert mapped_similarities(torch.zeros(0, 0)).shape == (0, 0)


@pytest.mark.parametrize("mines", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 0.2])
def test_range_zero_is_multi_similarity(gamma, mines):
    rows, labels = batch(n=20)
    rows.requires_grad_()
    pairs = MultiSimilarityMiner(0.1)(rows, labels) if mines else None
    loss = AdaptiveHierarchicalSimilarityLoss(gamma=gamma, map_range=(0.0, 0.0))
    found, expected = loss(rows, labels, pairs), MultiSimilarityLoss(2, 40, gamma)(rows, labels, pairs)
    torch.testing.assert_close(found, expected)
    for value in torch.autograd.grad(found, rows), torch.autograd.grad(expected, rows):
        assert value[0].any()
    torch.testing.assert_close(
        torch.autograd.grad(loss(rows, labels, pairs), rows)[0],
        torch.autograd.grad(MultiSimilarityLoss(2, 40, gamma)(rows, labels, pairs), rows)[0],
    )


def test_equal_similarities_leave_the_fixed_margin():
    rows = torch.ones(6, 3, dtype=torch.float64)
    labels = torch.arange(6) % 2
    margins = adaptive_margins(rows, labels, 2)
    assert margins.positive.tolist() == pytest.approx([0.5, 0.5])
    assert margins.negative.flatten().tolist() == pytest.approx([0.5] * 4)


def test_references():
    rows, labels = batch()
    memory, memory_labels = batch(5, n=40, k=6)
    rows.requires_grad_()
    loss = AdaptiveHierarchicalSimilarityLoss()
    found = loss(rows, labels, None, memory, memory_labels)
    margins = loss.margins(memory, memory_labels, 6)
    torch.testing.assert_close(loss(rows, labels, None, memory, memory_labels, margins=margins), found)
    flat = AdaptiveHierarchicalSimilarityLoss(map_range=(0.0, 0.0))
    published = MultiSimilarityLoss(2, 40, 0.5)
    torch.testing.assert_close(
        flat(rows, labels, None, memory, memory_labels),
        published(rows, labels, None, ref_emb=memory, ref_labels=memory_labels),
    )
    # Classes that the references lack have margins, from what is known of others.
    assert loss(rows, labels + 3, None, memory, memory_labels).isfinite()
    found.backward()
    assert rows.grad.any()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_rows_in_any_order(geometry):
    weak, labels = batch(n=11)
    strong = weak + 0.3 * batch(1, n=11)[0]
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry, reduction="none")
    found = loss(weak, labels, strong_embeddings=strong)
    order = torch.from_numpy(np.random.default_rng(3).permutation(11))
    moved = loss(weak[order], labels[order], strong_embeddings=strong[order])
    torch.testing.assert_close(moved, found[order])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_margins_have_no_gradient(geometry):
    weak, labels = batch()
    weak.requires_grad_()
    strong = (weak.detach() + 0.3 * batch(1)[0]).requires_grad_()
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry)
    margins = loss.margins(weak, labels, 4)
    assert not any(each.requires_grad for each in margins)
    inside = torch.autograd.grad(loss(weak, labels, strong_embeddings=strong), (weak, strong))
    given = torch.autograd.grad(loss(weak, labels, strong_embeddings=strong, margins=margins), (weak, strong))
    torch.testing.assert_close(inside, given)
    assert all(each.any() for each in given)

    def fixed(left, right):
        return loss(left, labels, strong_embeddings=right, margins=margins)

    assert torch.autograd.gradcheck(fixed, (weak, strong))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_other_view_is_drawn_in(geometry):
    weak, labels = batch()
    far = batch(7)[0]
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry)
    values = [
        loss(weak, labels, strong_embeddings=(1 - near) * far + near * weak).item()
        for near in (0.0, 0.5, 0.9, 1.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] > loss(weak, labels).item()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_small_batches(geometry):
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry)
    for n, labels in ((0, []), (1, [3]), (2, [0, 1]), (3, [1, 1, 1])):
        rows = batch(n=n)[0].requires_grad_()
        value = loss(rows, torch.tensor(labels, dtype=torch.int64), strong_embeddings=rows.detach() + 0.1)
        assert value.isfinite()
        value.backward()
        assert rows.grad.isfinite().all()
    # Nothing to compare with, and no pair to learn a margin from: only the view is left, against gamma.
    row = batch(n=1, d=3)[0]
    assert loss(row, torch.tensor([0])).item() == 0.0
    alone = loss(row, torch.tensor([0]), strong_embeddings=row).item()
    assert alone == pytest.approx(math.log1p(math.exp(-2 * (1 - 0.5))) / 2)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_and_odd_rows(geometry, dtype):
    rows, labels = batch(n=16)
    rows[3] = 0.0
    rows[8] = rows[4]
    rows[5] *= 200
    rows = rows.to(dtype).requires_grad_()
    loss = AdaptiveHierarchicalSimilarityLoss(geometry=geometry)
    value = loss(rows, labels, strong_embeddings=rows.detach().flip(1))
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = loss(rows.detach().double(), labels, strong_embeddings=rows.detach().flip(1).double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(rows, labels, strong_embeddings=rows.detach().flip(1)), value)
    value.backward()
    assert rows.grad.isfinite().all()
    assert rows.grad.dtype == dtype


def test_wrong_labels_change_margins_little():
    rng = np.random.default_rng(0)
    labels = torch.arange(120) % 4
    rows = torch.tensor(3 * np.eye(6)[labels.numpy()] + rng.normal(size=(120, 6)))
    noisy = labels.clone()
    noisy[:12] = (noisy[:12] + 1) % 4
    clean, dirty = (adaptive_margins(rows, each, 4) for each in (labels, noisy))
    assert (clean.positive - dirty.positive).abs().max() < 0.06
    assert (clean.negative - dirty.negative).abs().max() < 0.06
    # A sample with a wrong label costs more than one with its own.
    losses = AdaptiveHierarchicalSimilarityLoss(reduction="none")(rows, noisy)
    assert losses[:12].median() > losses[12:].median() + 0.2


def test_refusals():
    rows, labels = batch()
    loss = AdaptiveHierarchicalSimilarityLoss()
    for options, message in (
        ({"strong_embeddings": rows[:4]}, r"strong_embeddings has shape \(4, 5\); expected \(12, 5\)"),
        ({"strong_embeddings": rows * math.nan}, "strong_embeddings row 0 holds NaN"),
        ({"ref_emb": rows.clone()}, "ref_labels is NoneType"),
        ({"margins": loss.margins(rows, labels % 2, 2)}, "margins has 2 classes and a label is 3"),
        ({"indices_tuple": (labels,)}, "indices_tuple has 1 tensors"),
    ):
        with pytest.raises(InputError, match=message):
            loss(rows, labels, **options)
    with pytest.raises(InputError, match="labels row 0 is -1"):
        loss(rows, labels - 1)
    for options, message in (
        ({"gamma": -1.0}, "gamma is -1"),
        ({"sigma": 0.0}, "sigma is 0"),
        ({"curvature": -1.0}, "curvature is -1"),
        ({"geometry": "flat"}, "geometry is 'flat'"),
        ({"map_range": (0.2, 0.0)}, "map_range is"),
        ({"map_range": (-0.2, 0.0)}, "map_range.0. is -0.2"),
        ({"reduction": "sum"}, "reduction is 'sum'"),
    ):
        with pytest.raises(InputError, match=message):
            AdaptiveHierarchicalSimilarityLoss(**options)
    with pytest.raises(InputError, match="geometry is 'flat'"):
        adaptive_margins(rows, labels, 4, geometry="flat")
