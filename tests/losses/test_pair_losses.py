"""Contrastive and Multi-Similarity losses: by hand, slow formulas, pytorch-metric-learning, edges."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor
from torch.nn import functional

from tamis import InputError
from tamis.losses import ContrastiveLoss, MultiSimilarityLoss, PairLoss
from tamis.losses import pair_gradient as module
from tamis.losses.pair_gradient import has_low_product

LOSSES = (
    ContrastiveLoss(),
    ContrastiveLoss(0.2, form="hinge"),
    MultiSimilarityLoss(),
    MultiSimilarityLoss(epsilon=None),
)
IDS = ("contrastive", "hinge", "multi_similarity", "all_pairs")
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=IDS)


class Case:
    """Embeddings around the centres of their classes, a fifth of the labels wrong."""

    def __init__(self, n: int = 13, m: int = 50, d: int = 6, n_classes: int = 4, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        centers = torch.randn(n_classes, d, generator=generator, dtype=torch.float64)

        def draw(size: int) -> tuple[Tensor, Tensor]:
            truth = torch.randint(0, n_classes, (size,), generator=generator)
            rows = centers[truth] + 0.7 * torch.randn(size, d, generator=generator, dtype=torch.float64)
            other = torch.randint(0, n_classes, (size,), generator=generator)
            return rows, torch.where(torch.rand(size, generator=generator) < 0.2, other, truth)

        self.embeddings, self.labels = draw(n)
        self.memory, self.memory_labels = draw(m)

    @property
    def references(self) -> dict[str, Tensor]:
        return {"ref_emb": self.memory, "ref_labels": self.memory_labels}


def value_and_gradient(loss: object, embeddings: Tensor, *arguments: Tensor, **named: object) -> tuple:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf, *arguments, **named)
    value.sum().backward()
    return value.detach(), leaf.grad


def slow(
    loss: PairLoss, embeddings: Tensor, labels: Tensor, references: Tensor, ref_labels: Tensor
) -> Tensor:
    """The formulas, one anchor and one list of pairs at a time."""
    left, right = functional.normalize(embeddings), functional.normalize(references)
    total = embeddings.sum() * 0
    for i in range(len(left)):
        cosine = right @ left[i]
        is_other = torch.tensor([references is not embeddings or i != j for j in range(len(right))])
        positive = cosine[(ref_labels == labels[i]) & is_other]
        negative = cosine[ref_labels != labels[i]]
        if isinstance(loss, ContrastiveLoss):
            shift = loss.margin if loss.form == "hinge" else 0.0
            total = total + (1 - positive)[positive < 1 - 1e-5].sum()
            total = total + (negative - shift)[negative > loss.margin].sum()
            continue
        assert isinstance(loss, MultiSimilarityLoss)
        if loss.epsilon is not None:
            if not len(positive) or not len(negative):
                continue
            hard = positive[positive - loss.epsilon < negative.max()]
            negative = negative[negative + loss.epsilon > positive.min()]
            positive = hard
        total = total + torch.log1p((-loss.alpha * (positive - loss.base)).exp().sum()) / loss.alpha
        total = total + torch.log1p((loss.beta * (negative - loss.base)).exp().sum()) / loss.beta
    return total / len(left)


def published(loss: PairLoss, rows: int) -> object:
    """The same loss made of parts of pytorch-metric-learning."""
    if isinstance(loss, ContrastiveLoss):
        theirs = losses.ContrastiveLoss(
            pos_margin=1,
            neg_margin=loss.margin,
            distance=distances.CosineSimilarity(),
            reducer=reducers.SumReducer(),
        )
        return lambda *arguments, **named: theirs(*arguments, **named) / rows
    theirs = losses.MultiSimilarityLoss(loss.alpha, loss.beta, loss.base)
    if loss.epsilon is None:
        return theirs
    miner = miners.MultiSimilarityMiner(loss.epsilon)
    return lambda embeddings, labels, ref_emb=None, ref_labels=None: theirs(
        embeddings, labels, miner(embeddings, labels, ref_emb, ref_labels), ref_emb, ref_labels
    )


# By hand: the anchor (1, 0); cosines 0.6 and 0 with its class, 0.8 and -1 with the other.
ANCHOR, ANCHOR_LABEL = torch.tensor([[2.0, 0.0]]), torch.tensor([5])
FOUR = torch.tensor([[0.6, 0.8], [0.0, 3.0], [0.8, -0.6], [-1.0, 0.0]])
FOUR_LABELS = torch.tensor([5, 5, 9, 9])


def test_contrastive_by_hand() -> None:
    named = {"ref_emb": FOUR, "ref_labels": FOUR_LABELS}
    value, gradient = value_and_gradient(ContrastiveLoss(), ANCHOR, ANCHOR_LABEL, **named)
    assert value == pytest.approx(0.4 + 1.0 + 0.8)
    # d/ds: -1, -1, +1, 0. Sum of rows: (0.8 - 0.6 - 0, -0.6 - 0.8 - 1); the part along the anchor goes.
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -2.4]]) / 2)
    assert ContrastiveLoss(form="hinge")(ANCHOR, ANCHOR_LABEL, **named) == pytest.approx(0.4 + 1.0 + 0.3)
    dots = ContrastiveLoss(normalize="none")(ANCHOR, ANCHOR_LABEL, **named)
    # Dot products 1.2, 0, 1.6, -2: the first positive is over 1 - 1e-5.
    assert dots == pytest.approx(1.0 + 1.6)
    halves = ContrastiveLoss(normalize="anchors")(
        ANCHOR, ANCHOR_LABEL, ref_emb=FOUR / 2, ref_labels=FOUR_LABELS
    )
    assert halves == pytest.approx(0.7 + 1.0)


def test_multi_similarity_by_hand() -> None:
    named = {"ref_emb": FOUR, "ref_labels": FOUR_LABELS}
    expected = math.log(1 + math.exp(-0.2) + math.exp(1.0)) / 2 + math.log(1 + math.exp(12.0)) / 40
    assert MultiSimilarityLoss()(ANCHOR, ANCHOR_LABEL, **named) == pytest.approx(expected)
    # Without mining the negative at -1 counts as well: exp(-60).
    assert MultiSimilarityLoss(epsilon=None)(ANCHOR, ANCHOR_LABEL, **named) == pytest.approx(expected)
    # Mined with 0.1: the positive at 0.6 is nearer than the negative at 0.3 plus 0.1.
    nearer = torch.tensor([[0.6, 0.8], [0.0, 3.0], [0.3, -(0.91**0.5)], [-1.0, 0.0]])
    expected = math.log(1 + math.exp(1.0)) / 2 + math.log1p(math.exp(-8.0)) / 40
    value = MultiSimilarityLoss()(ANCHOR, ANCHOR_LABEL, ref_emb=nearer, ref_labels=FOUR_LABELS)
    assert value == pytest.approx(expected)


@each_loss
@pytest.mark.parametrize("seed", range(3))
def test_against_slow_formula(loss: PairLoss, seed: int) -> None:
    case = Case(seed=seed)
    for references, ref_labels in ((case.memory, case.memory_labels), (None, None)):
        leaf = case.embeddings.clone().requires_grad_()
        given = leaf if references is None else references
        expected = slow(loss, leaf, case.labels, given, case.labels if references is None else ref_labels)
        expected.backward()
        found = value_and_gradient(
            loss, case.embeddings, case.labels, ref_emb=references, ref_labels=ref_labels
        )
        torch.testing.assert_close(found, (expected.detach(), leaf.grad))


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_against_pytorch_metric_learning(loss: PairLoss, dtype: torch.dtype) -> None:
    if isinstance(loss, ContrastiveLoss):
        loss = ContrastiveLoss(loss.margin, form="hinge")
    case = Case(40, 700, 16, 9, seed=1)
    embeddings, memory = case.embeddings.to(dtype), case.memory.to(dtype)
    named = {"ref_emb": memory, "ref_labels": case.memory_labels}
    theirs = published(loss, len(embeddings))
    for references in (named, {}):
        expected = value_and_gradient(theirs, embeddings, case.labels, **references)
        found = value_and_gradient(loss, embeddings, case.labels, **references)
        torch.testing.assert_close(found, expected)
        assert found[0].dtype == dtype


@each_loss
def test_given_pairs_as_pytorch_metric_learning(loss: PairLoss) -> None:
    case = Case(20, 60, 8, 4, seed=2)
    pairs = miners.MultiSimilarityMiner(0.3)(case.embeddings, case.labels, case.memory, case.memory_labels)
    theirs = published(MultiSimilarityLoss(epsilon=None), 20)
    ours: PairLoss = loss
    if isinstance(loss, ContrastiveLoss):
        ours = ContrastiveLoss(loss.margin, form="hinge")
        theirs = published(ours, 20)
    expected = value_and_gradient(theirs, case.embeddings, case.labels, pairs, **case.references)
    torch.testing.assert_close(
        value_and_gradient(ours, case.embeddings, case.labels, pairs, **case.references), expected
    )
    # Labels say nothing more, and triplets name the same pairs twice.
    found = value_and_gradient(ours, case.embeddings, None, pairs, ref_emb=case.memory)
    torch.testing.assert_close(found, expected)
    anchor, positive, negative = (torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([2, 3]))
    once = (torch.tensor([0]), torch.tensor([1]), torch.tensor([0, 0]), torch.tensor([2, 3]))
    triplets = ours(case.embeddings, None, (anchor, positive, negative), ref_emb=case.memory)
    torch.testing.assert_close(triplets, ours(case.embeddings, None, once, ref_emb=case.memory))


@each_loss
def test_references_with_gradient(loss: PairLoss) -> None:
    """The path with gradients to both sides, the path of a memory and finite differences agree."""
    case = Case(5, 8, 4, 3, seed=3)
    fixed = value_and_gradient(loss, case.embeddings, case.labels, **case.references)
    memory = case.memory.clone().requires_grad_()
    both = value_and_gradient(
        loss, case.embeddings, case.labels, ref_emb=memory, ref_labels=case.memory_labels
    )
    torch.testing.assert_close(both, fixed)
    leaf = case.embeddings.clone().requires_grad_()
    each = type(loss)(**({"form": "hinge"} if isinstance(loss, ContrastiveLoss) else {}), reduction="none")
    assert torch.autograd.gradcheck(
        lambda rows, references: each(rows, case.labels, ref_emb=references, ref_labels=case.memory_labels),
        (leaf, memory),
    )
    assert torch.autograd.gradcheck(lambda rows: each(rows, case.labels), (leaf,))
    with torch.no_grad():
        torch.testing.assert_close(
            loss(leaf, case.labels, ref_emb=memory, ref_labels=case.memory_labels), fixed[0]
        )


@each_loss
def test_blocks_change_nothing(loss: PairLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(11, 37)
    expected = value_and_gradient(loss, case.embeddings, case.labels, **case.references)
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * 6 * 8)
    monkeypatch.setattr(module, "ENTRIES", 4 * 37)
    found = value_and_gradient(loss, case.embeddings, case.labels, **case.references)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@each_loss
def test_invariances(loss: PairLoss) -> None:
    case = Case(seed=4)
    value, gradient = value_and_gradient(loss, case.embeddings, case.labels, **case.references)

    def again(embeddings: Tensor, labels: Tensor, memory: Tensor, memory_labels: Tensor) -> tuple:
        return value_and_gradient(loss, embeddings, labels, ref_emb=memory, ref_labels=memory_labels)

    order, ref_order = torch.randperm(13), torch.randperm(50)
    found = again(
        case.embeddings[order], case.labels[order], case.memory[ref_order], case.memory_labels[ref_order]
    )
    torch.testing.assert_close(found, (value, gradient[order]))
    names = torch.tensor([700, 3, 10**12, 0])
    found = again(case.embeddings, names[case.labels], case.memory, names[case.memory_labels])
    torch.testing.assert_close(found, (value, gradient))
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    found = again(case.embeddings @ rotation, case.labels, case.memory @ rotation, case.memory_labels)
    torch.testing.assert_close(found, (value, gradient @ rotation))
    scale = torch.rand(50, 1, dtype=torch.float64) + 0.5
    found = again(3 * case.embeddings, case.labels, scale * case.memory, case.memory_labels)
    torch.testing.assert_close(found, (value, gradient / 3))
    # Lengths do not matter, so the gradient has no part along the embedding.
    torch.testing.assert_close((gradient * case.embeddings).sum(dim=1), torch.zeros(13).double())
    unit = type(loss)(normalize="anchors") if loss in (LOSSES[0], LOSSES[2]) else None
    if unit is not None:
        rows = functional.normalize(case.memory)
        found = value_and_gradient(
            unit, case.embeddings, case.labels, ref_emb=rows, ref_labels=case.memory_labels
        )
        torch.testing.assert_close(found, (value, gradient))


@each_loss
def test_mean_of_anchors(loss: PairLoss) -> None:
    case = Case()
    loss.reduction = "none"
    each = loss(case.embeddings, case.labels, **case.references)
    loss.reduction = "mean"
    assert each.shape == (13,)
    torch.testing.assert_close(each.mean(), loss(case.embeddings, case.labels, **case.references))


@each_loss
def test_own_copies_and_empty_slots_form_no_pairs(loss: PairLoss) -> None:
    case = Case(seed=5)
    index = torch.arange(13) + 100
    copies = case.embeddings + 0.3
    memory = torch.cat([case.memory, copies, torch.full((4, 6), 7.0).double()])
    # One copy carries another label by now: it must not push its original away.
    labels = torch.cat([case.memory_labels, case.labels, torch.full((4,), -1)])
    labels[50] = (labels[50] + 1) % 4
    ref_index = torch.cat([torch.arange(50), index, torch.full((4,), -1)])
    eye = (
        torch.stack([loss(case.embeddings[i : i + 1], case.labels[i : i + 1],
            ref_emb=memory[keep], ref_labels=labels[keep])
            for i in range(13) for keep in [(ref_index != index[i]) & (labels >= 0)]])
    ).mean()  # fmt: skip
    found = loss(
        case.embeddings, case.labels, ref_emb=memory, ref_labels=labels, index=index, ref_index=ref_index
    )
    torch.testing.assert_close(found, eye)
    unlabelled = case.labels.clone()
    unlabelled[3] = -1
    kept = torch.arange(13) != 3
    torch.testing.assert_close(
        loss(case.embeddings, unlabelled, **case.references) * 13,
        loss(case.embeddings[kept], case.labels[kept], **case.references) * 12,
    )
    # In a batch: two views of one sample.
    twice = loss(case.embeddings, case.labels, index=torch.arange(13).clamp(max=11))
    pairs = case.labels[:, None] == case.labels
    same = torch.eye(13, dtype=torch.bool)
    same[11, 12] = same[12, 11] = True
    given = (*(pairs & ~same).nonzero(as_tuple=True), *(~pairs & ~same).nonzero(as_tuple=True))
    if not (isinstance(loss, MultiSimilarityLoss) and loss.epsilon is not None):
        torch.testing.assert_close(twice, loss(case.embeddings, None, given))


@each_loss
def test_nothing_to_compare(loss: PairLoss) -> None:
    rows = torch.randn(3, 4, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.long)
    zero = torch.zeros(3)
    cases = [
        (rows[:0], nothing, {}),
        (rows[:0], nothing, {"ref_emb": torch.randn(2, 4), "ref_labels": torch.tensor([0, 1])}),
        (rows, zero.long(), {"ref_emb": torch.zeros(0, 4), "ref_labels": nothing}),
        (rows[:1], nothing.new_ones(1), {}),
        (rows, zero.long() - 1, {}),
        (rows, None, {"indices_tuple": (nothing, nothing, nothing)}),
    ]
    for embeddings, labels, named in cases:
        value = loss(embeddings, labels, **named)
        assert value == 0
        (gradient,) = torch.autograd.grad(value, rows)
        assert (gradient == 0).all()


def test_one_class_only() -> None:
    case = Case()
    ones = torch.ones_like(case.labels)
    assert MultiSimilarityLoss()(case.embeddings, ones) == 0
    unit = functional.normalize(case.embeddings)
    expected = (1 - unit @ unit.T).sum() / 13
    torch.testing.assert_close(ContrastiveLoss()(case.embeddings, ones), expected)
    with_one = value_and_gradient(MultiSimilarityLoss(epsilon=None), case.embeddings, torch.arange(13))
    assert with_one[0] > 0 and with_one[1].isfinite().all()


@each_loss
def test_rows_of_zeros_and_nan(loss: PairLoss) -> None:
    case = Case()
    embeddings, memory = case.embeddings.clone(), case.memory.clone()
    embeddings[2], memory[7] = 0.0, 0.0
    for named in ({}, {"ref_emb": memory, "ref_labels": case.memory_labels}):
        value, gradient = value_and_gradient(loss, embeddings, case.labels, **named)
        assert value.isfinite() and gradient.isfinite().all() and (gradient[2] == 0).all()
        assert gradient.abs().max() < 100
    embeddings[2] = torch.nan
    assert loss(embeddings, case.labels, **case.references).isnan()
    memory[7] = torch.nan
    assert loss(case.embeddings, case.labels, ref_emb=memory, ref_labels=case.memory_labels).isnan()


@pytest.mark.parametrize("beta", [1.0, 200.0, 5000.0])
def test_large_exponents_do_not_overflow(beta: float) -> None:
    case = Case()
    loss = MultiSimilarityLoss(alpha=beta, beta=beta, epsilon=None)
    found = value_and_gradient(loss, case.embeddings.float(), case.labels, **case.references)
    exact = value_and_gradient(loss, case.embeddings, case.labels, **case.references)
    torch.testing.assert_close(found, (exact[0].float(), exact[1].float()), rtol=2e-3, atol=1e-4)
    # Negatives that hardly count keep their digits.
    far = MultiSimilarityLoss(beta=60.0, epsilon=None)
    value = far(
        torch.tensor([[1.0, 0.0]]), torch.tensor([0]), None, torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    )
    assert value == pytest.approx(math.exp(-30.0) / 60, rel=1e-5)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(loss: PairLoss, dtype: torch.dtype) -> None:
    case = Case(20, 300, 32, 5)
    exact = value_and_gradient(
        loss, case.embeddings.to(dtype).double(), case.labels,
        ref_emb=case.memory.to(dtype).double(), ref_labels=case.memory_labels,
    )  # fmt: skip
    named = {"ref_emb": case.memory.to(dtype), "ref_labels": case.memory_labels}
    value, gradient = value_and_gradient(loss, case.embeddings.to(dtype), case.labels, **named)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert value == pytest.approx(float(exact[0]), rel=0.01)
    assert (gradient.double() - exact[1]).norm() < 0.02 * exact[1].norm()


@each_loss
def test_autocast_changes_nothing(loss: PairLoss) -> None:
    case = Case()
    embeddings = case.embeddings.float()
    for named in ({}, {"ref_emb": case.memory.float(), "ref_labels": case.memory_labels}):
        expected = value_and_gradient(loss, embeddings, case.labels, **named)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = value_and_gradient(loss, embeddings, case.labels, **named)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.skipif(
    not has_low_product(torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16)), reason="no units for bfloat16"
)
def test_bfloat16_memory_with_and_without_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of the rest that rounding took away bring similarities back to float32."""
    case = Case(16, 400, 64, 8)
    anchors = functional.normalize(case.embeddings).float()
    memory = functional.normalize(case.memory).bfloat16()
    exact = anchors.bfloat16().double() @ memory.double().T
    assert (module.similarities(anchors, memory) - exact).abs().max() < 1e-5
    assert 1e-4 < (module.similarities(anchors, memory, is_close=False) - exact).abs().max() < 4e-3
    monkeypatch.setattr(module, "has_low_product", lambda *_: False)
    assert (module.similarities(anchors, memory) - anchors.double() @ memory.double().T).abs().max() < 1e-6


def test_second_derivative_is_refused() -> None:
    case = Case()
    leaf = case.embeddings.clone().requires_grad_()
    with pytest.raises(InputError, match="second derivatives"):
        ContrastiveLoss()(leaf, case.labels).backward(create_graph=True)


ROWS, LABELS = torch.eye(3), torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((ROWS[0], LABELS), {}, "embeddings is shape"),
        ((ROWS, None), {}, "labels is None"),
        ((ROWS, LABELS.float()), {}, "labels is shape .*float32"),
        ((ROWS, LABELS[:2]), {}, "expected an integer tensor of shape"),
        ((ROWS, LABELS), {"ref_emb": torch.zeros(2, 4)}, "ref_emb has 4 columns; expected 3"),
        ((ROWS, LABELS), {"ref_emb": torch.zeros(2, 3)}, "ref_labels is None"),
        ((ROWS, LABELS), {"ref_labels": torch.zeros(2).long()}, "belong to ref_emb"),
        ((ROWS, LABELS), {"ref_emb": ROWS + 1, "ref_labels": LABELS, "index": LABELS}, "both or neither"),
        ((ROWS, LABELS, (LABELS, LABELS)), {}, "indices_tuple has 2"),
        ((ROWS, None, (LABELS, LABELS, LABELS)), {}, "as positive and as negative"),
    ],
)
def test_wrong_calls(arguments: tuple, named: dict, message: str) -> None:
    for loss in (ContrastiveLoss(), MultiSimilarityLoss()):
        with pytest.raises(InputError, match=message):
            loss(*arguments, **named)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContrastiveLoss(1.0), "margin is 1.0"),
        (lambda: ContrastiveLoss(form="square"), "form is 'square'"),
        (lambda: ContrastiveLoss(normalize="all"), "normalize is 'all'"),
        (lambda: ContrastiveLoss(reduction="sum"), "reduction is 'sum'"),
        (lambda: MultiSimilarityLoss(alpha=0.0), "alpha is 0"),
        (lambda: MultiSimilarityLoss(beta=float("nan")), "beta is nan"),
        (lambda: MultiSimilarityLoss(epsilon=-0.1), "epsilon is -0.1"),
    ],
)
def test_wrong_parameters(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@each_loss
def test_learns_groups_despite_wrong_labels(loss: PairLoss) -> None:
    """A projection trained with a fifth of the labels wrong tells the true groups apart on new rows."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(480) % 6
    inputs = 3.0 * functional.one_hot(truth, 30).float() + torch.randn(480, 30, generator=generator)
    other = torch.randint(0, 6, (480,), generator=generator)
    labels = torch.where(torch.rand(480, generator=generator) < 0.2, other, truth)

    def precision(embeddings: Tensor) -> float:
        unit = functional.normalize(embeddings[240:])
        nearest = (unit @ unit.T).fill_diagonal_(-2.0).argmax(dim=1)
        return float((truth[240:][nearest] == truth[240:]).float().mean())

    weights = torch.randn(30, 8, generator=generator).requires_grad_()
    before = precision((inputs @ weights).detach())
    optimizer = torch.optim.Adam([weights], lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss(inputs[:240] @ weights, labels[:240]).backward()
        optimizer.step()
    after = precision((inputs @ weights).detach())
    assert after > before + 0.1
