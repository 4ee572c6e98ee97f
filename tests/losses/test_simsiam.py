"""SimSiam's loss and the check for collapse: by hand, against scipy, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch import nn

from tamis.backbones import SimSiamHeads, initialise
from tamis.errors import InputError
from tamis.losses import SimSiamLoss, check_not_collapsed, feature_spread, simsiam_loss
from tamis.losses.cosine import cosines, unit_rows
from tamis.losses.simsiam import negative_cosine


def tensors(seed=0, b=5, d=4):
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.normal(size=(b, d)), requires_grad=True) for _ in range(4)]


def test_by_hand():
    p = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    z = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    assert negative_cosine(p, z).item() == pytest.approx(-(0.6 - 1.0) / 2)
    # 0.2 for the first view, and -1 for the second, whose prediction is right.
    assert simsiam_loss(p, p, p, z).item() == pytest.approx((0.2 - 1.0) / 2)
    assert feature_spread(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).item() == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy(seed):
    p1, p2, z1, z2 = tensors(seed)
    n1, n2, m1, m2 = (each.detach().numpy() for each in (p1, p2, z1, z2))
    pairs = [*zip(n1, m2, strict=True), *zip(n2, m1, strict=True)]
    expected = np.mean([cosine(a, b) - 1.0 for a, b in pairs])
    assert simsiam_loss(p1, p2, z1, z2).item() == pytest.approx(expected, rel=1e-12)
    assert SimSiamLoss()(p1, p2, z1, z2).item() == pytest.approx(expected, rel=1e-12)
    unit = n1 / np.linalg.norm(n1, axis=1, keepdims=True)
    assert feature_spread(p1).item() == pytest.approx(np.sqrt(unit.var(axis=0).mean() * 4), rel=1e-12)


def test_right_predictions_give_minus_one_at_any_scale():
    p1, p2, *_ = tensors()
    scales = torch.tensor([0.1, 1.0, 7.0, 30.0, 1e3], dtype=torch.float64)[:, None]
    assert simsiam_loss(p1, p2, p2 * scales, p1 / scales).item() == pytest.approx(-1.0)
    assert simsiam_loss(p1, p2, -p2, -p1).item() == pytest.approx(1.0)


def test_no_gradient_reaches_the_projections():
    p1, p2, z1, z2 = tensors()
    simsiam_loss(p1, p2, z1, z2).backward()
    assert z1.grad is None
    assert z2.grad is None
    assert p1.grad.any()
    # Along its own direction a prediction does not move the loss.
    torch.testing.assert_close((p1.grad * p1).sum(dim=1), torch.zeros(5, dtype=torch.float64))


def test_views_and_rows_in_any_order():
    p1, p2, z1, z2 = tensors()
    value = simsiam_loss(p1, p2, z1, z2)
    torch.testing.assert_close(simsiam_loss(p2, p1, z2, z1), value)
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(simsiam_loss(p1[order], p2[order], z1[order], z2[order]), value)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double())
    torch.testing.assert_close(simsiam_loss(p1 @ turn, p2 @ turn, z1 @ turn, z2 @ turn), value)
    torch.testing.assert_close(feature_spread(p1 @ turn), feature_spread(p1))


def test_rows_of_zeros_have_cosine_zero_and_no_gradient():
    rows = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3.0, 4.0]], requires_grad=True)
    found = cosines(rows, torch.ones(3, 2))
    assert found.tolist() == pytest.approx([0.0, 0.0, 7 / 50**0.5])
    found.sum().backward()
    assert not rows.grad[:2].any()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    # Squares of 300 leave float16.
    rows = torch.full((1, 4), 300.0, dtype=dtype)
    assert unit_rows(rows).tolist() == [[0.5] * 4]
    assert unit_rows(rows).dtype == torch.float32
    with torch.autocast("cpu", dtype=dtype):
        assert simsiam_loss(rows, rows, rows, rows).item() == -1.0


def test_an_empty_batch_trains_nothing():
    p1, p2, z1, z2 = tensors(b=0)
    loss = simsiam_loss(p1, p2, z1, z2)
    loss.backward()
    assert loss.item() == 0.0


def test_collapse_is_refused():
    generator = torch.Generator().manual_seed(0)
    spread_out = torch.randn(64, 256, generator=generator)
    assert feature_spread(spread_out).item() == pytest.approx(1.0, abs=0.02)
    check_not_collapsed(spread_out)
    # Sparse features with few dimensions in use are no collapse.
    check_not_collapsed(nn.functional.pad(torch.eye(10), (0, 2000)))
    nearly = torch.ones(64, 256) + 0.05 * spread_out
    with pytest.raises(
        InputError, match=r"64 feature rows all point nearly the same way.*0\.\d+ / sqrt\(D\)"
    ):
        check_not_collapsed(nearly * torch.linspace(1, 9, 64)[:, None])
    with pytest.raises(InputError, match="the same way"):
        check_not_collapsed(torch.zeros(4, 3))
    broken = spread_out.clone()
    broken[7, 3] = float("nan")
    with pytest.raises(InputError, match="NaN or infinity, first in row 7"):
        check_not_collapsed(broken)


def test_spread_at_the_limit():
    # Two rows at an angle a: the variance per dimension sums to (1 - cos a) / 2.
    for spread, is_fine in ((0.101, True), (0.099, False)):
        angle = np.arccos(1 - 2 * spread**2)
        rows = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
        assert feature_spread(rows).item() == pytest.approx(spread)
        if is_fine:
            check_not_collapsed(rows)
        else:
            with pytest.raises(InputError):
                check_not_collapsed(rows)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.ones(3, 2), "cannot be compared"),
        (torch.ones(2, 3, dtype=torch.int64), "expected \\(B, D\\) floats"),
    ],
)
def test_wrong_input_is_refused(other, message):
    with pytest.raises(InputError, match=message):
        negative_cosine(torch.ones(2, 3), other)
    with pytest.raises(InputError, match="expected \\(B, D\\) floats"):
        feature_spread(torch.ones(3))
    with pytest.raises(InputError, match="no rows"):
        feature_spread(torch.ones(0, 3))


def test_training_predicts_other_views_without_collapse():
    # Two views of a sample share four dimensions out of twenty.
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(128, 4, generator=generator)

    def view():
        return torch.cat([signal, torch.randn(128, 16, generator=generator)], dim=1)

    network = nn.ModuleDict(
        {"encoder": nn.Linear(20, 16), "heads": SimSiamHeads(16, n_projected=32, n_hidden=8)}
    )
    initialise(network, 1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9)

    def shared_part():
        weight = network["encoder"].weight.detach()
        return float(weight[:, :4].norm() / weight.norm())

    before = shared_part()
    for _ in range(100):
        one, two = (network["heads"](network["encoder"](view())) for _ in range(2))
        loss = SimSiamLoss()(one.predictions, two.predictions, one.projections, two.projections)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < -0.7
    check_not_collapsed(one.projections)
    assert shared_part() > before + 0.2
