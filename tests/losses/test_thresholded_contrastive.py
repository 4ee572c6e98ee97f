"""InsCLR's contrastive loss: by hand, against loops and pytorch-metric-learning, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.thresholded_contrastive import ThresholdedContrastiveLoss, thresholded_contrastive


def batch(seed=0, b=9, g=14, d=4):
    rng = np.random.default_rng(seed)
    rows, references = (functional.normalize(torch.tensor(rng.normal(size=(n, d)))) for n in (b, g))
    labels, ref_labels = torch.tensor(rng.integers(1, 4, b)), torch.tensor(rng.integers(1, 4, g))
    labels[2] = -1
    return rows, labels, references, ref_labels


def slow(rows, labels, references=None, ref_labels=None, margin=0.4, positive_margin=0.0, eps=1e-6):
    total, n = 0.0, 0
    for i in range(len(rows)):
        if references is not None and labels[i] <= 0:
            continue
        n += 1
        others = range(len(rows)) if references is None else range(len(references))
        for j in others:
            if references is None and i == j:
                continue
            s = float(rows[i] @ (rows if references is None else references)[j])
            if labels[i] == (labels if references is None else ref_labels)[j]:
                total += 1.0 - s if s < 1.0 - eps - positive_margin else 0.0
            else:
                total += s if s > margin else 0.0
    return total / max(1, n)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("positive_margin", [0.0, 0.3])
def test_against_loops(seed, positive_margin):
    rows, labels, references, ref_labels = batch(seed)
    within = thresholded_contrastive(rows, labels, positive_margin=positive_margin)
    assert within.item() == pytest.approx(slow(rows, labels, positive_margin=positive_margin), rel=1e-12)
    beyond = thresholded_contrastive(rows, labels, references, ref_labels, margin=0.1)
    assert beyond.item() == pytest.approx(slow(rows, labels, references, ref_labels, margin=0.1), rel=1e-12)


def test_all_pairs_listed_equal_the_labels():
    rows, labels, *_ = batch()
    same = labels[:, None] == labels[None, :]
    pairs = (*(same & ~torch.eye(9, dtype=torch.bool)).nonzero().T, *(~same).nonzero().T)
    loss = ThresholdedContrastiveLoss(normalize=False)
    assert loss(rows, labels, pairs).item() == pytest.approx(loss(rows, labels).item(), rel=1e-12)
    triplet = tuple(torch.tensor([number]) for number in (0, 1, 2))
    by_hand = (1 - rows[0] @ rows[1]) + torch.relu(rows[0] @ rows[2] - 0.4).sign() * (rows[0] @ rows[2])
    assert loss(rows, labels, triplet).item() == pytest.approx(by_hand.item() / 9, rel=1e-12)


def test_gradient_equals_pytorch_metric_learning_up_to_the_reducer():
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import ContrastiveLoss
    from pytorch_metric_learning.reducers import SumReducer

    rows, labels, *_ = batch()
    theirs = ContrastiveLoss(1.0, 0.4, distance=CosineSimilarity(), reducer=SumReducer())
    ours = ThresholdedContrastiveLoss()
    found = []
    for loss in (ours, theirs):
        leaf = (3.0 * rows).requires_grad_()
        loss(leaf, labels).backward()
        found.append(leaf.grad)
    torch.testing.assert_close(found[0] * 9, found[1])


def test_properties():
    rows, labels, *_ = batch()
    loss = thresholded_contrastive(rows, labels).item()
    order = torch.arange(8, -1, -1)
    assert thresholded_contrastive(rows[order], labels[order]).item() == pytest.approx(loss, rel=1e-12)
    assert thresholded_contrastive(rows, labels * 7).item() == pytest.approx(loss, rel=1e-12)
    assert ThresholdedContrastiveLoss()(rows * 5.0, labels).item() == pytest.approx(loss, rel=1e-9)
    # All positives alike and all negatives at most at the margin.
    perfect = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]]
    assert thresholded_contrastive(perfect, torch.tensor([1, 1, 2, 3])).item() == 0.0


def test_edges():
    rows, labels, references, ref_labels = batch()
    rejected = -torch.ones_like(labels)
    leaf = rows.clone().requires_grad_()
    nothing = thresholded_contrastive(leaf, rejected, references, ref_labels)
    nothing.backward()
    assert nothing.item() == 0.0
    assert not leaf.grad.any()
    half = thresholded_contrastive(rows.half(), labels)
    assert half.dtype == torch.float32
    zeros = ThresholdedContrastiveLoss()(torch.zeros(2, 3), torch.tensor([1, 2]))
    assert zeros.item() == 0.0
    assert thresholded_contrastive(rows[:0], labels[:0]).item() == 0.0


def test_refusals():
    rows, labels, references, ref_labels = batch()
    with pytest.raises(InputError, match="go together"):
        thresholded_contrastive(rows, labels, references)
    with pytest.raises(InputError, match="do not fit"):
        thresholded_contrastive(rows, labels, references[:, :2], ref_labels)
    with pytest.raises(InputError, match="margin is -1"):
        ThresholdedContrastiveLoss(margin=-1)
    with pytest.raises(InputError, match="holds 2 tensors"):
        ThresholdedContrastiveLoss()(rows, labels, (labels, labels))
