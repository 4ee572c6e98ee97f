"""Relation distillation: by hand, against loops, properties, edges, noisy labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from tamis.backbones import initialise
from tamis.errors import InputError, TamisWarning
from tamis.losses import RelationDistillation, noise_emphasis, relation_ramp
from tamis.losses.relation import (
    edge_kl,
    edge_mse,
    neighbor_log_probs,
    neighbor_mask,
    node_aggregate,
    node_cosine,
    relation_graph,
)
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import rkd_distance_loss


def rows(seed=0, b=7, d=5):
    return torch.tensor(np.random.default_rng(seed).normal(size=(b, d)))


def rotation(d, seed=0):
    return torch.linalg.qr(rows(seed + 50, d, d))[0]


def neighbors_by_loops(teacher, k, tau):
    """Return for each row its nearest others and the teacher's distribution over them."""
    graph = cosine_similarity(teacher)
    for i in range(len(teacher)):
        near = sorted((j for j in range(len(teacher)) if j != i), key=lambda j: (-graph[i, j], j))[
            : k or None
        ]
        yield near, softmax(graph[i, near] / tau)


def edge_by_loops(student, teacher, k, edge, tau_t, tau_s, weights):
    e_t, e_s = cosine_similarity(teacher), cosine_similarity(student)
    values, n_pairs = [], 0
    for i, (near, p) in enumerate(neighbors_by_loops(teacher, k, tau_t)):
        squares = ((e_t[i, near] - e_s[i, near]) ** 2).sum()
        values.append(entropy(p, softmax(e_s[i, near] / tau_s)) if edge == "kl" else squares)
        n_pairs += len(near)
    return np.dot(weights, values) / (len(teacher) if edge == "kl" else n_pairs)


def node_by_loops(projected, teacher, k, node, tau_t):
    pairs = list(zip(projected, teacher, strict=True))
    if node == "aggregate":
        units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (projected, teacher)]
        pairs = [[p @ unit[near] for unit in units] for near, p in neighbors_by_loops(teacher, k, tau_t)]
    return np.mean([1.0 - cosine_similarity(one[None], other[None])[0, 0] for one, other in pairs])


def test_by_hand():
    graph = relation_graph(torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]]))
    half = 0.5**0.5
    torch.testing.assert_close(graph, torch.tensor([[1, 0, half], [0, 1, half], [half, half, 1]]))
    assert neighbor_mask(graph, 1).int().tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    probs = neighbor_log_probs(graph, neighbor_mask(graph), 0.5).exp()
    odds = np.exp(half / 0.5)
    assert probs[0].tolist() == pytest.approx([0.0, 1 / (1 + odds), odds / (1 + odds)])
    # A student that sees all alike: KL = log 2 minus the entropy of the teacher's two neighbours.
    flat, mask = torch.ones(3, 3), neighbor_mask(graph)
    found = edge_kl(flat, graph, mask, teacher_temperature=0.5)
    assert found[0].item() == pytest.approx(np.log(2) - entropy(probs[0, 1:].numpy()), rel=1e-5)
    assert found[2].item() == pytest.approx(0.0, abs=1e-7)
    assert edge_mse(flat, graph, mask).tolist() == pytest.approx(
        [(1 + (1 - half) ** 2) / 2] * 2 + [(1 - half) ** 2]
    )


@pytest.mark.parametrize("k", [None, 2, 3, 6, 20])
@pytest.mark.parametrize(("edge", "node"), [("kl", "cos"), ("mse", "aggregate"), ("kl", "aggregate")])
def test_against_loops(k, edge, node):
    student, teacher, projector = rows(1, d=3), rows(2), nn.Linear(3, 5, bias=False).double()
    distillation = RelationDistillation(
        projector, k=k, edge=edge, node=node, teacher_temperature=0.2, student_temperature=0.3
    )
    weights = np.random.default_rng(0).random(7)
    found = distillation.terms(student, teacher, sample_weight=torch.tensor(weights))
    slow_edge = edge_by_loops(student.numpy(), teacher.numpy(), k, edge, 0.2, 0.3, weights)
    slow_node = node_by_loops(projector(student).detach().numpy(), teacher.numpy(), k, node, 0.2)
    assert found.edge.item() == pytest.approx(slow_edge, rel=1e-10)
    assert found.node.item() == pytest.approx(slow_node, rel=1e-10)
    total = RelationDistillation(
        projector, k=k, edge=edge, node=node, teacher_temperature=0.2, student_temperature=0.3,
        edge_weight=0.7, node_weight=3.0, ramp_epochs=4,
    )(student, teacher, epoch=1, sample_weight=torch.tensor(weights))  # fmt: skip
    assert total.item() == pytest.approx(0.25 * (0.7 * slow_edge + 3.0 * slow_node), rel=1e-10)


@pytest.mark.parametrize("edge", ["kl", "mse"])
@pytest.mark.parametrize("k", [None, 3])
def test_edges_see_neither_rotation_nor_scale(edge, k):
    teacher = rows()
    distillation = RelationDistillation(k=k, edge=edge)
    scale = torch.tensor([0.1, 2.0, 5.0, 1.0, 30.0, 0.5, 1e4], dtype=torch.float64)[:, None]
    for student in (teacher, teacher @ rotation(5), teacher * scale, scale * (teacher @ rotation(5))):
        assert distillation.terms(student, teacher).edge.item() == pytest.approx(0.0, abs=1e-12)
    student = rows(3)
    value = distillation.terms(student, teacher).edge
    assert value > 0.01
    for same in (student @ rotation(5, 1), student * scale):
        torch.testing.assert_close(distillation.terms(same, teacher).edge, value)
    torch.testing.assert_close(distillation.terms(student, teacher @ rotation(5) * scale).edge, value)


def test_nodes_see_rotation_but_not_scale():
    teacher = rows()
    distillation = RelationDistillation()
    assert distillation.terms(7 * teacher, teacher).node.item() == pytest.approx(0.0, abs=1e-12)
    assert distillation.terms(teacher @ rotation(5), teacher).node > 0.1
    assert RelationDistillation(node="aggregate").terms(7 * teacher, teacher).node.item() == pytest.approx(0)


@pytest.mark.parametrize("options", [{}, {"k": 3}, {"edge": "mse", "k": 2}, {"node": "aggregate", "k": 4}])
def test_rows_in_any_order_and_terms_at_least_zero(options):
    distillation = RelationDistillation(**options)
    for seed in range(20):
        student, teacher = rows(seed), rows(seed + 100)
        found = distillation.terms(student, teacher)
        assert found.edge >= 0
        assert found.node >= 0
        order = torch.from_numpy(np.random.default_rng(seed).permutation(7))
        moved = distillation.terms(student[order], teacher[order])
        torch.testing.assert_close(moved, found)
        graph = relation_graph(teacher)
        mask = neighbor_mask(graph, 3)
        assert torch.equal(neighbor_mask(graph[order][:, order], 3), mask[order][:, order])


def test_mask_counts_neighbours_and_takes_the_first_of_equals():
    graph = relation_graph(rows(b=9))
    for k in range(1, 8):
        mask = neighbor_mask(graph, k)
        assert (mask.sum(dim=1) == k).all()
        assert not mask.diagonal().any()
    assert not torch.equal(neighbor_mask(graph, 2), neighbor_mask(graph, 2).T)
    for k in (8, 9, 100, None):
        assert torch.equal(neighbor_mask(graph, k), ~torch.eye(9, dtype=torch.bool))
    assert neighbor_mask(torch.ones(4, 4), 2).int().tolist() == [
        [0, 1, 1, 0],
        [1, 0, 1, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_equal_samples_the_first_is_taken_whatever_the_product_rounds(dtype):
    generator = torch.Generator().manual_seed(0)
    for b in range(4, 40):
        teacher = torch.randn(b, 7, generator=generator, dtype=dtype)
        teacher[b - 1] = 3 * teacher[b // 2]  # one direction, two places in the product
        others = [row for row in range(b) if row not in (b // 2, b - 1)]
        mask = neighbor_mask(relation_graph(teacher), 2)[others]
        assert not (mask[:, b - 1] & ~mask[:, b // 2]).any()


def test_high_temperatures_leave_nothing_to_match():
    student, teacher = relation_graph(rows(1)), relation_graph(rows(2))
    mask = neighbor_mask(teacher)
    values = [
        edge_kl(student, teacher, mask, student_temperature=tau, teacher_temperature=tau).mean().item()
        for tau in (0.1, 1.0, 10.0, 1e4)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-8


def test_no_gradient_reaches_the_teacher():
    for options in ({}, {"edge": "mse", "node": "aggregate"}):
        student, teacher = rows(1).requires_grad_(), rows(2).requires_grad_()
        RelationDistillation(**options)(student, teacher).backward()
        assert teacher.grad is None
        # Edges and cosines do not change along a sample's own direction.
        torch.testing.assert_close((student.grad * student).sum(dim=1), torch.zeros(7).double())
        assert student.grad.any()
        graph = relation_graph(teacher)
        edge_kl(relation_graph(student), graph, neighbor_mask(graph)).sum().backward()
        edge_mse(relation_graph(student), graph, neighbor_mask(graph)).sum().backward()
        node_cosine(student, teacher).sum().backward()
        node_aggregate(student, teacher, graph.abs()).sum().backward()
        assert teacher.grad is None


def trained(epoch):
    """Train a network for three steps, with the relation term at this epoch or without it (None)."""
    network = nn.ModuleDict({"body": nn.Linear(6, 4), "head": nn.Linear(4, 3), "projector": nn.Linear(4, 5)})
    initialise(network, 0)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-3)
    distillation = RelationDistillation(network["projector"])
    inputs, labels = rows(b=9, d=6).float(), torch.arange(9) % 3
    teacher = rows(4, b=9).float()
    for _ in range(3):
        features = network["body"](inputs)
        loss = nn.functional.cross_entropy(network["head"](features), labels)
        if epoch is not None:
            loss = loss + distillation(features, teacher, epoch=epoch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [loss.detach(), *network.state_dict().values()]


def test_at_ramp_zero_the_host_is_left_bit_for_bit():
    host = trained(None)
    assert all(torch.equal(one, other) for one, other in zip(trained(0), host, strict=True))
    assert not torch.equal(trained(5)[1], host[1])


def test_ramp():
    assert [relation_ramp(epoch) for epoch in (0, 1, 7.5, 10, 500)] == [0, 0.1, 0.75, 1, 1]
    student, teacher = rows(1), rows(2)
    distillation = RelationDistillation()
    full = distillation(student, teacher)
    torch.testing.assert_close(distillation(student, teacher, epoch=3), 0.3 * full)
    torch.testing.assert_close(distillation(student, teacher, epoch=99), full)
    with pytest.raises(InputError, match="epoch is -1"):
        relation_ramp(-1)


def test_emphasis_on_doubtful_samples():
    probs = torch.rand(50, generator=torch.Generator().manual_seed(0))
    weights = noise_emphasis(probs)
    assert weights.mean().item() == pytest.approx(1.0, rel=1e-6)
    assert torch.equal(weights.argsort(), (1 - probs).argsort())
    assert noise_emphasis(torch.ones(3)).tolist() == [1, 1, 1]
    assert noise_emphasis(torch.ones(0)).tolist() == []
    assert noise_emphasis(torch.tensor([0.5, 1.0], dtype=torch.bfloat16)).tolist() == [2, 0]
    student, teacher = rows(1), rows(2)
    distillation = RelationDistillation()
    plain = distillation.terms(student, teacher)
    even = distillation.terms(student, teacher, sample_weight=torch.ones(7))
    torch.testing.assert_close(even, plain)
    for wrong in ([0.5, float("nan")], [1.5], [-0.1], [[0.5]]):
        with pytest.raises(InputError, match="clean_probs have shape"):
            noise_emphasis(torch.tensor(wrong))


@pytest.mark.parametrize("edge", ["kl", "mse"])
@pytest.mark.parametrize("node", ["cos", "aggregate"])
def test_batches_of_none_one_and_two(edge, node):
    distillation = RelationDistillation(edge=edge, node=node)
    for b in (0, 1):
        student = rows(1, b=b).requires_grad_()
        found = distillation.terms(student, rows(2, b=b))
        assert found.edge.item() == 0.0
        expected = (
            (1 - cosine_similarity(student.detach(), rows(2, b=1))[0, 0]) if b and node == "cos" else 0.0
        )
        assert found.node.item() == pytest.approx(expected)
        (found.edge + found.node).backward()
        assert torch.isfinite(student.grad).all()
    found = distillation.terms(rows(1, b=2), rows(2, b=2))
    assert (found.edge.item() == 0.0) == (edge == "kl")


def test_one_neighbour_takes_squares_and_says_so():
    with pytest.warns(TamisWarning, match='k=1 leaves each sample one neighbour.*edge="mse"'):
        distillation = RelationDistillation(k=1)
    student, teacher = rows(1), rows(2)
    expected = RelationDistillation(k=1, edge="mse").terms(student, teacher).edge
    assert torch.equal(distillation.terms(student, teacher).edge, expected)
    graph = relation_graph(teacher)
    assert edge_kl(relation_graph(student), graph, neighbor_mask(graph, 1)).tolist() == [0.0] * 7


def test_large_batches_take_32_neighbours():
    student, teacher = rows(1, b=257), rows(2, b=257)
    automatic, by_number = RelationDistillation(), RelationDistillation(k=32)
    assert torch.equal(automatic(student, teacher), by_number(student, teacher))
    everyone = RelationDistillation(k=None)
    assert not torch.equal(everyone(student, teacher), automatic(student, teacher))
    assert torch.equal(everyone(student[:256], teacher[:256]), automatic(student[:256], teacher[:256]))


@pytest.mark.parametrize("options", [{}, {"k": 2}, {"edge": "mse", "node": "aggregate"}])
def test_rows_of_zeros(options):
    student, teacher = rows(1), rows(2)
    student[2], student[4], teacher[4], teacher[5] = 0, 0, 0, 0
    student.requires_grad_()
    distillation = RelationDistillation(**options)
    distillation(student, teacher).backward()
    assert torch.isfinite(student.grad).all()
    assert not student.grad[[2, 4]].any()
    assert relation_graph(teacher)[4].tolist() == [0.0] * 7
    assert node_cosine(student, teacher)[[2, 4, 5]].tolist() == [1.0] * 3


def test_collapsed_teacher_is_refused():
    student = rows(1, b=16)
    collapsed = torch.ones(16, 5).double() + 0.01 * rows(2, b=16)
    with pytest.raises(InputError, match="16 feature rows all point nearly the same way"):
        RelationDistillation()(student, collapsed)
    with pytest.raises(InputError, match="NaN or infinity, first in row 0"):
        RelationDistillation()(student, collapsed * float("nan"))
    # A frozen teacher that passed once is not looked at again: samples of one batch may be alike.
    distillation = RelationDistillation()
    distillation(student, rows(2, b=16))
    assert torch.isfinite(distillation(student, collapsed))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = (300 * rows(1, d=64)).to(dtype), rows(2, d=64).to(dtype)
    found = RelationDistillation(node="aggregate").terms(student, teacher)
    exact = RelationDistillation(node="aggregate").terms(student.double(), teacher.double())
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)


def test_autocast_does_not_round_the_similarities():
    student, teacher = rows(1).float(), rows(2).float()
    outside = RelationDistillation(k=3, node="aggregate").terms(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = RelationDistillation(k=3, node="aggregate").terms(student, teacher)
    assert torch.equal(inside.edge, outside.edge)
    assert torch.equal(inside.node, outside.node)


def test_terms_of_weight_zero_are_not_computed():
    student, teacher = rows(1, d=3), rows(2, d=5)
    edges = RelationDistillation(node_weight=0)
    torch.testing.assert_close(edges(student, teacher), edges.terms(student, teacher).edge)
    assert edges.terms(student, teacher).node.item() == 0.0
    nodes = RelationDistillation(nn.Linear(3, 5, bias=False).double(), edge_weight=0)
    assert nodes.terms(student, teacher).edge.item() == 0.0


def test_widths_that_differ_need_a_projector():
    with pytest.raises(InputError, match=r"give projector=nn.Linear\(3, 5, bias=False\), or node_weight=0"):
        RelationDistillation()(rows(1, d=3), rows(2, d=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edge": "cos"}, "edge is 'cos'; use 'kl', 'mse', 'rkd_distance', 'rkd_angle'"),
        ({"node": "kl"}, "node is 'kl'"),
        ({"k": 0}, "k is 0"),
        ({"k": "full"}, "k is 'full'"),
        ({"k": True}, "k is True"),
        ({"edge_weight": -1}, "edge_weight is -1"),
        ({"node_weight": float("nan")}, "node_weight is nan"),
        ({"teacher_temperature": 0}, "teacher_temperature is 0; expected a finite number above 0"),
        ({"student_temperature": float("inf")}, "student_temperature is inf"),
        ({"ramp_epochs": -2}, "ramp_epochs is -2"),
    ],
)
def test_wrong_parameters_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RelationDistillation(**options)


def test_wrong_input_is_refused():
    distillation = RelationDistillation()
    for student, teacher in ((rows(b=3), rows(b=4)), (rows()[0], rows()[0]), (rows(), rows()[None])):
        with pytest.raises(InputError, match="features of the same samples"):
            distillation(student, teacher)
    with pytest.raises(InputError, match=r"sample_weight has shape \(3,\); expected \(7,\)"):
        distillation(rows(1), rows(2), sample_weight=torch.ones(3))
    with pytest.raises(InputError, match="k is 0"):
        neighbor_mask(torch.ones(3, 3), 0)
    with pytest.raises(InputError, match="expected \\(B, B\\)"):
        neighbor_mask(torch.ones(3, 2))


def after_training(relation_weight):
    """Return the share of wrong labels learned, and of training labels predicted as they truly are."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (120,), generator=generator)
    signal = torch.randn(4, 8, generator=generator)[labels] + 0.8 * torch.randn(120, 8, generator=generator)
    inputs = torch.cat([signal, torch.randn(120, 60, generator=generator)], dim=1)
    is_wrong = torch.rand(120, generator=generator) < 0.4
    other = (labels + 1 + torch.randint(0, 3, (120,), generator=generator)) % 4
    given = torch.where(is_wrong, other, labels)
    body = nn.Sequential(nn.Linear(68, 64), nn.ReLU(), nn.Linear(64, 8))
    network = nn.ModuleDict({"body": body, "head": nn.Linear(8, 4), "projector": nn.Linear(8, 8, bias=False)})
    initialise(network, 0)
    distillation = RelationDistillation(
        network["projector"], edge_weight=relation_weight, node_weight=relation_weight
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(120):
        features = body(inputs)
        loss = nn.functional.cross_entropy(network["head"](features), given) + distillation(features, signal)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    predicted = network["head"](body(inputs)).argmax(dim=1)
    return float((predicted == given)[is_wrong].float().mean()), float((predicted == labels).float().mean())


def test_a_teacher_without_labels_keeps_wrong_ones_from_being_learned():
    learned_alone, right_alone = after_training(0.0)
    learned, right = after_training(10.0)
    assert learned_alone > 0.95
    assert learned < 0.6
    assert right > right_alone + 0.1


@pytest.mark.parametrize(
    ("edge", "loss"), [("rkd_distance", rkd_distance_loss), ("rkd_angle", rkd_angle_loss)]
)
def test_edges_of_relational_knowledge_distillation(edge, loss):
    student, teacher, weights = rows(1, d=3), rows(2, d=6), rows(3)[:, 0].abs()
    edges = RelationDistillation(edge=edge, node_weight=0, k=2)
    assert torch.equal(edges(student, teacher), loss(student, teacher))
    weighted = edges(student, teacher, sample_weight=weights)
    assert torch.equal(weighted, loss(student, teacher, sample_weight=weights))
    assert weighted.item() != edges(student, teacher).item()
    torch.testing.assert_close(edges(student @ rotation(3), teacher), edges(student, teacher))
    assert edges(3 * teacher @ rotation(6) + 1, teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("edge", ["rkd_distance", "rkd_angle"])
@pytest.mark.parametrize("b", [1, 2])
def test_rkd_edges_of_tiny_batches(edge, b):
    student = rows(1, b=b).requires_grad_()
    loss = RelationDistillation(edge=edge)(student, rows(2, b=b))
    loss.backward()
    assert student.grad.isfinite().all()
    edge_term = RelationDistillation(edge=edge).terms(student, rows(2, b=b)).edge
    assert edge_term.item() == pytest.approx(0.0, abs=1e-12)
