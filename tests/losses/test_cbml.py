"""CBML: by hand, against loops, properties, edges, noisy labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses import CBMLLoss, cbml_terms
from tamis.losses.labelled_pairs import labelled_pairs, mined

GROWTHS = ("log", "sqrt", "constant")


def batch(seed=0, b=14, d=5, k=4):
    rng = np.random.default_rng(seed)
    embeddings = torch.tensor(rng.normal(size=(b, d)) + 1.0)
    return normalize(embeddings), torch.tensor(rng.integers(0, k, b))


def grown(total, growth, share):
    if growth == "constant":
        return 1 + share * total
    return math.log(1 + total) if growth == "log" else math.sqrt(1 + total)


def by_loops(embeddings, labels, growth="log", n_hardest=None, omega=0.1, margin=0.1, weight=1.0, mean=False):
    s = np.asarray(embeddings) @ np.asarray(embeddings).T
    total = 0.0
    for i in range(len(s)):
        p = [s[i, j] for j in range(len(s)) if j != i and labels[j] == labels[i] and s[i, j] < 1 - 1e-5]
        n = [s[i, j] for j in range(len(s)) if labels[j] != labels[i]]
        if not p or not n:
            continue
        center = omega * np.mean(p) + (1 - omega) * np.mean(n)
        spread = (np.mean if mean else np.sum)([(each - center) ** 2 for each in n])
        hard_p = [each for each in p if each - margin < max(n)]
        hard_n = [each for each in n if each + margin > min(p)]
        if n_hardest:
            hard_n = sorted(n)[-n_hardest:]
        if not hard_p or not hard_n:
            continue
        e_p = sum(math.exp(-(each - 0.5) / 0.5) for each in hard_p)
        e_n = sum(math.exp((each - 1.0) / 0.01) for each in hard_n)
        total += grown(e_p, growth, 0.25) + grown(e_n, growth, 0.25) + weight * spread
    return total / len(s)


def test_by_hand():
    # Three rows at 0, 60 and 90 degrees: anchors 0 and 1 share a label, anchor 2 is alone and skipped.
    angles = torch.tensor([0.0, 60.0, 90.0], dtype=torch.float64).deg2rad()
    rows = torch.stack((angles.cos(), angles.sin()), dim=1)
    labels = torch.tensor([0, 0, 1])
    # Anchor 0: positive 0.5, negative 0: 0.5 - 0.1 is not below 0, nothing hard, skipped.
    # Anchor 1: positive 0.5, negative cos 30 = 0.866: both hard, center 0.1 * 0.5 + 0.9 * 0.866.
    near = math.cos(math.radians(30))
    variance = (near - (0.1 * 0.5 + 0.9 * near)) ** 2
    expected = math.log(2) + math.log(1 + math.exp((near - 1) / 0.01)) + variance
    assert CBMLLoss()(rows, labels).item() == pytest.approx(expected / 3, abs=1e-12)
    each = CBMLLoss(reduction="none")(rows, labels)
    assert each.tolist() == pytest.approx([0.0, expected, 0.0])


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("n_hardest", [None, 3, 100])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops(growth, n_hardest, seed):
    embeddings, labels = batch(seed)
    loss = CBMLLoss(growth=growth, n_hardest=n_hardest, reference=0.2)(embeddings, labels)
    expected = by_loops(embeddings, labels, growth, n_hardest, omega=0.2)
    assert loss.item() == pytest.approx(expected, abs=1e-12, rel=1e-12)


def test_mean_variance_and_weight_against_loops():
    embeddings, labels = batch(4)
    loss = CBMLLoss(variance_reduction="mean", variance_weight=20.0)(embeddings, labels)
    assert loss.item() == pytest.approx(by_loops(embeddings, labels, weight=20.0, mean=True), rel=1e-12)


@pytest.mark.parametrize("growth", GROWTHS)
def test_gradient_is_that_of_the_value(growth):
    embeddings, labels = batch(1, b=8)
    # Duplicates and mining are steps; away from them the gradient must be exact, through the center too.
    loss = CBMLLoss(growth=growth, normalize="none")
    assert torch.autograd.gradcheck(
        lambda rows: loss(rows, labels), embeddings.clone().requires_grad_(), eps=1e-7, atol=1e-5
    )


def test_order_rotation_and_relabelling_change_nothing():
    embeddings, labels = batch(2)
    value = CBMLLoss()(embeddings, labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.tensor(np.random.default_rng(1).normal(size=(5, 5))))[0]
    names = torch.tensor([907, 3, 12, 0])
    for rows, codes in (
        (embeddings[order], labels[order]),
        (embeddings @ turn, labels),
        (embeddings, names[labels]),
    ):
        assert CBMLLoss()(rows, codes).item() == pytest.approx(value.item(), rel=1e-12)


def test_a_class_moved_away_leaves_the_variance_and_then_nothing():
    # Two classes on a circle, the angle between their centres grows. Each anchor has one positive at 20
    # degrees, of which the pair term keeps log(1 + exp(-(s - 0.5) / 0.5)) while it is hard.
    labels = torch.tensor([0, 0, 1, 1])
    own = math.log1p(math.exp(-(math.cos(math.radians(20)) - 0.5) / 0.5))
    used, pushes = [], []
    for apart in (25.0, 38.0, 40.0, 60.0):
        angles = torch.tensor([0.0, 20.0, apart, apart + 20.0], dtype=torch.float64).deg2rad()
        rows = torch.stack((angles.cos(), angles.sin()), dim=1)
        terms = cbml_terms(labelled_pairs(rows, labels))
        used.append(int(terms.is_used.sum()))
        pushes.append((terms.pairs - own)[1].item() if terms.is_used[1] else 0.0)
        loss = CBMLLoss()(rows, labels)
    assert used == [4, 2, 2, 0]
    assert pushes == sorted(pushes, reverse=True)
    assert 0 < pushes[2] < 0.01 < pushes[0]
    assert loss.item() == 0.0


def test_an_unmined_pair_has_no_gradient_without_variance():
    embeddings, labels = batch(3)
    pairs = labelled_pairs(embeddings, labels)
    similarities = pairs.similarities.clone().requires_grad_()
    terms = cbml_terms(pairs._replace(similarities=similarities))
    hard = mined(pairs, 0.1)
    is_hard = (hard.is_positive | hard.is_negative) & hard.is_used[:, None]
    assert (~is_hard & (pairs.is_positive | pairs.is_negative)).any()
    terms.pairs.where(terms.is_used, 0.0).sum().backward()
    assert not similarities.grad[~is_hard].any()
    assert similarities.grad[is_hard & pairs.is_positive].all()


def test_a_far_negative_changes_the_variance_only():
    rows = normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.9, 0.3], [-1.0, 0.1]], dtype=torch.float64))
    labels = torch.tensor([0, 0, 1, 2])
    before = cbml_terms(labelled_pairs(rows[:3], labels[:3]))
    after = cbml_terms(labelled_pairs(rows, labels))
    assert torch.equal(after.pairs[:2], before.pairs[:2])
    assert (after.variance[:2] > before.variance[:2]).all()


def test_references_are_compared_without_an_own_copy():
    embeddings, labels = batch(5)
    value = CBMLLoss()(embeddings, labels)
    # A memory with the batch itself: the self pairs go by their similarity.
    memory = CBMLLoss()(embeddings, labels, ref_emb=embeddings.clone(), ref_labels=labels.clone())
    assert memory.item() == pytest.approx(value.item(), rel=1e-12)
    assert CBMLLoss()(embeddings, labels, ref_emb=embeddings).item() == value.item()


def test_a_memory_may_hold_older_embeddings_of_the_same_rows():
    embeddings, labels = batch(5)
    older = normalize(embeddings + 0.05)
    index = torch.arange(14) + 100
    options = {"ref_emb": older, "ref_labels": labels, "index": index, "ref_index": index}
    is_same = labels[:, None] == labels
    is_own = torch.eye(14, dtype=torch.bool)
    quads = (*(is_same & ~is_own).nonzero(as_tuple=True), *(~is_same).nonzero(as_tuple=True))
    expected = CBMLLoss()(embeddings, labels, quads, ref_emb=older)
    assert CBMLLoss()(embeddings, labels, **options).item() == pytest.approx(expected.item(), rel=1e-12)
    with pytest.raises(InputError, match="both or neither"):
        CBMLLoss()(embeddings, labels, **options | {"index": None})
    with pytest.raises(InputError, match=r"have \(3, 14\) rows"):
        CBMLLoss()(embeddings, labels, **options | {"index": index[:3]})


def test_given_pairs_replace_the_labels():
    embeddings, labels = batch(6)
    pairs = labelled_pairs(embeddings, labels)
    quads = (*pairs.is_positive.nonzero(as_tuple=True), *pairs.is_negative.nonzero(as_tuple=True))
    value = CBMLLoss()(embeddings, labels).item()
    assert CBMLLoss()(embeddings, indices_tuple=quads).item() == value
    with pytest.raises(InputError, match="2 tensors"):
        CBMLLoss()(embeddings, labels, quads[:2])


def test_lengths_count_only_where_asked_for():
    embeddings, labels = batch(7)
    scaled = embeddings * torch.linspace(0.5, 3, len(labels), dtype=torch.float64)[:, None]
    value = CBMLLoss(normalize="none")(embeddings, labels).item()
    assert CBMLLoss()(scaled, labels).item() == pytest.approx(value, rel=1e-12)
    assert CBMLLoss(normalize="none")(scaled, labels).item() != pytest.approx(value, rel=1e-3)
    refs = {"ref_emb": embeddings, "ref_labels": labels}
    assert CBMLLoss(normalize="anchors")(scaled, labels, **refs).item() == pytest.approx(value, rel=1e-12)
    with pytest.raises(InputError, match="normalize is 'rows'"):
        CBMLLoss(normalize="rows")


def test_skipped_batches_give_a_zero_with_a_graph():
    for labels in (torch.zeros(4, dtype=torch.int64), torch.arange(4), torch.full((4,), -1)):
        embeddings = normalize(torch.randn(4, 3, dtype=torch.float64)).requires_grad_()
        loss = CBMLLoss()(embeddings, labels)
        assert loss.item() == 0.0
        assert loss.shape == ()
        loss.backward()
        assert not embeddings.grad.any()
    empty = torch.zeros(0, 3, requires_grad=True)
    CBMLLoss()(empty, torch.zeros(0, dtype=torch.int64)).backward()
    none = torch.zeros(0, dtype=torch.int64)
    loss = CBMLLoss()(embeddings, torch.zeros(4).long(), ref_emb=empty.detach().double(), ref_labels=none)
    assert loss.item() == 0.0


def test_zero_rows_duplicates_and_unlabelled_rows():
    embeddings, labels = batch(8, k=2)
    embeddings[3] = 0.0
    embeddings[5], labels[5] = embeddings[4], labels[4]
    rows = embeddings.clone().requires_grad_()
    loss = CBMLLoss()(rows, labels)
    assert loss.item() == pytest.approx(by_loops(embeddings, labels), rel=1e-12)
    loss.backward()
    assert torch.isfinite(rows.grad).all()
    # Rows without a label form no pairs, and count as anchors that were skipped.
    alone = CBMLLoss()(torch.cat([embeddings, embeddings[:2]]), torch.cat([labels, torch.tensor([-1, -1])]))
    assert alone.item() == pytest.approx(loss.item() * 14 / 16, rel=1e-12)


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("n_hardest", [None, 3])
def test_nan_is_not_hidden(growth, n_hardest):
    embeddings, labels = batch(9)
    embeddings[2, 0] = torch.nan
    assert CBMLLoss(growth=growth, n_hardest=n_hardest)(embeddings, labels).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    embeddings, labels = batch(10)
    half = embeddings.to(dtype)
    expected = CBMLLoss()(half.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CBMLLoss()(half.requires_grad_(), labels)
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()
    loss.backward()
    assert half.grad.dtype == dtype
    assert CBMLLoss()(embeddings, labels).dtype == torch.float64


def test_large_exponents_stay_finite():
    embeddings, labels = batch(11)
    rows = embeddings.float().requires_grad_()
    loss = CBMLLoss(growth="sqrt", negative_center=0.0)(rows, labels)  # exponents up to 100
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growth": "cubic"}, "growth is 'cubic'"),
        ({"variance_reduction": "max"}, "variance_reduction is 'max'"),
        ({"reference": 1.5}, "reference is 1.5"),
        ({"positive_scale": 0.0}, "positive_scale is 0.0"),
        ({"n_hardest": 0}, "n_hardest is 0"),
        ({"reduction": "sum"}, "reduction is 'sum'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CBMLLoss(**options)


def test_wrong_tensors_are_refused():
    embeddings, labels = batch()
    loss = CBMLLoss()
    with pytest.raises(InputError, match=r"labels is shape \(3,\)"):
        loss(embeddings, labels[:3])
    with pytest.raises(InputError, match="labels is None"):
        loss(embeddings)
    with pytest.raises(InputError, match="ref_labels is None"):
        loss(embeddings, labels, ref_emb=embeddings.clone())
    with pytest.raises(InputError, match="ref_emb has 2 columns; expected 5"):
        loss(embeddings, labels, ref_emb=embeddings[:, :2], ref_labels=labels)
    with pytest.raises(InputError, match="embeddings is"):
        loss(labels, labels)


def test_it_pulls_the_classes_of_noisy_data_apart():
    # Planted: three directions in eight dimensions, a tenth of the labels wrong.
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    inputs = torch.tensor(rng.normal(size=(60, 8)) + 2 * np.eye(8)[truth], dtype=torch.float32)
    given = torch.tensor(np.where(rng.random(60) < 0.1, (truth + 1) % 3, truth))
    torch.manual_seed(0)
    network = torch.nn.Linear(8, 4)

    def precision_at_1():
        similarities = (units := normalize(network(inputs))) @ units.T
        nearest = similarities.fill_diagonal_(-2).argmax(dim=1)
        return (torch.tensor(truth)[nearest] == torch.tensor(truth)).float().mean().item()

    with torch.no_grad():
        before = precision_at_1()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        CBMLLoss(variance_reduction="mean")(network(inputs), given).backward()
        optimizer.step()
    with torch.no_grad():
        assert precision_at_1() > before + 0.05
