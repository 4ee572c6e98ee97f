"""Erasing attention consistency: by hand, against loops and grid_sample, properties, edges, noisy images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tamis.backbones import initialise
from tamis.errors import InputError, TamisWarning
from tamis.losses import EraseAttentionConsistency, class_attention_maps, flip_consistency


def batch(seed=0, b=3, c=4, k=5, h=3, w=4, dtype=torch.float64):
    """Return maps, maps of the mirror images, weight, bias and labels; leaves with gradients."""
    rng = np.random.default_rng(seed)
    shapes = (b, c, h, w), (b, c, h, w), (k, c), (k,)
    leaves = [torch.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True) for shape in shapes]
    return *leaves, torch.from_numpy(rng.integers(0, k, b))


def logits_of(maps, weight, bias):
    return nn.functional.linear(maps.mean(dim=(2, 3)), weight, bias)


def test_by_hand():
    # One channel, one row of two places, two classes: maps 2 * (1, 3) and -1 * (1, 3).
    maps, flipped = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[3.0, 2.0]]]])
    weight, labels = torch.tensor([[2.0], [-1.0]]), torch.tensor([0])
    assert class_attention_maps(maps, weight).tolist() == [[[[2.0, 6.0]], [[-1.0, -3.0]]]]
    # Mirrored back: (2, 3), so the features differ by (-1, 0): squares 4, 0, 1, 0.
    assert flip_consistency(maps, flipped, weight).tolist() == [1.25]
    logits = torch.zeros(1, 2)
    loss = EraseAttentionConsistency(2.0)(logits, labels, maps, flipped, weight)
    assert loss.item() == pytest.approx(np.log(2) + 2.5)


@pytest.mark.parametrize("seed", range(3))
def test_against_loops(seed):
    maps, flipped, weight, bias, labels = (each.detach().numpy() for each in batch(seed))
    b, c, h, w = maps.shape
    total = 0.0
    for i in range(b):
        z = bias + weight @ maps[i].reshape(c, -1).mean(axis=1)
        total += -z[labels[i]] + np.log(np.exp(z).sum())
        squares = [
            (weight[k] @ maps[i, :, y, x] - weight[k] @ flipped[i, :, y, w - 1 - x]) ** 2
            for k in range(len(weight))
            for y in range(h)
            for x in range(w)
        ]
        total += 5.0 * np.mean(squares)
    tensors = batch(seed)
    loss = EraseAttentionConsistency()(logits_of(tensors[0], *tensors[2:4]), tensors[4], *tensors[:3])
    assert loss.item() == pytest.approx(total / b, rel=1e-12)


@pytest.mark.parametrize("width", [2, 5, 7])
def test_mirror_agrees_with_grid_sample(width):
    maps, flipped, weight, *_ = batch(1, w=width)
    theta = torch.tensor([[-1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64).expand(3, 2, 3)
    grid = nn.functional.affine_grid(theta, [3, 5, 3, width], align_corners=True)
    there, here = class_attention_maps(flipped, weight), class_attention_maps(maps, weight)
    mirrored = nn.functional.grid_sample(there, grid, mode="bilinear", align_corners=True)
    expected = (here - mirrored).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(flip_consistency(maps, flipped, weight), expected, rtol=0, atol=1e-6)


def test_attention_averages_to_the_logits():
    maps, _, weight, bias, _ = batch(2)
    attention = class_attention_maps(maps, weight)
    torch.testing.assert_close(attention.mean(dim=(2, 3)) + bias, logits_of(maps, weight, bias))


def test_exact_mirror_costs_nothing():
    maps, _, weight, bias, labels = batch(3)
    flipped = maps.detach().flip(3).requires_grad_()
    loss = EraseAttentionConsistency()(logits_of(maps, weight, bias), labels, maps, flipped, weight)
    plain = nn.functional.cross_entropy(logits_of(maps, weight, bias), labels)
    assert loss.item() == plain.item()
    (wanted,) = torch.autograd.grad(plain, maps)
    loss.backward()
    assert not flipped.grad.any()
    assert torch.equal(maps.grad, wanted)


def test_symmetric_in_the_branches_and_quadratic_in_scale():
    maps, flipped, weight, *_ = batch(4)
    value = flip_consistency(maps, flipped, weight)
    torch.testing.assert_close(flip_consistency(flipped, maps, weight), value)
    torch.testing.assert_close(flip_consistency(3 * maps, 3 * flipped, weight), 9 * value)
    assert (value > 0).all()


def gradients(consistency_weight):
    maps, flipped, weight, bias, labels = batch(5)
    objective = EraseAttentionConsistency(consistency_weight)
    objective(logits_of(maps, weight, bias), labels, maps, flipped, weight).backward()
    return maps.grad, flipped.grad, weight.grad, bias.grad


def test_gradients_go_where_they_should():
    plain, one, three = gradients(0.0), gradients(1.0), gradients(3.0)
    # The head learns from the labels alone, whatever the weight.
    for found in (one, three):
        assert torch.equal(found[2], plain[2])
        assert torch.equal(found[3], plain[3])
    assert plain[1] is None
    torch.testing.assert_close(three[1], 3 * one[1])
    torch.testing.assert_close(three[0] - plain[0], 3 * (one[0] - plain[0]))
    assert one[1].any()


def test_weight_zero_is_cross_entropy_bit_for_bit():
    maps, flipped, weight, bias, labels = batch(6)
    logits = logits_of(maps, weight, bias)
    found = EraseAttentionConsistency(0)(logits, labels, maps, flipped, weight)
    assert torch.equal(found, nn.functional.cross_entropy(logits, labels, reduction="none").sum() / 3)


def test_rows_classes_and_channels_in_any_order():
    maps, flipped, weight, bias, labels = batch(7, b=6)
    objective = EraseAttentionConsistency(reduction="none")
    rows = objective(logits_of(maps, weight, bias), labels, maps, flipped, weight)
    assert rows.shape == (6,)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = objective(
        logits_of(maps, weight, bias)[order], labels[order], maps[order], flipped[order], weight
    )
    torch.testing.assert_close(moved, rows[order])
    classes = torch.tensor([4, 2, 0, 1, 3])
    renamed = objective(
        logits_of(maps, weight[classes], bias[classes]),
        classes.argsort()[labels],
        maps,
        flipped,
        weight[classes],
    )
    torch.testing.assert_close(renamed, rows)
    channels = torch.tensor([2, 0, 3, 1])
    rewired = flip_consistency(maps[:, channels], flipped[:, channels], weight[:, channels])
    torch.testing.assert_close(rewired, flip_consistency(maps, flipped, weight))
    mean = EraseAttentionConsistency()(logits_of(maps, weight, bias), labels, maps, flipped, weight)
    torch.testing.assert_close(mean, rows.mean())


@pytest.mark.parametrize(("b", "h", "w"), [(1, 3, 4), (3, 1, 1), (3, 4, 1), (1, 1, 1)])
def test_small_shapes(b, h, w):
    maps, flipped, weight, bias, labels = batch(8, b=b, h=h, w=w)
    loss = EraseAttentionConsistency()(logits_of(maps, weight, bias), labels, maps, flipped, weight)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(leaf.grad).all() for leaf in (maps, flipped, weight, bias))
    if w == 1:  # the mirror image of one column is that column
        expected = (class_attention_maps(maps - flipped, weight)).square().mean(dim=(1, 2, 3))
        torch.testing.assert_close(flip_consistency(maps, flipped, weight), expected)


def test_an_empty_batch_trains_nothing():
    maps, flipped, weight, bias, labels = batch(8, b=0)
    loss = EraseAttentionConsistency()(logits_of(maps, weight, bias), labels, maps, flipped, weight)
    loss.backward()
    assert loss.item() == 0.0
    assert not weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    maps, flipped, weight, *_ = (each.detach() for each in batch(9, c=64))
    # Attention of about 8e5 would be infinite in float16.
    maps, flipped, weight = (100 * maps).to(dtype), (100 * flipped).to(dtype), (1000 * weight).to(dtype)
    found = flip_consistency(maps, flipped, weight)
    assert found.dtype == torch.float32
    exact = flip_consistency(maps.double(), flipped.double(), weight.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_autocast_does_not_round_the_attention():
    maps, flipped, weight, *_ = batch(10, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = flip_consistency(maps, flipped, weight)
    assert torch.equal(inside, flip_consistency(maps, flipped, weight))
    assert inside.dtype == torch.float32


def test_ratio_is_kept_and_a_high_one_is_told_once():
    maps, flipped, weight, bias, labels = batch(11)
    objective = EraseAttentionConsistency()
    assert objective.ratio is None
    logits = logits_of(maps, weight, bias)
    objective(logits, labels, maps, flipped, weight)
    expected = flip_consistency(maps, flipped, weight).mean() / nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(objective.ratio, expected.detach())
    assert not objective.ratio.requires_grad
    # Of the wrong scale from the start: told in the first call, and not again.
    loud = EraseAttentionConsistency(0.01)
    with pytest.warns(TamisWarning, match=r"times the cross-entropy.*well below 0\.01"):
        loud(logits, labels, 100 * maps, 100 * flipped, weight)
    for _ in range(101):
        loud(logits, labels, 100 * maps, 100 * flipped, weight)
    # Later: looked at every hundredth call.
    late = EraseAttentionConsistency()
    for scale in [1.0] + [100.0] * 99:
        late(logits, labels, scale * maps, scale * flipped, weight)
    with pytest.warns(TamisWarning, match="drowns the labels"):
        late(logits, labels, 100 * maps, 100 * flipped, weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flipped": torch.zeros(3, 4, 3, 5)}, "maps_flipped have shapes"),
        ({"maps": torch.zeros(3, 4, 3), "flipped": torch.zeros(3, 4, 3)}, "before their mean over places"),
        ({"weight": torch.zeros(5, 6)}, r"weight of shape \(5, 6\)"),
        ({"weight": torch.zeros(6, 4)}, "do not fit maps"),
        ({"maps": torch.zeros(2, 4, 3, 4), "flipped": torch.zeros(2, 4, 3, 4)}, "do not fit maps"),
        ({"labels": torch.tensor([0, 5, 1])}, "labels row 1 is 5"),
        ({"labels": torch.tensor([0, 1, -1])}, "labels row 2 is -1"),
        ({"labels": torch.tensor([0, 1])}, r"labels has shape \(2,\)"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    maps, flipped, weight, bias, labels = (each.detach() for each in batch(0))
    logits = logits_of(maps, weight, bias)
    tensors = {"labels": labels, "maps": maps, "flipped": flipped, "weight": weight} | arguments
    with pytest.raises(InputError, match=message):
        EraseAttentionConsistency()(logits, *tensors.values())


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_wrong_parameters_are_refused(weight):
    with pytest.raises(InputError, match="consistency_weight is"):
        EraseAttentionConsistency(weight)
    with pytest.raises(InputError, match="reduction is 'sum'"):
        EraseAttentionConsistency(reduction="sum")


def striped_images(n, seed):
    """Return images whose upper half is brighter (class 0) or darker (class 1), in strong noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    images = 0.7 * torch.randn(n, 1, 8, 8, generator=generator)
    step = torch.where(labels == 0, 0.5, -0.5)[:, None, None, None]
    images[:, :, :4] += step
    images[:, :, 4:] -= step
    return images, labels


def share_of_wrong_labels_learned(consistency_weight):
    images, labels = striped_images(48, seed=0)
    is_wrong = torch.rand(48, generator=torch.Generator().manual_seed(7)) < 0.3
    given = torch.where(is_wrong, 1 - labels, labels)
    backbone = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()
    )
    network = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(24, 2)})
    initialise(network, 0)
    head = network["head"]
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    objective = EraseAttentionConsistency(consistency_weight)
    for _ in range(120):
        maps, flipped = backbone(images), backbone(images.flip(3))
        optimiser.zero_grad()
        objective(head(maps.mean(dim=(2, 3))), given, maps, flipped, head.weight).backward()
        optimiser.step()
    with torch.no_grad():
        predicted = head(backbone(images).mean(dim=(2, 3))).argmax(dim=1)
    return float((predicted == given)[is_wrong].float().mean())


def test_wrong_labels_are_hard_to_learn_by_heart():
    assert share_of_wrong_labels_learned(0.0) > 0.9
    assert share_of_wrong_labels_learned(5.0) < 0.6
