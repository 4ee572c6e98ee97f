"""Backbones by name, and the choice where none was made."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from tamis.backbones import BACKBONES, build_backbone, choose_backbone
from tamis.backbones.building import InputKind
from tamis.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_all_are_registered() -> None:
    assert set(BACKBONES.names()) >= {
        "linear",
        "mlp",
        "small_cnn",
        "preact_resnet18",
        "efficientnet_lite0",
        "transformers_vision",
        "transformers_text",
        "minilm",
    }


def test_every_backbone_is_documented() -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    for entry in BACKBONES:
        assert f"| `{entry.name}` |" in page
        assert entry.facts.inputs[0] in ("features", "image", "text")
        parameters = inspect.signature(entry.target).parameters
        assert list(parameters)[:2] == ["input_shape", "n_classes"]
        for option in set(parameters) - {"input_shape", "n_classes", "seed"}:
            assert f"`{option}" in page, f"{entry.name}: {option}"


@pytest.mark.parametrize(
    ("kind", "shape", "n_samples", "device", "name"),
    [
        ("features", (256,), 50_000, "cpu", "mlp"),
        ("features", (256,), 30, "cuda", "mlp"),
        ("image", (3, 32, 32), 10, "cpu", "small_cnn"),
        ("image", (1, 28, 28), 60_000, "cpu", "small_cnn"),
        ("image", (3, 64, 64), 60_000, "cuda:1", "preact_resnet18"),
        ("image", (3, 65, 32), 2000, "cuda", "efficientnet_lite0"),
        ("image", (3, 65, 32), 1999, "cuda", "efficientnet_lite0"),
        ("image", (3, 224, 224), 60_000, "cpu", "efficientnet_lite0"),
        ("text", (128,), 60_000, "cpu", "minilm"),
    ],
)
def test_choice(kind: InputKind, shape: tuple[int, ...], n_samples: int, device: str, name: str) -> None:
    choice = choose_backbone(kind, shape, n_samples=n_samples, device=device)
    assert choice.name == name
    entry = BACKBONES.entry(choice.name)
    assert entry.facts.inputs == (kind,)
    assert set(choice.options) <= set(inspect.signature(entry.target).parameters)
    if name == "efficientnet_lite0":
        assert choice.options == {"frozen": device == "cpu" or n_samples < 2000}


def test_choice_can_be_built() -> None:
    choice = choose_backbone("features", (12,), n_samples=5000)
    network = build_backbone(choice.name, input_shape=(12,), n_classes=4, seed=0, **choice.options)
    assert network(torch.zeros(3, 12)).logits.shape == (3, 4)


def test_wrong_requests() -> None:
    with pytest.raises(InputError, match="unknown backbone 'smal_cnn'; did you mean 'small_cnn'"):
        build_backbone("smal_cnn", input_shape=(3, 32, 32), n_classes=3, seed=0)
    with pytest.raises(InputError, match="'mlp' has no option 'depth'; its options: hidden, dropout, norm"):
        build_backbone("mlp", input_shape=(3,), n_classes=3, seed=0, depth=3)
    with pytest.raises(InputError, match="'linear' has no option 'a', 'b'; its options: none"):
        build_backbone("linear", input_shape=(3,), n_classes=3, seed=0, b=1, a=2)
    with pytest.raises(InputError, match="'transformers_text' needs the option 'source'"):
        build_backbone("transformers_text", input_shape=(3,), n_classes=3, seed=0)
    for name, shape in (("mlp", (3, 32, 32)), ("small_cnn", (32, 32)), ("linear", (0,)), ("linear", ())):
        with pytest.raises(InputError, match="the shape of one sample, without the batch"):
            build_backbone(name, input_shape=shape, n_classes=3, seed=0)
    with pytest.raises(
        InputError, match="kind of inputs 'sound' is unknown; use 'features', 'image', 'text'"
    ):
        choose_backbone("sound", (3,), n_samples=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 classes"):
        build_backbone("linear", input_shape=(3,), n_classes=1, seed=0)
