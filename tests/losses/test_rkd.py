"""Relational knowledge distillation and DarkRank: by hand, against loops, properties, edges."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp, softmax
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.darkrank import HardDarkRank, hard_darkrank_loss
from tamis.losses.rkd import RelationalKnowledgeDistillation
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import relative_distances, rkd_distance_loss

LOSSES = [rkd_distance_loss, rkd_angle_loss, hard_darkrank_loss]
RELATIONAL = LOSSES[:2]


def rows(seed=0, n=7, d=4):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, d)))


def rotation(d, seed=0):
    return torch.linalg.qr(rows(seed + 50, d, d))[0]


def huber(x, y):
    far = abs(x - y)
    return 0.5 * far**2 if far <= 1 else far - 0.5


def distance_by_loops(student, teacher, *, distinct):
    tables = []
    for points in (student, teacher):
        far = squareform(pdist(points))
        tables.append(far / far[far > 0].mean())
    n = len(student)
    total = sum(huber(tables[0][i, j], tables[1][i, j]) for i, j in product(range(n), repeat=2))
    return total / (n * (n - 1) if distinct else n**2)


def cosine_at(points, i, j, k):
    left, right = points[i] - points[j], points[k] - points[j]
    lengths = np.linalg.norm(left) * np.linalg.norm(right)
    return left @ right / lengths if lengths > 0 else 0.0


def angle_by_loops(student, teacher, *, distinct):
    n = len(student)
    triples = permutations(range(n), 3) if distinct else product(range(n), repeat=3)
    total = sum(huber(cosine_at(student, *t), cosine_at(teacher, *t)) for t in triples)
    return total / (n * (n - 1) * (n - 2) if distinct else n**3)


def darkrank_by_loops(student, teacher, alpha, beta, length):
    far, scores = squareform(pdist(teacher)), -alpha * squareform(pdist(student)) ** beta
    losses = []
    for i in range(len(student)):
        near = sorted((j for j in range(len(student)) if j != i), key=lambda j: far[i, j])[:length]
        values = scores[i, near]
        losses.append(-sum(values[r] - logsumexp(values[r:]) for r in range(len(near))))
    return np.mean(losses)


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize(("ds", "dt"), [(4, 4), (2, 6), (1, 3)])
def test_against_loops(distinct, ds, dt):
    student, teacher = 3 * rows(1, d=ds), rows(2, d=dt)
    found = rkd_distance_loss(student, teacher, distinct=distinct).item()
    assert found == pytest.approx(distance_by_loops(student.numpy(), teacher.numpy(), distinct=distinct))
    found = rkd_angle_loss(student, teacher, distinct=distinct).item()
    assert found == pytest.approx(angle_by_loops(student.numpy(), teacher.numpy(), distinct=distinct))


@pytest.mark.parametrize("length", [1, 2, 4, 6, 50])
@pytest.mark.parametrize(("alpha", "beta"), [(3.0, 3.0), (2.0, 1.0), (0.5, 0.5)])
def test_darkrank_against_loops(length, alpha, beta):
    student, teacher = rows(1), rows(2, d=6)
    options = {"alpha": alpha, "beta": beta, "permute_len": length}
    slow = darkrank_by_loops(student.numpy(), teacher.numpy(), alpha, beta, length)
    assert hard_darkrank_loss(student, teacher, **options).item() == pytest.approx(slow)
    assert torch.equal(
        HardDarkRank(**options)(student, teacher), hard_darkrank_loss(student, teacher, **options)
    )
    torch.testing.assert_close(
        hard_darkrank_loss(student, teacher, compat=True, **options),
        hard_darkrank_loss(student, teacher, **options),
    )


def test_by_hand():
    line, corner = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    # Distances 1, 3, 2 with mean 2, and 1, 1, sqrt 2.
    mean = (2 + math.sqrt(2)) / 3
    parts = [huber(0.5, 1 / mean), huber(1.5, math.sqrt(2) / mean), huber(1.0, 1 / mean)]
    assert rkd_distance_loss(line, corner).item() == pytest.approx(2 * sum(parts) / 9)
    # Angles of the corner 45, 90, 45 degrees; on the line 0, 180, 0.
    parts = [2 * huber(1.0, math.sqrt(0.5)), huber(-1.0, 0.0)]
    assert rkd_angle_loss(line, corner).item() == pytest.approx(2 * sum(parts) / 27)
    # One neighbour is certain; of two, the softmax of the scores -d.
    assert hard_darkrank_loss(line, corner, permute_len=1).item() == 0.0
    odds = [softmax([-1.0, -3.0])[0], softmax([-1.0, -2.0]), softmax([-2.0, -3.0])[0]]
    # The middle of the corner sees both others alike: the student's own order holds.
    expected = -np.mean(np.log([odds[0], max(odds[1]), odds[2]]))
    assert hard_darkrank_loss(line, corner, alpha=1.0, beta=1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", RELATIONAL)
def test_similar_figures_are_equal(loss):
    student, teacher = rows(1), rows(2)
    value = loss(student, teacher)
    assert value > 0.01
    for scale in (1e-3, 7.0, 1e4):
        moved = scale * (student @ rotation(4)) + rows(9, n=1)
        torch.testing.assert_close(loss(moved, teacher), value)
        torch.testing.assert_close(loss(student, scale * (teacher @ rotation(4)) - 2), value)
        similar = scale * (teacher @ rotation(4, 1)) + 3
        assert loss(similar, teacher).item() == pytest.approx(0.0, abs=1e-12)
        wider = torch.cat([similar, torch.ones(7, 3, dtype=torch.float64)], dim=1)
        assert loss(wider, teacher).item() == pytest.approx(0.0, abs=1e-12)
    mirrored = teacher * torch.tensor([-1.0, 1, 1, 1])
    assert loss(mirrored, teacher).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_in_any_order(loss):
    # Coincident rows and equal distances too.
    student, teacher = rows(1, n=9), rows(2, n=9).round()
    teacher[3], teacher[5], student[6] = teacher[0], teacher[0], student[2]
    value = loss(student, teacher)
    for seed in range(10):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(9))
        torch.testing.assert_close(loss(student[order], teacher[order]), value)


def test_mean_over_distinct_samples():
    student, teacher, n = rows(1), rows(2), 7
    value = rkd_distance_loss(student, teacher)
    torch.testing.assert_close(rkd_distance_loss(student, teacher, distinct=True), n / (n - 1) * value)
    value = rkd_angle_loss(student, teacher)
    factor = n**2 / ((n - 1) * (n - 2))
    torch.testing.assert_close(rkd_angle_loss(student, teacher, distinct=True), factor * value)


def test_relative_distances():
    found = relative_distances(rows())
    assert torch.equal(found, found.T)
    assert found.diagonal().tolist() == [0] * 7
    assert found.sum().item() == pytest.approx(7 * 6)
    # Close to each other, far from the origin: the expanded square would lose all digits.
    near = torch.tensor([[1000.0], [1000.001], [1000.003]])
    expected = torch.tensor([[0, 0.5, 1.5], [0.5, 0, 1], [1.5, 1, 0]])
    torch.testing.assert_close(relative_distances(near), expected, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("compat", [False, True])
def test_blocks_change_nothing(monkeypatch, compat):
    student, teacher = rows(1, n=11).requires_grad_(), rows(2, n=11, d=3)
    (full,) = torch.autograd.grad(rkd_angle_loss(student, teacher, compat=compat), student)
    value = rkd_angle_loss(student, teacher, compat=compat)
    for size in (1, 2, 3, 10, 11):
        monkeypatch.setattr("tamis.losses.rkd_angle.rows_per_block", lambda *_, size=size: size)
        blocked = rkd_angle_loss(student, teacher, compat=compat)
        torch.testing.assert_close(blocked, value)
        torch.testing.assert_close(torch.autograd.grad(blocked, student)[0], full)


def test_memory_stays_within_the_budget(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "tamis.losses.rkd_angle.rows_per_block",
        lambda per_row, budget: sizes.append((per_row, budget)) or 4,
    )
    RelationalKnowledgeDistillation(memory_budget="8MiB")(rows(1, d=2).float(), rows(2, d=3).float())
    # Four copies of the differences of both, six of the cosines, in float32.
    assert sizes == [(4 * 7 * (4 * 5 + 6 * 7), 8 * 2**20)]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    student, teacher = rows(1, n=5).requires_grad_(), rows(2, n=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: loss(each, teacher), student)
    (3.0 * loss(student, teacher)).backward()
    (single,) = torch.autograd.grad(loss(student, teacher), student)
    torch.testing.assert_close(student.grad, 3.0 * single)
    assert teacher.grad is None
    with torch.no_grad():
        assert torch.equal(loss(student, teacher), loss(student, teacher).detach())


def test_there_is_no_second_derivative_of_angles():
    student = rows(1).requires_grad_()
    (first,) = torch.autograd.grad(rkd_angle_loss(student, rows(2)), student, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision(loss, dtype):
    student, teacher = rows(1).to(dtype).requires_grad_(), rows(2).to(dtype)
    value = loss(student, teacher)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = loss(student.detach().double(), teacher.double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(student, teacher), value, rtol=1e-5, atol=1e-6)
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("loss", "options"),
    [*((loss, {}) for loss in LOSSES), *((loss, {"distinct": True}) for loss in RELATIONAL)],
)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_batches_of_none_one_and_two(loss, options, n):
    student = rows(1, n=n).requires_grad_()
    value = loss(student, rows(2, n=n), **options)
    assert value.item() == pytest.approx(0.0, abs=1e-15)
    value.backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_coincident_points(loss):
    for student in (torch.ones(6, 4), torch.zeros(6, 4), rows(1, n=6).float()[[0, 0, 1, 2, 3, 3]]):
        student.requires_grad_()
        value = loss(student, rows(2, n=6).float())
        assert value.isfinite()
        value.backward()
        assert student.grad.isfinite().all()
        assert student.grad.abs().max() < 100
        if len(student.unique(dim=0)) == 1:
            # A collapsed student gets no gradient: nothing tells its points apart.
            assert not student.grad.any()
        # Coincident points of the teacher are fine.
        assert loss(rows(3, n=6).float(), student.detach()).isfinite()


def test_collapsed_student_by_hand():
    # Off the diagonal all relative distances are 1; all cosines are 0.
    teacher = torch.tensor([[0.0], [1.0], [3.0]])
    assert relative_distances(torch.ones(3, 2)).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    found = rkd_distance_loss(torch.ones(3, 2), teacher).item()
    assert found == pytest.approx(4 * 0.125 / 9)
    # All 12 + 6 triples whose cosine is 1 or -1 for the teacher.
    assert rkd_angle_loss(torch.ones(3, 2), teacher).item() == pytest.approx(12 * 0.5 / 27)


def test_official_gradient_between_coincident_points():
    student, teacher = rows(1)[[0, 0, 1, 2, 3]].requires_grad_(), rows(2, n=5)
    official = torch.autograd.grad(rkd_angle_loss(student, teacher, compat=True), student)[0]
    assert official[:2].abs().max() > 1e8
    ours = torch.autograd.grad(rkd_angle_loss(student, teacher), student)[0]
    torch.testing.assert_close(ours[2:], official[2:])
    assert ours.abs().max() < 1
    assert torch.equal(rkd_angle_loss(student, teacher, compat=True), rkd_angle_loss(student, teacher))


def test_first_of_equals_in_the_official_order():
    teacher = torch.tensor([[0.0], [1.0], [-1.0]])
    student = torch.tensor([[0.0], [2.0], [1.0]])
    options = {"alpha": 1.0, "beta": 1.0, "permute_len": 2}
    best, first = softmax([-1.0, -2.0])
    gap = hard_darkrank_loss(student, teacher, compat=True, **options) - hard_darkrank_loss(
        student, teacher, **options
    )
    assert gap.item() == pytest.approx(math.log(best / first) / 3)


def test_terms_and_weights():
    student, teacher = rows(1), rows(2)
    terms = RelationalKnowledgeDistillation().terms(student, teacher)
    assert torch.equal(terms.distance, rkd_distance_loss(student, teacher))
    assert torch.equal(terms.angle, rkd_angle_loss(student, teacher))
    total = RelationalKnowledgeDistillation()(student, teacher)
    torch.testing.assert_close(total, terms.distance + 2 * terms.angle)
    only = RelationalKnowledgeDistillation(distance_weight=0.0, angle_weight=3.0, distinct=True)
    assert only.terms(student, teacher).distance.item() == 0.0
    torch.testing.assert_close(only(student, teacher), 3 * rkd_angle_loss(student, teacher, distinct=True))


def test_student_learns_the_teachers_figure():
    teacher = functional.normalize(rows(2, n=12, d=6))
    student = rows(1, n=12, d=6).requires_grad_()
    loss = RelationalKnowledgeDistillation()
    optimiser = torch.optim.Adam([student], lr=0.05)
    first = loss(student, teacher).item()
    for _ in range(60):
        optimiser.zero_grad()
        value = loss(student, teacher)
        value.backward()
        optimiser.step()
    assert value.item() < 0.02 * first
    ranks = [squareform(pdist(each)).ravel().argsort().argsort() for each in (student.detach(), teacher)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95


@pytest.mark.parametrize("loss", LOSSES)
def test_refusals(loss):
    good = rows()
    bad = good.clone()
    bad[2, 1] = torch.nan
    for student, teacher, message in (
        (bad, good, "student row 2 holds NaN or infinity"),
        (good, bad, "teacher row 2 holds NaN"),
        (good[:3], good, "rows of the same samples"),
        (good[0], good, "student has shape"),
        (good.long(), good, "student is torch.int64"),
    ):
        with pytest.raises(InputError, match=message):
            loss(student, teacher)


def test_parameters_are_checked():
    for options, message in (
        ({"distance_weight": -1.0}, "distance_weight is -1"),
        ({"angle_weight": math.nan}, "angle_weight is nan"),
        ({"memory_budget": "much"}, "memory_budget 'much'"),
    ):
        with pytest.raises(InputError, match=message):
            RelationalKnowledgeDistillation(**options)
    for options, message in (
        ({"alpha": 0.0}, "alpha is 0"),
        ({"beta": -1.0}, "beta is -1"),
        ({"permute_len": 0}, "permute_len is 0"),
        ({"permute_len": 1.5}, "permute_len is 1.5"),
    ):
        with pytest.raises(InputError, match=message):
            HardDarkRank(**options)
        with pytest.raises(InputError, match=message):
            hard_darkrank_loss(rows(), rows(), **options)


def weighted_by_loops(loss, student, teacher, weights, *, distinct):
    tables = []
    for points in (student, teacher):
        far = squareform(pdist(points))
        tables.append(far / far[far > 0].mean())
    n, size = len(student), 2 if loss is rkd_distance_loss else 3
    total = count = 0.0
    for rows_ in permutations(range(n), size) if distinct else product(range(n), repeat=size):
        weight = math.prod(weights[list(rows_)])
        found = [tables[0][rows_] if size == 2 else cosine_at(student, *rows_)]
        found += [tables[1][rows_] if size == 2 else cosine_at(teacher, *rows_)]
        total, count = total + weight * huber(*found), count + weight
    return total / count


@pytest.mark.parametrize("loss", RELATIONAL)
@pytest.mark.parametrize("distinct", [False, True])
class TestSampleWeight:
    def test_against_loops(self, loss, distinct):
        student, teacher, weights = rows(1), rows(2, d=6), rows(3)[:, 0].abs()
        expected = weighted_by_loops(
            loss, student.numpy(), teacher.numpy(), weights.numpy(), distinct=distinct
        )
        found = loss(student, teacher, distinct=distinct, sample_weight=weights)
        assert found.item() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("weight", [1.0, 1e-20, 1e20])
    def test_equal_weights_change_nothing(self, loss, distinct, weight):
        student, teacher = rows(1), rows(2)
        plain = loss(student, teacher, distinct=distinct)
        torch.testing.assert_close(
            loss(student, teacher, distinct=distinct, sample_weight=torch.full((7,), weight)), plain
        )

    def test_gradient(self, loss, distinct):
        student, teacher, weights = rows(1, n=5).requires_grad_(), rows(2, n=5), rows(3, n=5)[:, 0].abs()

        def of(points):
            return loss(points, teacher, distinct=distinct, sample_weight=weights)

        assert torch.autograd.gradcheck(of, student)

    def test_no_pair_with_a_weight(self, loss, distinct):
        student = rows(1).requires_grad_()
        for weights in (torch.zeros(7), torch.eye(7)[2], 0.3 * torch.eye(7, dtype=torch.float64)[2]):
            value = loss(student, rows(2), distinct=distinct, sample_weight=weights)
            assert value.item() == pytest.approx(0.0, abs=1e-12)
            value.backward()
            assert student.grad.isfinite().all()
        assert loss(rows(n=0), rows(n=0), distinct=distinct, sample_weight=torch.zeros(0)).item() == 0.0

    def test_refusals(self, loss, distinct):
        for weights, message in (
            (torch.ones(6), r"sample_weight has shape \(6,\); expected \(7,\)"),
            (-torch.ones(7), "negative"),
            (torch.full((7,), math.nan), "NaN"),
        ):
            with pytest.raises(InputError, match=message):
                loss(rows(1), rows(2), distinct=distinct, sample_weight=weights)


def test_samples_without_weight_count_nowhere_in_angles():
    student, teacher = rows(1), rows(2)
    weights = torch.tensor([1.0, 1, 1, 1, 1, 0, 0])
    torch.testing.assert_close(
        rkd_angle_loss(student, teacher, sample_weight=weights), rkd_angle_loss(student[:5], teacher[:5])
    )
