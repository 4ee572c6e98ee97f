"""Confidence by proxies: by hand, against pytorch-metric-learning, properties, edges, noisy labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, NormalizedSoftmaxLoss, TripletMarginLoss
from pytorch_metric_learning.losses import MultiSimilarityLoss as PublishedMultiSimilarity
from pytorch_metric_learning.reducers import DoNothingReducer
from scipy.special import softmax
from scipy.stats import entropy
from torch import nn
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses.multi_similarity import MultiSimilarityLoss
from tamis.losses.procsim import ProxyConfidenceLoss
from tamis.losses.proxy_confidence import (
    language_guidance_loss,
    own_proxy_distances,
    proxy_confidence,
    proxy_losses,
)

READINGS = ["batch", "sphere", "softmax"]


def batch(seed=0, n=12, d=5, k=4):
    rng = np.random.default_rng(seed)
    return (
        torch.tensor(rng.normal(size=(n, d)), requires_grad=True),
        torch.arange(n) % k,
        torch.tensor(rng.normal(size=(k, d)), requires_grad=True),
    )


def made(**options):
    loss = ProxyConfidenceLoss(4, 5, **options).double()
    loss.set_epoch(1)
    return loss


def test_confidence_by_hand():
    angles = torch.tensor([0.0, 60.0, 180.0], dtype=torch.float64).deg2rad()
    rows = 7 * torch.stack([angles.cos(), angles.sin()], dim=1)
    labels, proxies = torch.tensor([0, 0, 0]), torch.tensor([[2.0, 0.0], [0.0, 0.5]]).double()
    assert own_proxy_distances(rows, labels, proxies).tolist() == pytest.approx([0, 1, 2])
    assert proxy_confidence(rows, labels, proxies).tolist() == pytest.approx([1, 0.5, 0])
    sphere = proxy_confidence(rows, labels, proxies, normalization="sphere")
    assert sphere.tolist() == pytest.approx([1, 0.5, 0])
    # Squared distances to both proxies: 2 - 2 cos.
    squares = np.array([[0, 2], [1, 2 - math.sqrt(3)], [4, 2]])
    expected = softmax(-squares / 0.5, axis=1)[:, 0]
    found = proxy_confidence(rows, labels, proxies, normalization="softmax", temperature=0.5)
    np.testing.assert_allclose(found, expected)
    found = proxy_losses(rows, labels, proxies, temperature=0.5)
    np.testing.assert_allclose(found, -np.log(expected))


def test_proxy_loss_is_the_normalised_softmax_loss():
    rows, labels, proxies = batch()
    # Squared distances are 2 - 2 cos: a softmax of cosines at half the temperature.
    published = NormalizedSoftmaxLoss(4, 5, temperature=1 / 18).double()
    with torch.no_grad():
        published.W.copy_(proxies.T)
    torch.testing.assert_close(proxy_losses(rows, labels, proxies).mean(), published(rows, labels))


@pytest.mark.parametrize("reading", READINGS)
def test_confidence_falls_with_distance_and_is_equivariant(reading):
    rows, labels, proxies = batch(n=40)
    found = proxy_confidence(rows, labels, proxies, normalization=reading)
    assert not found.requires_grad
    assert ((found >= 0) & (found <= 1)).all()
    order = torch.from_numpy(np.random.default_rng(0).permutation(40))
    moved = proxy_confidence(rows[order], labels[order], proxies, normalization=reading)
    torch.testing.assert_close(moved, found[order])
    names = torch.tensor([2, 0, 3, 1])
    renamed = proxy_confidence(rows, names[labels], proxies[names.argsort()], normalization=reading)
    torch.testing.assert_close(renamed, found)
    scaled = proxy_confidence(9 * rows, labels, 0.1 * proxies, normalization=reading)
    torch.testing.assert_close(scaled, found)
    if reading != "softmax":
        far = own_proxy_distances(rows, labels, proxies)
        assert torch.equal(found.argsort(descending=True), far.argsort())


def test_confidence_at_the_edges():
    proxies = torch.eye(3)
    rows = normalize(torch.ones(4, 3))
    assert proxy_confidence(rows, torch.tensor([0, 1, 2, 0]), proxies).tolist() == [1] * 4
    assert proxy_confidence(rows[:1], torch.tensor([2]), proxies).tolist() == [1]
    zeros = torch.zeros(2, 3)
    labels = torch.tensor([0, 1])
    assert own_proxy_distances(zeros, labels, proxies).tolist() == [1, 1]
    assert own_proxy_distances(rows[:2], labels, torch.zeros(3, 3)).tolist() == pytest.approx([1, 1])
    assert proxy_confidence(zeros, labels, proxies, normalization="sphere").tolist() == [0.5, 0.5]
    assert proxy_losses(zeros, labels, proxies).tolist() == pytest.approx([math.log(3)] * 2)
    for reading in READINGS:
        nothing = proxy_confidence(zeros[:0], labels[:0], proxies, normalization=reading)
        assert nothing.tolist() == []
    # In float32, near the proxy: differences before squares.
    near = torch.tensor([[1.0, 1e-5, 0.0], [1.0, 3e-5, 0.0], [1.0, 5e-5, 0.0]])
    found = proxy_confidence(near, torch.zeros(3).long(), proxies)
    assert found.tolist() == pytest.approx([1, 0.5, 0], abs=1e-4)


def test_proxies_of_absent_classes_are_only_pushed():
    rows, _, proxies = batch()
    proxy_losses(rows, torch.zeros(12).long(), proxies).sum().backward()
    assert proxies.grad.any(dim=1).all()
    with torch.no_grad():
        towards = normalize(proxies) - 1e-3 * proxies.grad
        assert ((normalize(towards) - normalize(proxies)) @ normalize(rows.mean(dim=0), dim=0))[
            1:
        ].max() < 0.1
    assert torch.autograd.gradcheck(
        lambda left, right: proxy_losses(left, torch.zeros(12).long(), right), (rows, proxies)
    )


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("normalize_weights", [False, True])
def test_loss_by_its_definition(reading, normalize_weights):
    rows, labels, _ = batch()
    table = torch.tensor(np.corrcoef(np.random.default_rng(1).normal(size=(4, 6))))
    loss = made(
        normalization=reading, proxy_weight=0.7, class_similarity=table, language_weight=0.3,
        normalize_weights=normalize_weights,
    )  # fmt: skip
    confidence = proxy_confidence(rows, labels, loss.proxies, normalization=reading)
    anchors = MultiSimilarityLoss(beta=50.0, reduction="none")(rows, labels)
    total = (confidence * anchors).sum() / (confidence.sum() if normalize_weights else 12)
    total = total + 0.7 * proxy_losses(rows, labels, loss.proxies).mean()
    total = total + 0.3 * language_guidance_loss(rows, labels, table)
    found = loss(rows, labels)
    torch.testing.assert_close(found, total)
    for value in torch.autograd.grad(found, [rows, loss.proxies]):
        assert value.any()
    torch.testing.assert_close(loss.confidence(rows, labels), confidence)


def test_confidence_of_one_gives_the_plain_loss():
    rows, labels, _ = batch()
    loss = made(proxy_weight=0.0)
    plain = MultiSimilarityLoss(beta=50.0)(rows, labels)
    assert not torch.allclose(loss(rows, labels), plain)
    loss.set_epoch(0)
    assert torch.equal(loss(rows, labels), plain)
    # All at their proxies.
    with torch.no_grad():
        loss.proxies.copy_(rows[:4])
    loss.set_epoch(1)
    torch.testing.assert_close(
        loss(rows[:4], labels[:4]), MultiSimilarityLoss(beta=50.0)(rows[:4], labels[:4])
    )


def test_warm_up():
    rows, labels, _ = batch()
    loss = ProxyConfidenceLoss(4, 5, warmup_epochs=2.5).double()
    values = []
    for epoch in (0, 1, 2, 3):
        loss.set_epoch(epoch)
        values.append(loss(rows, labels).item())
    assert values[0] == values[1] == values[2] != values[3]
    assert ProxyConfidenceLoss(4, 5, warmup_epochs=0).double()(rows, labels).item() == values[3]


def test_base_of_pytorch_metric_learning_and_references():
    rows, labels, _ = batch()
    memory, memory_labels, _ = batch(3, n=30)
    memory = memory.detach()
    published = made(base=PublishedMultiSimilarity(2, 50, 0.5, reducer=DoNothingReducer()))
    own = made(base=MultiSimilarityLoss(2, 50, 0.5, epsilon=None, reduction="none"))
    for given in ((), (None, memory, memory_labels)):
        torch.testing.assert_close(published(rows, labels, *given), own(rows, labels, *given))
    pairs = tuple(torch.tensor(each) for each in ([0, 0, 1], [4, 8, 5], [0, 1, 2], [1, 2, 3]))
    torch.testing.assert_close(published(rows, labels, pairs), own(rows, labels, pairs))
    assert not torch.equal(own(rows, labels, pairs), own(rows, labels))


def test_bases_without_a_loss_for_each_anchor_are_refused():
    rows, labels, _ = batch()
    for base in (MultiSimilarityLoss(), PublishedMultiSimilarity()):
        with pytest.raises(InputError, match=r"base gives \(\) for 12 anchors"):
            made(base=base)(rows, labels)
    for base in (ContrastiveLoss, TripletMarginLoss):
        with pytest.raises(InputError, match=r"base gives a loss \('.*'\) of kind"):
            made(base=base(reducer=DoNothingReducer()))(rows, labels)


def test_language_guidance():
    rows, labels, _ = batch()
    table = torch.tensor(np.random.default_rng(1).normal(size=(6, 6)))
    labels = labels + 1
    means = np.stack([normalize(rows.detach())[labels == k].mean(0) for k in (1, 2, 3, 4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    wanted = softmax(table.numpy()[1:5, 1:5] / 0.2, axis=1)
    expected = np.mean(
        [entropy(p, q) for p, q in zip(wanted, softmax(means @ means.T / 0.2, axis=1), strict=True)]
    )
    found = language_guidance_loss(rows, labels, table, temperature=0.2)
    assert found.item() == pytest.approx(expected)
    found.backward()
    assert rows.grad.any()
    # What the embeddings already say costs nothing; one class says nothing.
    assert language_guidance_loss(rows, labels, table, temperature=1e6).item() == pytest.approx(0, abs=1e-9)
    for n in (0, 1):
        assert language_guidance_loss(rows[:n], labels[:n], table).item() == 0.0


def test_proxies_are_a_function_of_the_seed():
    torch.manual_seed(0)
    first = ProxyConfidenceLoss(4, 5, seed=3)
    before = torch.random.get_rng_state()
    again, other = ProxyConfidenceLoss(4, 5, seed=3), ProxyConfidenceLoss(4, 5)
    assert torch.equal(first.proxies, again.proxies)
    assert not torch.equal(first.proxies, other.proxies)
    assert torch.equal(before, torch.random.get_rng_state())
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.proxies, other.proxies)
    table = torch.eye(4)
    assert "class_similarity" in ProxyConfidenceLoss(4, 5, class_similarity=table).state_dict()


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision_and_odd_rows(reading, dtype):
    rows = batch()[0].detach().clone()
    rows[2], rows[5] = 0.0, rows[1]
    labels = torch.arange(12) % 4
    rows = rows.to(dtype).requires_grad_()
    loss = ProxyConfidenceLoss(4, 5, normalization=reading)
    loss.set_epoch(1)
    value = loss(rows, labels)
    assert value.dtype == torch.float32
    exact = made(normalization=reading)(rows.detach().double(), labels)
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(rows, labels), value)
    value.backward()
    assert rows.grad.isfinite().all()
    assert loss.proxies.grad.isfinite().all()


def test_small_batches():
    loss = made()
    for n in (0, 1, 2):
        rows = batch(n=max(n, 4))[0][:n].detach().requires_grad_()
        value = loss(rows, torch.zeros(n, dtype=torch.int64))
        assert value.isfinite()
        value.backward()
    assert loss(rows[:0], torch.zeros(0).long()).item() == 0.0


# At a low temperature proxies trained on noisy labels lie close together: only a comparison of them tells.
@pytest.mark.parametrize(("temperature", "readings"), [(1.0, READINGS), (1 / 9, ["softmax"])])
def test_wrong_labels_get_little_confidence(temperature, readings):
    rng = np.random.default_rng(0)
    truth = torch.arange(400) % 4
    inputs = torch.tensor(4 * np.eye(8)[truth.numpy()] + rng.normal(size=(400, 8)), dtype=torch.float32)
    is_wrong = torch.tensor(rng.random(400) < 0.3)
    labels = torch.where(is_wrong, (truth + torch.tensor(rng.integers(1, 4, 400))) % 4, truth)
    network, loss = nn.Linear(8, 6, bias=False), ProxyConfidenceLoss(4, 6, temperature=temperature)
    with torch.no_grad():
        network.weight.copy_(torch.eye(6, 8))
    groups = [{"params": network.parameters()}, {"params": loss.parameters(), "lr": 0.2}]
    optimiser = torch.optim.Adam(groups, lr=1e-3)
    for epoch in range(8):
        loss.set_epoch(epoch)
        for part in torch.from_numpy(rng.permutation(400)).split(80):
            optimiser.zero_grad()
            loss(network(inputs[part]), labels[part]).backward()
            optimiser.step()
    for reading in readings:
        loss.normalization = reading
        found = loss.confidence(network(inputs), labels)
        assert (found[~is_wrong][:, None] > found[is_wrong]).float().mean() > 0.95
        if reading != "batch":  # whose range moves with the labels
            own = loss.confidence(network(inputs), truth)
            assert (found[is_wrong] < own[is_wrong]).float().mean() > 0.95


def test_refusals():
    rows, labels, proxies = batch()
    for call, message in (
        (lambda: made()(rows, labels + 1), "labels row 3 is 4; expected a class code from 0 to 3"),
        (lambda: made()(rows, labels - 1), "labels row 0 is -1"),
        (lambda: made()(rows * math.nan, labels), "embeddings row 0 holds NaN"),
        (lambda: made()(rows[:, :3], labels), "embeddings have 3 columns, proxies 5"),
        (lambda: proxy_confidence(rows, labels, proxies, normalization="own"), "normalization is 'own'"),
        (lambda: proxy_losses(rows, labels, proxies, temperature=0.0), "temperature is 0"),
        (lambda: proxy_losses(rows, labels, proxies * math.nan), "proxies row 0 holds NaN"),
        (lambda: language_guidance_loss(rows, labels, proxies), "class_similarity has shape"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    for options, message in (
        ({"normalization": "own"}, "normalization is 'own'"),
        ({"proxy_weight": -1.0}, "proxy_weight is -1"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"warmup_epochs": -1.0}, "warmup_epochs is -1"),
        ({"language_weight": 1.0}, "language_weight is 1.0 and class_similarity is not given"),
        ({"class_similarity": torch.eye(3)}, r"expected \(4, 4\)"),
        ({"class_similarity": torch.full((4, 4), math.nan)}, "class_similarity row 0 holds NaN"),
    ):
        with pytest.raises(InputError, match=message):
            made(**options)
    with pytest.raises(InputError, match="n_classes is 0"):
        ProxyConfidenceLoss(0, 5)
