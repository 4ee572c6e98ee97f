"""Losses against proxies: slow formulas, pytorch-metric-learning, precision, seeds, edges; losses by name."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor
from torch.nn import functional

from tamis import InputError
from tamis.losses import (
    METRIC_LOSSES,
    ContrastiveLoss,
    MultiSimilarityLoss,
    ProxyLoss,
    make_metric_loss,
    proxy_anchor,
    proxy_nca,
    proxy_parameters,
    soft_triple,
    takes_memory,
)

BUILDERS = {"soft_triple": soft_triple, "proxy_anchor": proxy_anchor, "proxy_nca": proxy_nca}
each_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def batch(n: int = 12, d: int = 5, n_classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator), torch.randint(0, n_classes, (n,), generator=generator)


def gradients(loss: ProxyLoss, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    (proxies,) = proxy_parameters(loss)
    value = loss(leaf, labels)
    return value.detach(), *torch.autograd.grad(value, (leaf, proxies))


def slow(name: str, proxies: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
    """The papers' formulas with their defaults."""
    unit = functional.normalize(embeddings)
    if name == "soft_triple":
        cosine = unit @ functional.normalize(proxies, dim=0)
        cosine = cosine.view(len(unit), 4, 10)
        to_class = (functional.softmax(cosine / 0.1, dim=2) * cosine).sum(dim=2)
        return functional.cross_entropy(20 * (to_class - 0.01 * functional.one_hot(labels, 4)), labels)
    own = functional.normalize(proxies)
    if name == "proxy_nca":
        return functional.cross_entropy(-9 * torch.cdist(unit, own) ** 2, labels)
    cosine = unit @ own.T
    pulls = [torch.exp(-32 * (cosine[labels == c, c] - 0.1)).sum().log1p() for c in labels.unique()]
    pushes = [torch.exp(32 * (cosine[labels != c, c] + 0.1)).sum().log1p() for c in range(4)]
    return sum(pulls) / len(pulls) + sum(pushes) / 4


@pytest.mark.parametrize("name", BUILDERS)
def test_against_slow_formula(name: str) -> None:
    loss = BUILDERS[name](4, 5, seed=0).double()
    embeddings, labels = batch()
    (proxies,) = proxy_parameters(loss)
    leaf = embeddings.double().requires_grad_()
    expected = slow(name, proxies, leaf, labels)
    grads = torch.autograd.grad(expected, (leaf, proxies))
    torch.testing.assert_close(
        gradients(loss, embeddings.double(), labels), (expected.detach(), *grads), rtol=1e-6, atol=1e-8
    )


@each_builder
def test_proxies_depend_on_the_seed_alone(build: object) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = proxy_parameters(build(4, 5, seed=3))[0]
    assert (torch.get_rng_state() == state).all()
    torch.manual_seed(2)
    assert (proxy_parameters(build(4, 5, seed=3))[0] == first).all()
    assert (proxy_parameters(build(4, 5, seed=4))[0] != first).any()


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (soft_triple, losses.SoftTripleLoss),
        (proxy_anchor, losses.ProxyAnchorLoss),
        (proxy_nca, losses.ProxyNCALoss),
    ],
)
def test_proxies_are_drawn_as_published(build: object, published: type) -> None:
    ours = proxy_parameters(build(300, 40, seed=0))[0].detach()
    theirs = next(published(300, 40).parameters()).detach()
    assert ours.shape == theirs.shape
    assert ours.std() == pytest.approx(float(theirs.std()), rel=0.05)
    assert ours.abs().max() == pytest.approx(float(theirs.abs().max()), rel=0.2)


@each_builder
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_no_input_recasts_the_proxies(build: object, dtype: torch.dtype) -> None:
    loss = build(4, 5, seed=0)
    embeddings, labels = batch()
    embeddings = embeddings.to(dtype)
    before = proxy_parameters(loss)[0].clone()
    value, gradient, of_proxies = gradients(loss, embeddings, labels)
    assert gradient.dtype == dtype
    assert of_proxies.dtype == value.dtype == torch.float32
    (proxies,) = proxy_parameters(loss)
    assert proxies.dtype == torch.float32
    assert (proxies == before).all()
    torch.testing.assert_close(loss(embeddings.float(), labels).detach(), value)


@each_builder
def test_autocast_changes_nothing(build: object) -> None:
    loss = build(4, 5, seed=0)
    expected = gradients(loss, *batch())
    embeddings, labels = batch()
    leaf = embeddings.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(leaf, labels)
    found = (value.detach(), *torch.autograd.grad(value, (leaf, *proxy_parameters(loss))))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@each_builder
def test_properties(build: object) -> None:
    loss = build(4, 5, seed=0).double()
    embeddings, labels = batch()
    embeddings = embeddings.double()
    value, gradient, of_proxies = gradients(loss, embeddings, labels)
    order = torch.randperm(12)
    torch.testing.assert_close(
        gradients(loss, embeddings[order], labels[order]), (value, gradient[order], of_proxies)
    )
    torch.testing.assert_close(gradients(loss, 5 * embeddings, labels), (value, gradient / 5, of_proxies))


@each_builder
def test_edges(build: object) -> None:
    loss = build(4, 5, seed=0)
    embeddings, labels = batch()
    nothing = gradients(loss, embeddings[:0], labels[:0])
    assert nothing[0] == 0
    assert nothing[2].shape == proxy_parameters(loss)[0].shape
    assert (nothing[2] == 0).all()
    embeddings[3] = 0.0
    value, gradient, of_proxies = gradients(loss, embeddings, labels)
    assert value.isfinite()
    assert (gradient[3] == 0).all()
    assert gradient.abs().max() < 1e3
    assert of_proxies.isfinite().all()
    assert gradients(loss, embeddings, torch.zeros_like(labels))[0].isfinite()
    embeddings[3] = torch.nan
    assert loss(embeddings, labels).isnan()


@each_builder
def test_learns(build: object) -> None:
    """Embeddings and proxies find each other; a state restores them."""
    loss = build(4, 5, seed=0)
    embeddings, labels = batch(40)
    free = torch.nn.Parameter(embeddings.clone())
    optimizer = torch.optim.Adam([{"params": [free]}, {"params": proxy_parameters(loss)}], lr=0.05)
    first = float(loss(free, labels).detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss(free, labels).backward()
        optimizer.step()
    last = float(loss(free, labels).detach())
    assert last < 0.5 * first
    fresh = build(4, 5, seed=9)
    fresh.load_state_dict(loss.state_dict())
    assert float(fresh(free, labels).detach()) == last


@each_builder
def test_wrong_calls(build: object) -> None:
    loss = build(4, 5, seed=0)
    embeddings, labels = batch()
    with pytest.raises(InputError, match="takes no memory"):
        loss(embeddings, labels, ref_emb=embeddings, ref_labels=labels)
    with pytest.raises(InputError, match="row 2 is 4; expected a class code from 0 to 3"):
        loss(embeddings, labels.index_fill(0, torch.tensor([2]), 4))
    with pytest.raises(InputError, match="row 0 is -1"):
        loss(embeddings, labels.index_fill(0, torch.tensor([0]), -1))
    with pytest.raises(InputError, match="columns; expected 5"):
        loss(embeddings[:, :4], labels)
    with pytest.raises(InputError, match=r"the proxies are torch\.bfloat16"):
        build(4, 5, seed=0).bfloat16()(embeddings, labels)
    for arguments in ((0, 5), (4, 0)):
        with pytest.raises(InputError, match="expected a number above 0"):
            build(*arguments, seed=0)


def test_centers_of_soft_triple() -> None:
    assert proxy_parameters(soft_triple(499, 2, seed=0))[0].shape == (2, 4990)
    assert proxy_parameters(soft_triple(500, 2, seed=0))[0].shape == (2, 1000)
    assert proxy_parameters(soft_triple(500, 2, seed=0, n_centers=3))[0].shape == (2, 1500)


@pytest.mark.parametrize("name", METRIC_LOSSES)
def test_factory(name: str) -> None:
    loss = make_metric_loss(name, n_classes=4, embedding_size=5, seed=0)
    embeddings, labels = batch()
    assert loss(embeddings, labels).isfinite()
    facts = METRIC_LOSSES[name]
    assert facts.takes_memory == takes_memory(name) == loss.takes_memory
    assert facts.has_proxies == bool(proxy_parameters(loss))
    if facts.takes_memory:
        made = make_metric_loss(name, n_classes=4, embedding_size=5, memory=True)
        assert made(embeddings, labels, ref_emb=embeddings + 1, ref_labels=labels).isfinite()
    else:
        with pytest.raises(InputError, match=f"{name} .* takes no memory"):
            make_metric_loss(name, n_classes=4, embedding_size=5, memory=True)


def test_factory_options() -> None:
    made = make_metric_loss("contrastive", n_classes=4, embedding_size=5, margin=0.3, form="hinge")
    assert isinstance(made, ContrastiveLoss)
    assert (made.margin, made.form) == (0.3, "hinge")
    mined = make_metric_loss("multi_similarity", n_classes=4, embedding_size=5, beta=50.0)
    assert isinstance(mined, MultiSimilarityLoss)
    assert (mined.alpha, mined.beta, mined.base, mined.epsilon) == (2.0, 50.0, 0.5, 0.1)
    with pytest.raises(InputError, match="'alpha' is no option of contrastive; expected one of margin, form"):
        make_metric_loss("contrastive", n_classes=4, embedding_size=5, alpha=2.0)
    with pytest.raises(InputError, match="name is 'triplet'; expected one of contrastive"):
        make_metric_loss("triplet", n_classes=4, embedding_size=5)
    with pytest.raises(InputError, match="name is 'triplet'"):
        takes_memory("triplet")
