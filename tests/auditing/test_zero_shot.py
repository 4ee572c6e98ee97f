"""Audits that also compare images with prompts: what that adds, what is refused, a run with a small model."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

import tamis
from tamis.cli import app
from tamis.encoders.prompts import Prompts
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision

NAMES = ("red", "green", "blue")


class ColourModel:
    """Stands for a vision-language model: an image is its mean colour, a prompt the colour it names."""

    name, kind, dim, notes, is_thread_safe = "colours", "image", 3, (), False

    def fingerprint(self):
        return "colours 1"

    def encode_batch(self, samples):
        return np.array([each.mean(axis=(0, 1)) / 255 for each in samples], dtype=np.float32)

    def encode_texts(self, texts):
        return np.array([[float(name in text) for name in NAMES] for text in texts], dtype=np.float32)


def save_images(folder, n=90, seed=0, rate=0.15):
    """Save images of one colour and noise by given label; return relative path -> whether it is wrong."""
    rng = np.random.default_rng(seed)
    is_wrong = {}
    for row in range(n):
        true = row % 3
        given = (true + int(rng.integers(1, 3))) % 3 if rng.random() < rate else true
        pixels = rng.integers(0, 150, (12, 12, 3))
        pixels[..., true] += 80
        path = folder / NAMES[given] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        is_wrong[f"{NAMES[given]}/{row}.png"] = given != true
    return is_wrong


def test_prompts_are_evidence_of_their_own(tmp_path):
    is_wrong = save_images(tmp_path)
    found = tamis.audit(tmp_path, encoder=ColourModel(), zero_shot=True)
    wrong = np.array([is_wrong[each] for each in found.issues["id"].to_pylist()])
    zero = found.issues["zero_shot"].to_numpy()
    kept = found.issues["clipcleaner"].to_numpy()
    assert average_precision(zero, wrong) > 0.95
    assert set(kept) == {0.0, 1.0}
    assert not wrong[kept == 1].any()
    assert average_precision(found.issues["label_score"].to_numpy(), wrong) > 0.95
    plain = tamis.audit(tmp_path, encoder=ColourModel())
    assert "zero_shot" not in plain.issues.column_names


@pytest.mark.usefixtures("short_training")
def test_prompts_from_a_mapping_and_a_resumable_run(tmp_path):
    save_images(tmp_path / "images", n=60)
    prompts = Prompts({"red": ("like a tomato",)}, ("a {name} thing {phrase}",))
    options = {"encoder": ColourModel(), "zero_shot": True, "prompts": prompts}
    one = tamis.audit(tmp_path / "images", **options)
    two = tamis.audit(tmp_path / "images", out=tmp_path / "run", **options)
    assert one.issues.equals(two.issues)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["zero_shot"] is True


def test_what_cannot_be_compared_is_refused(tmp_path):
    save_images(tmp_path, n=12)
    with pytest.raises(InputError, match="name one with encoder="):
        tamis.audit(tmp_path, zero_shot=True)
    with pytest.raises(InputError, match="takes no texts"):
        tamis.audit(tmp_path, zero_shot=True, encoder=lambda images: [[1.0]] * len(images))
    with pytest.raises(InputError, match="prompts were given without zero_shot"):
        tamis.audit(tmp_path, encoder=ColourModel(), prompts="p.json")
    with pytest.raises(InputError, match="the data hold no images"):
        tamis.audit(features=np.eye(10), labels=[0, 1] * 5, zero_shot=True)
    with pytest.raises(InputError, match="'yellow', which is no class"):
        tamis.audit(tmp_path, encoder=ColourModel(), zero_shot=True, prompts=Prompts({"yellow": ("x",)}))


def save_small_clip(folder):
    """Save a CLIP model with random weights the way published ones are."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": 32, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    vision = small | {"image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=text | {"pad_token_id": 0}, vision_config=vision, projection_dim=12
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    settings = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "photo", "of", *NAMES]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)


@pytest.mark.usefixtures("short_training")
def test_the_command_with_a_small_model(tmp_path):
    model, images, run = tmp_path / "clip", tmp_path / "images", tmp_path / "run"
    save_small_clip(model)
    save_images(images, n=60)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("red: of a tomato\nred: of blood\n", encoding="utf-8")
    words = ["audit", str(images), "--zero-shot", "--encoder", str(model), "--prompts", str(prompts)]
    done = CliRunner().invoke(app, [*words, "--out", str(run), "--device", "cpu", "--json"])
    assert done.exit_code == 0, done.output
    table = pq.read_table(run / "issues.parquet")
    zero = table["zero_shot"].to_numpy()
    assert ((zero > 0) & (zero < 1)).all()
    assert {"zero_shot", "clipcleaner"} <= set(table.column_names)
    assert json.loads((run / "run.json").read_text())["config"]["prompts"] == str(prompts)
