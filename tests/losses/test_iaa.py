"""IAA: copies, their schedule, losses over rows and copies: by hand, against loops and another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn.functional import normalize

from tamis.augment import normals
from tamis.errors import InputError
from tamis.losses import (
    CosineTripletLoss,
    IntraClassAugmentationLoss,
    MarginContrastiveLoss,
    MinedMultiSimilarityLoss,
    synthesize,
)
from tamis.losses.iaa import own_copies
from tamis.memory import ClassVariances
from tamis.statistics.schedules import synthesis_strength

LOSSES = [MinedMultiSimilarityLoss(), MarginContrastiveLoss(), CosineTripletLoss()]


def batch(seed=0, b=10, d=4, k=3, copies=2, scale=0.05):
    rng = np.random.default_rng(seed)
    rows = torch.tensor(rng.normal(size=(b, d)) + 0.7)
    labels = torch.tensor(rng.integers(0, k, b))
    variances = torch.tensor(rng.gamma(2.0, scale, size=(k, d)))
    made = synthesize(rows, labels, variances, torch.tensor(rng.normal(size=(copies, b, d))))
    return rows, labels, made


def augmented(loss, rows, labels, made, **options):
    return IntraClassAugmentationLoss(loss, **options)(
        rows, labels, ref_emb=made.embeddings, ref_labels=made.labels
    )


# --- copies ---


def test_copies_by_hand():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    noise = torch.tensor([[[1.0, 1.0], [0.0, -1.0]], [[2.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    variances = torch.tensor([[4.0, 9.0], [16.0, 25.0]], dtype=torch.float64)
    made = synthesize(rows, torch.tensor([1, 0]), variances, noise, strength=0.25)
    # Roots of a quarter of the variances: (2, 2.5) for class 1, (1, 1.5) for class 0; the same in every copy.
    assert made.embeddings.tolist() == [[3.0, 4.5], [3.0, 2.5], [5.0, 2.0], [3.0, 4.0]]
    assert made.labels.tolist() == [1, 0, 1, 0]


def test_strength_zero_gives_copies_and_no_noise_gives_none():
    rows, labels, _ = batch()
    noise = torch.ones(3, *rows.shape, dtype=torch.float64)
    made = synthesize(rows, labels, torch.ones(3, 4), noise, strength=0.0)
    assert torch.equal(made.embeddings, rows.repeat(3, 1))
    none = synthesize(rows, labels, torch.ones(3, 4), noise[:0])
    assert none.embeddings.shape == (0, 4)
    assert none.labels.shape == (0,)


def test_copies_have_the_variance_of_their_class():
    variances = torch.tensor([[0.2, 3.0], [1.0, 0.0]])
    labels = torch.tensor([0, 1])
    noise = normals(0, 0, torch.arange(2), 20000 * 2, stream="iaa").view(2, 20000, 2).transpose(0, 1)
    made = synthesize(torch.zeros(2, 2), labels, variances, noise, strength=0.8)
    found = made.embeddings.view(20000, 2, 2).var(dim=0)
    torch.testing.assert_close(found, 0.8 * variances, rtol=0.05, atol=1e-6)


def test_the_gradient_of_a_copy_is_the_identity():
    rows, labels, _ = batch()
    variances = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    rows = rows.requires_grad_()
    made = synthesize(rows, labels, variances, torch.ones(2, 10, 4, dtype=torch.float64))
    weights = torch.arange(80.0, dtype=torch.float64).view(20, 4)
    (made.embeddings * weights).sum().backward()
    torch.testing.assert_close(rows.grad, weights[:10] + weights[10:])
    assert variances.grad is None


def test_a_sample_gets_the_same_copies_in_any_batch():
    rows, labels, _ = batch()
    index, order = torch.arange(10) + 70, torch.tensor([4, 9, 0])

    def made(places):
        noise = normals(3, 11, index[places], 2 * 4, stream="iaa").view(-1, 2, 4).transpose(0, 1)
        return synthesize(rows[places], labels[places], torch.ones(3, 4), noise).embeddings.view(2, -1, 4)

    assert torch.equal(made(torch.arange(10))[:, order], made(order))


def test_half_precision_rows_are_widened():
    rows, labels, _ = batch()
    made = synthesize(rows.bfloat16(), labels, torch.ones(3, 4), torch.ones(1, 10, 4))
    assert made.embeddings.dtype == torch.float32


def test_wrong_copies_are_refused():
    rows, labels, _ = batch()
    noise, variances = torch.ones(2, 10, 4), torch.ones(3, 4)
    with pytest.raises(InputError, match="labels row 0 is -1"):
        synthesize(rows, labels - 1 - labels[0], variances, noise)
    with pytest.raises(InputError, match=r"expected \(M, 10, 4\)"):
        synthesize(rows, labels, variances, noise[:, :3])
    with pytest.raises(InputError, match=r"variances \(3, 2\)"):
        synthesize(rows, labels, variances[:, :2], noise)
    with pytest.raises(InputError, match="strength is -1"):
        synthesize(rows, labels, variances, noise, strength=-1.0)
    with pytest.raises(InputError, match="negative"):
        synthesize(rows, labels, -variances, noise)


def test_schedule():
    found = [synthesis_strength(epoch, 30, 0.8) for epoch in (1, 12, 13, 18, 19, 24, 25, 30)]
    assert found == pytest.approx([0.8, 0.8, 0.72, 0.72, 0.6, 0.6, 0.48, 0.48])
    with pytest.raises(InputError, match="epoch is -1"):
        synthesis_strength(-1, 10)
    with pytest.raises(InputError, match="strength is -1"):
        synthesis_strength(1, 10, -1.0)


# --- losses ---


def ms_by_loops(rows, labels, copies, copy_labels, alpha=2.0, beta=40.0, base=0.5, margin=0.1):
    everything, names = torch.cat([rows, copies]).numpy(), torch.cat([labels, copy_labels]).tolist()
    total, n = 0.0, len(rows)
    for i in range(n):
        s = everything @ everything[i]
        p = [s[j] for j in range(len(s)) if names[j] == names[i] and j % n != i and s[j] < 1 - 1e-5]
        q = [s[j] for j in range(len(s)) if names[j] != names[i]]
        hard_p = [x for x in p if q and x < max(q) + margin]
        hard_q = [x for x in q if p and x > min(p) - margin]
        if hard_p and hard_q:
            total += math.log(1 + sum(math.exp(-alpha * (x - base)) for x in hard_p)) / alpha
            total += math.log(1 + sum(math.exp(beta * (x - base)) for x in hard_q)) / beta
    return total / n


@pytest.mark.parametrize("copies", [0, 1, 3])
def test_multi_similarity_against_loops(copies):
    rows, labels, made = batch(copies, copies=copies)
    value = augmented(LOSSES[0], rows, labels, made)
    expected = ms_by_loops(normalize(rows), labels, normalize(made.embeddings), made.labels)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("copies", [0, 2])
def test_contrastive_against_loops(copies):
    rows, labels, made = batch(3, copies=copies)
    everything, names = (
        normalize(torch.cat([rows, made.embeddings])).numpy(),
        torch.cat([labels, made.labels]),
    )
    total = 0.0
    for i in range(10):
        for j, s in enumerate(everything @ everything[i]):
            if names[j] != names[i]:
                total += max(s - 0.5, 0.0)
            elif j % 10 != i:
                total += max(0.8 - s, 0.0)
    assert augmented(LOSSES[1], rows, labels, made).item() == pytest.approx(total / 10, rel=1e-12)


def with_gradient(loss, rows, *arguments, **options):
    rows = rows.clone().requires_grad_()
    value = loss(rows, *arguments, **options)
    value.backward()
    return value.item(), rows.grad


def assert_equal(left, right):
    assert left[0] == pytest.approx(right[0], rel=1e-10)
    torch.testing.assert_close(left[1], right[1], rtol=1e-9, atol=1e-12)


def test_multi_similarity_equals_the_library():
    rows, labels, made = batch(5)
    units = normalize(rows)
    pairs = miners.MultiSimilarityMiner(epsilon=0.1)(units, labels)
    assert_equal(
        with_gradient(losses.MultiSimilarityLoss(2, 40, 0.5), units, labels, pairs),
        with_gradient(IntraClassAugmentationLoss(MinedMultiSimilarityLoss()), units, labels),
    )
    refs = {"ref_emb": normalize(made.embeddings), "ref_labels": made.labels}
    pairs = miners.MultiSimilarityMiner(epsilon=0.1)(units, labels, **refs)
    theirs = losses.MultiSimilarityLoss(2, 40, 0.5)(units, labels, pairs, **refs)
    assert MinedMultiSimilarityLoss()(units, labels, **refs).item() == pytest.approx(theirs.item())


def test_contrastive_equals_the_library():
    rows, labels, made = batch(6)
    theirs = losses.ContrastiveLoss(
        pos_margin=0.8, neg_margin=0.5, distance=distances.CosineSimilarity(), reducer=reducers.SumReducer()
    )
    mine = MarginContrastiveLoss()(normalize(rows), labels)
    assert mine.item() == pytest.approx(theirs(rows, labels).item() / 10, rel=1e-10)
    # The library's own loss inside: it gets the same pairs.
    value = augmented(theirs, rows, labels, made)
    assert augmented(LOSSES[1], rows, labels, made).item() == pytest.approx(value.item() / 10, rel=1e-10)


def test_triplets_equal_the_library():
    rows, labels, made = batch(7)
    theirs = losses.TripletMarginLoss(margin=0.1, distance=distances.CosineSimilarity())
    assert_equal(
        with_gradient(IntraClassAugmentationLoss(theirs), rows, labels),
        with_gradient(IntraClassAugmentationLoss(CosineTripletLoss()), rows, labels),
    )
    value = augmented(theirs, rows, labels, made)
    assert augmented(LOSSES[2], rows, labels, made).item() == pytest.approx(value.item(), rel=1e-10)


# --- rows and copies together ---


def test_own_copies_are_no_positives():
    # A class with one row: its only positives would be its own copies.
    rows, labels, made = batch(8, k=2, scale=1.0)
    labels = torch.tensor([2, *labels[1:].tolist()])
    made = made._replace(labels=labels.repeat(2))
    assert own_copies(10, 30).sum(dim=1).tolist() == [3] * 10
    for loss in LOSSES:
        seen = []

        def spy(embeddings, labels, indices_tuple, ref_emb, ref_labels, seen=seen, loss=loss):
            seen.append(indices_tuple)
            return loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)

        module = torch.nn.Module()
        module.forward = spy
        augmented(module, rows, labels, made)
        anchor, positive = seen[0][:2]
        assert (anchor != positive % 10).all()
        assert 0 not in anchor
        # All the same, its copies are negatives of the others.
        assert {0, 10, 20} <= set(seen[0][3].tolist())


def test_given_pairs_lose_their_own_copies():
    rows, labels, made = batch(9)
    wrapped = IntraClassAugmentationLoss(MarginContrastiveLoss())
    refs = {"ref_emb": made.embeddings, "ref_labels": made.labels}
    is_same = labels[:, None] == labels.repeat(3)
    quads = (*is_same.nonzero(as_tuple=True), *(~is_same).nonzero(as_tuple=True))
    value = wrapped(rows, labels, **refs).item()
    assert wrapped(rows, labels, quads, **refs).item() == pytest.approx(value, rel=1e-12)
    triplets = tuple(torch.tensor(each) for each in ([0, 0], [0, 10], [1, 2]))
    assert wrapped(rows, labels, triplets, **refs).item() == 0.0


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_no_copies_is_the_base_loss(loss):
    rows, labels, made = batch(10)
    plain = loss(normalize(rows), labels).item()
    wrapped = IntraClassAugmentationLoss(loss)
    assert wrapped(rows, labels).item() == pytest.approx(plain, rel=1e-12)
    none = {"ref_emb": made.embeddings[:0], "ref_labels": made.labels[:0]}
    assert wrapped(rows, labels, **none).item() == pytest.approx(plain, rel=1e-12)
    assert augmented(loss, rows, labels, made).item() != pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_order_and_relabelling_change_nothing(loss):
    rows, labels, made = batch(11)
    value = augmented(loss, rows, labels, made).item()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    names = torch.tensor([7, 90, 2])
    moved = made.embeddings.view(2, 10, 4)[:, order].flatten(0, 1)
    changed = type(made)(moved, names[labels[order]].repeat(2))
    assert augmented(loss, rows[order], names[labels[order]], changed).item() == pytest.approx(
        value, rel=1e-12
    )


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_edges(loss):
    rows, labels, made = batch(12)
    wrapped = IntraClassAugmentationLoss(loss)
    # Zero rows stay zero, with finite gradients.
    zeros = rows.clone()
    zeros[2] = 0.0
    zeros.requires_grad_()
    value = wrapped(zeros, labels, ref_emb=made.embeddings, ref_labels=made.labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(zeros.grad).all()
    # One class only for the losses that need both kinds, no pairs at all, no rows.
    for codes in (torch.arange(10), torch.full((10,), -1)):
        leaf = rows.clone().requires_grad_()
        alone = wrapped(leaf, codes) if loss is not LOSSES[1] else wrapped(leaf, codes) * 0
        alone.backward()
        assert alone.item() == 0.0
        assert not leaf.grad.any()
    assert wrapped(torch.zeros(0, 4, requires_grad=True), labels[:0]).item() == 0.0
    # A NaN shows.
    rows[1, 0] = torch.nan
    unscaled = IntraClassAugmentationLoss(loss, normalize_embeddings=False)
    assert unscaled(rows, labels, ref_emb=made.embeddings, ref_labels=made.labels).isnan()


def test_plain_copies_of_the_rows_change_only_their_number():
    rows, labels, _ = batch(13)
    made = synthesize(rows, labels, torch.zeros(3, 4), torch.ones(2, 10, 4))
    once = MarginContrastiveLoss()(normalize(rows), labels).item()
    assert augmented(LOSSES[1], rows, labels, made).item() == pytest.approx(3 * once, rel=1e-10)


def test_autocast_and_half_precision():
    rows, labels, made = batch(14)
    expected = augmented(LOSSES[0], rows.float(), labels, made).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = augmented(LOSSES[0], rows.float(), labels, made)
    assert value.dtype == torch.float32
    assert value.item() == expected


def test_wrong_references_are_refused():
    rows, labels, made = batch(15)
    wrapped = IntraClassAugmentationLoss(LOSSES[0])
    with pytest.raises(InputError, match="ref_emb has 19 rows; expected a multiple of 10"):
        wrapped(rows, labels, ref_emb=made.embeddings[1:])
    with pytest.raises(InputError, match="ref_labels are not the labels of the batch"):
        wrapped(rows, labels, ref_emb=made.embeddings, ref_labels=made.labels.flip(0))
    with pytest.raises(InputError, match=r"labels has shape \(3,\)"):
        wrapped(rows, labels[:3])
    with pytest.raises(InputError, match="alpha is 0"):
        MinedMultiSimilarityLoss(alpha=0.0)


def test_training_with_copies_on_noisy_labels():
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    inputs = torch.tensor(rng.normal(size=(60, 8)) + 2 * np.eye(8)[truth], dtype=torch.float32)
    given = torch.tensor(np.where(rng.random(60) < 0.1, (truth + 1) % 3, truth))
    torch.manual_seed(0)
    network = torch.nn.Linear(8, 4)
    spread, loss = ClassVariances(3, 4), IntraClassAugmentationLoss(MarginContrastiveLoss())

    def precision_at_1():
        with torch.no_grad():
            units = normalize(network(inputs))
            nearest = (units @ units.T).fill_diagonal_(-2).argmax(dim=1)
        return (torch.tensor(truth)[nearest] == torch.tensor(truth)).float().mean().item()

    before = precision_at_1()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(60):
        if step % 20 == 0:
            spread.update([(network(inputs), given)])
        optimizer.zero_grad()
        rows = network(inputs)
        noise = normals(0, step, torch.arange(60), 2 * 4, stream="iaa").view(60, 2, 4).transpose(0, 1)
        made = synthesize(rows, given, spread.effective, noise, synthesis_strength(step + 1, 60))
        loss(rows, given, ref_emb=made.embeddings, ref_labels=made.labels).backward()
        optimizer.step()
    assert precision_at_1() > before + 0.05
