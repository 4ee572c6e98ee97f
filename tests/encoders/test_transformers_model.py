"""Real loading code on small random models, saved to a folder the way published ones are."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from tamis.encoders import TransformersEncoder, encode, get_encoder
from tamis.errors import InputError, MissingExtraError

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
TEXT = SMALL | {
    "vocab_size": 64,
    "max_position_embeddings": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "photo", "of", "cat", "dog", "the", "sat", "mat"]


def models():
    t = transformers
    return {
        "clip": lambda: t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=VISION)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**VISION)),
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**VISION)),
        "resnet": lambda: t.ResNetModel(
            t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        ),
        "bert": lambda: t.BertModel(t.BertConfig(**(TEXT | {"max_position_embeddings": 64}))),
    }


def save_tokenizer(folder, inputs):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_input_names=inputs
    )
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")

    def save(name):
        path = root / name
        if not path.exists():
            torch.manual_seed(0)
            models()[name]().save_pretrained(path)
            settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
            (path / "preprocessor_config.json").write_text(json.dumps(settings))
            names = ["input_ids"] if name == "siglip" else ["input_ids", "attention_mask"]
            save_tokenizer(path, names)
        return str(path)

    return save


def load(path, **options):
    return TransformersEncoder(path, precision="float32", device="cpu", **options)


def pixels(images):
    scaled = np.stack(images).astype(np.float32) / 255 * 2 - 1
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2))


def joint(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


EXPECTED = {
    "clip": lambda m, x: joint(m.get_image_features(pixel_values=x)),
    "siglip": lambda m, x: joint(m.get_image_features(pixel_values=x)),
    "dinov2": lambda m, x: m(pixel_values=x).pooler_output,
    "vit": lambda m, x: m.vit(pixel_values=x).last_hidden_state[:, 0],
    "resnet": lambda m, x: m(pixel_values=x).last_hidden_state.mean(dim=(2, 3)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_image_features_are_those_of_the_model(name, folder, noise_images):
    images = noise_images(3, side=32)
    classes = {"vit": transformers.ViTForImageClassification}
    model = classes.get(name, transformers.AutoModel).from_pretrained(folder(name)).eval()
    with torch.inference_mode():
        expected = EXPECTED[name](model, pixels(images)).numpy()
    encoder = load(folder(name))
    assert (encoder.kind, encoder.dim) == ("image", expected.shape[1])
    np.testing.assert_allclose(encoder.encode_batch(images), expected, atol=1e-4)


@pytest.mark.parametrize("name", EXPECTED)
def test_encode_keeps_bits_whatever_the_order(name, folder, noise_images, as_dataset, cache):
    images = noise_images(21, side=20)
    images[4] = "truncated"
    one = encode(as_dataset(images), encoder=load(folder(name)), cache=cache / "one")
    two = encode(as_dataset(images[::-1]), encoder=load(folder(name)), cache=cache / "two")
    assert np.array_equal(one.features, two.features[::-1])
    assert one.unreadable == {4: "truncated"}


def test_mean_over_tokens_and_windows(folder):
    model = transformers.AutoModel.from_pretrained(folder("bert")).eval()
    encoder = load(folder("bert"))
    assert encoder.kind == "text"

    def tokens(*words):
        ids = torch.tensor([[1, *(WORDS.index(word) for word in words), 2]])
        with torch.inference_mode():
            return model(input_ids=ids).last_hidden_state[0]

    short = encoder.encode_batch(["the cat sat", "dog"])
    np.testing.assert_allclose(short[0], tokens("the", "cat", "sat").mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(short[1], tokens("dog").mean(dim=0), atol=1e-5)
    # 64 positions hold 62 words: 70 words make a second window of 8.
    words = ["cat", "dog"] * 35
    both = torch.cat([tokens(*words[:62]), tokens(*words[62:])]).mean(dim=0)
    np.testing.assert_allclose(encoder.encode_batch([" ".join(words)])[0], both, atol=1e-5)


def test_texts_that_are_cut_are_counted(folder):
    encoder = load(folder("bert"), max_windows=2)
    exactly, longer = " ".join(["cat"] * 124), " ".join(["cat"] * 125)
    features, n_cut = encoder.encode_counted([exactly, longer, "dog"])
    assert n_cut == 1
    assert np.array_equal(features[0], features[1])
    assert encoder.describe_cut(1, 3) == "1 of 3 texts is longer than 128 tokens; only the beginning counts"


def test_first_token_where_the_folder_says_so(folder, tmp_path):
    path = tmp_path / "cls"
    shutil.copytree(folder("bert"), path)
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    model = transformers.AutoModel.from_pretrained(path).eval()
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([[1, 7, 2]])).last_hidden_state[0, 0]
    np.testing.assert_allclose(load(str(path)).encode_batch(["cat"])[0], expected, atol=1e-5)
    assert load(str(path)).fingerprint() != load(folder("bert")).fingerprint()


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_texts_in_the_space_of_images(name, folder):
    model = transformers.AutoModel.from_pretrained(folder(name)).eval()
    encoder = load(folder(name))
    prompts = ["a photo of a cat", "dog"]
    ids = torch.zeros((2, 16), dtype=torch.long)
    mask = torch.zeros((2, 16), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens = [1, *(WORDS.index(word) for word in prompt.split()), 2]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    extra = {} if name == "siglip" else {"attention_mask": mask}
    with torch.inference_mode():
        expected = joint(model.get_text_features(input_ids=ids, **extra)).numpy()
    np.testing.assert_allclose(encoder.encode_texts(prompts), expected, atol=1e-5)
    as_text = load(folder(name), kind="text")
    assert np.array_equal(as_text.encode_batch(prompts), encoder.encode_texts(prompts))
    assert as_text.fingerprint() != encoder.fingerprint()


def test_kinds_do_not_mix(folder, noise_images):
    with pytest.raises(InputError, match="takes images, not texts"):
        load(folder("vit"), kind="text")
    with pytest.raises(InputError, match="takes texts, not images"):
        load(folder("bert"), kind="image")
    with pytest.raises(InputError, match="takes no texts"):
        load(folder("vit")).encode_texts(["a"])
    with pytest.raises(InputError, match="takes texts but was given an image"):
        load(folder("bert")).encode_batch(noise_images(1))
    with pytest.raises(InputError, match="takes images but sample 0 is a text"):
        load(folder("vit")).encode_batch(["a"])
    with pytest.raises(InputError, match="loaded for texts"):
        load(folder("clip"), kind="text")._encode_images([])


def test_found_by_folder_or_prefix(folder):
    for choice in (folder("vit"), "transformers:" + folder("vit")):
        encoder = get_encoder(choice, "image", device="cpu")
        assert isinstance(encoder, TransformersEncoder)
        assert encoder.name == "transformers:" + folder("vit")


def test_other_weights_other_fingerprint(folder, tmp_path):
    torch.manual_seed(1)
    models()["vit"]().save_pretrained(tmp_path)
    settings = (
        '{"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    (tmp_path / "preprocessor_config.json").write_text(settings)
    one, two = load(folder("vit")), load(str(tmp_path))
    assert one.fingerprint() != two.fingerprint()
    assert one.fingerprint() == load(folder("vit")).fingerprint()


def test_bfloat16_is_close(folder, noise_images):
    images = noise_images(5, side=32)
    one = load(folder("clip")).encode_batch(images)
    two = TransformersEncoder(folder("clip"), precision="bfloat16", device="cpu").encode_batch(images)
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosine.min() > 0.99
    assert not np.array_equal(one, two)


def test_hub_without_network_is_explained():
    with pytest.raises(InputError, match=r"'nobody/nothing': a model cannot be loaded from the hub"):
        get_encoder("nobody/nothing", "image")


def test_pickled_weights_are_refused(folder, tmp_path):
    from safetensors.torch import load_file

    path = tmp_path / "pickled"
    path.mkdir()
    shutil.copy(folder("vit") + "/config.json", path)
    torch.save(load_file(folder("vit") + "/model.safetensors"), path / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load(str(path))


def test_code_of_the_folder_is_never_run(folder, tmp_path):
    path = tmp_path / "hostile"
    shutil.copytree(folder("vit"), path)
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(str(path))
    assert not (tmp_path / "ran").exists()


def test_model_without_its_weights_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "partial"
    shutil.copytree(folder("dinov2"), path)
    weights = load_file(path / "model.safetensors")
    gone = sorted(name for name in weights if "layer" in name)[0]
    save_file({k: v for k, v in weights.items() if k != gone}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of its weights"):
        load(str(path))


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_are_explained(name, folder, tmp_path):
    path = tmp_path / "gaps"
    shutil.copytree(folder("clip"), path)
    (path / name).unlink()
    with pytest.raises(InputError, match=r"model '.*gaps'"):
        load(str(path))


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tamis\[hub\]"'):
        TransformersEncoder("some/model", device="cpu")


def test_loading_leaves_the_logging_of_others_alone(folder):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folder("vit"))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
