"""EAC."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tamis
from tamis.augment import ImageSettings, policy
from tamis.backbones import build_backbone
from tamis.engine import Feeder, ResidentExamples, Training, make_fabric
from tamis.errors import InputError
from tamis.losses import flip_consistency
from tamis.methods import METHODS, Material
from tamis.methods.eac import EAC
from tamis.samplers import shuffled

N, SIDE = 48, 16


def pictures(n=N, seed=0):
    """Return blobs: a bright square in the upper half (class 0) or the lower half (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % 2
    images = torch.randint(0, 60, (n, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(truth.tolist()):
        top, left = 8 * label + row % 3, row % 9
        images[row, :, top : top + 5, left : left + 5] = 220
    return images, truth


def views():
    settings = ImageSettings(mean=(0.5,) * 3, std=(0.25,) * 3)
    return {name: policy(name, settings=settings) for name in ("none", "eac", "eac_mirror")}


def build(number, **options):
    return build_backbone(
        "small_cnn", input_shape=(3, SIDE, SIDE), n_classes=2, seed=number, width=8, **options
    )


def training_of(images, labels, make=build, epochs=1, batch_size=16, lr=0.01, precision="32-true", **params):
    method = EAC(make, n_samples=len(images), n_classes=2, **params)
    return Training(
        method,
        Feeder(ResidentExamples(images), labels, views(), batch_size),
        Material(labels, 2),
        EAC.recipe.changed(epochs=epochs, batch_size=batch_size, lr=lr),
        make_fabric("cpu", precision),
    )


def test_is_registered_for_images():
    assert METHODS.facts("eac").inputs == ("image",)
    assert METHODS.facts("eac").year == 2022


@pytest.mark.parametrize("shared_erasing", [False, True])
def test_first_step_by_hand(shared_erasing):
    images, labels = pictures()
    training = training_of(images, labels, batch_size=N, shared_erasing=shared_erasing)
    index = torch.from_numpy(shuffled(range(N), seed=0, epoch=0))
    made = views()
    seen = made["eac"](images[index], index, seed=0, step=0, view=0)
    mirrored = made["eac_mirror"](images[index], index, seed=0, step=0, view=1)
    network = build(0).train()
    one, two = network(seen), network(seen.flip(3) if shared_erasing else mirrored)
    consistency = flip_consistency(one.maps, two.maps, network.head.weight).mean()
    fit = torch.nn.functional.cross_entropy(one.logits, labels[index])
    (record,) = training.run()
    assert record["loss"] == pytest.approx((fit + 5 * consistency).item(), rel=1e-4)
    assert record["ratio"] == pytest.approx((consistency / fit).item(), rel=1e-4)


def test_weight_0_is_cross_entropy_on_erased_images():
    images, labels = pictures()
    index = torch.from_numpy(shuffled(range(N), seed=0, epoch=0))
    seen = views()["eac"](images[index], index, seed=0, step=0, view=0)
    fit = torch.nn.functional.cross_entropy(build(0).train()(seen).logits, labels[index])
    (record,) = training_of(images, labels, batch_size=N, consistency_weight=0.0).run()
    assert record["loss"] == pytest.approx(fit.item(), rel=1e-5)
    assert "ratio" not in record


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_learns_through_wrong_labels_and_ranks_them_below(precision):
    images, truth = pictures(96)
    given = truth.clone()
    given[::7] = 1 - given[::7]
    training = training_of(images, given, epochs=12, precision=precision)
    training.run()
    verdict = training.verdict()
    assert (verdict.suggested == truth).float().mean() > 0.9
    wrong = given != truth
    wrong_scores, right_scores = verdict.clean_scores[wrong], verdict.clean_scores[~wrong]
    assert (wrong_scores[:, None] < right_scores).float().mean() > 0.9


def test_is_a_function_of_the_seed():
    images, labels = pictures()
    first, second = (training_of(images, labels) for _ in range(2))
    assert first.run()[-1]["loss"] == second.run()[-1]["loss"]
    for name, value in first.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[name])


@pytest.mark.parametrize("n", [1, 17])
def test_batches_of_one(n):
    images, labels = pictures(n)
    training = training_of(images, labels, batch_size=1)
    training.run()
    assert training.verdict().beliefs.isfinite().all()


def test_needs_maps():
    images, labels = pictures()
    with pytest.raises(InputError, match=r"no maps.*pool='mean'"):
        training_of(images, labels, lambda number: build(number, pool="flatten")).run()


def test_weight_out_of_range():
    with pytest.raises(InputError, match="consistency_weight is -1"):
        EAC(build, n_samples=4, n_classes=2, consistency_weight=-1.0)


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    images, truth = pictures(20)
    for row, (image, label) in enumerate(zip(images, truth.tolist(), strict=True)):
        place = tmp_path / "data" / ("top", "bottom")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(place / f"{row}.png")
    return tmp_path / "data"


SMALL = {"epochs": 1, "params": {"batch_size": 10}, "backbone_options": {"width": 8}, "audit": False}


def test_by_the_front_door(folder):
    model = tamis.train(folder, method="eac", backbone="small_cnn", **SMALL)
    assert model.history[-1]["loss"] > 0


def test_refuses_data_whose_mirror_images_are_of_another_class(folder):
    with pytest.raises(InputError, match="mirror images change"):
        tamis.train(folder, method="eac", backbone="small_cnn", flip=False, **SMALL)


def test_refuses_features():
    with pytest.raises(InputError, match="looks at images"):
        tamis.train(features=np.eye(6), labels=[0, 1] * 3, method="eac", audit=False)
