"""Raw inputs: forms, scaling, images on the device or decoded, texts as tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import tamis
from tamis.data import ImageArrayInput, read_unlabelled
from tamis.errors import InputError, TamisWarning
from tamis.training import TrainedModel, predictions, train, write_embeddings
from tamis.training.inputs import features_form, gather_features, gather_images, image_form

CPU = torch.device("cpu")


def squares(n: int, side: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return bright or dark images, (n, side, side, 3) uint8, and which they are."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = random.integers(0, 100, size=(n, side, side, 3)) + 120 * labels[:, None, None, None]
    return pixels.astype(np.uint8), labels


def test_features_are_scaled_by_the_training_rows() -> None:
    random = np.random.default_rng(0)
    features = np.c_[random.normal(5, 2, 100), np.full(100, 3.0), random.normal(1e6, 1e-3, 100)]
    form = features_form(features, np.arange(80))
    np.testing.assert_allclose(form.mean[0], features[:80, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(form.std[0], features[:80, 0].std() / 4, rtol=1e-6)
    # Constant columns, and columns whose variation is rounding, are centred only.
    assert form.std[1:].tolist() == [1.0, 1.0]
    scaled = gather_features(features, form, CPU).examples.fetch(torch.arange(80))
    np.testing.assert_allclose(scaled[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(scaled[:, 0].std(correction=0), 4, rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_columns_keep_their_sizes_unless_they_are_of_other_scales(factor: float) -> None:
    columns = np.random.default_rng(0).normal(size=(500, 5)) * np.array([1, 2, 3, 4, 5 * factor])
    form = features_form(columns, np.arange(500))
    scaled = gather_features(columns, form, CPU).examples.fetch(torch.arange(500)).numpy()
    np.testing.assert_allclose((scaled**2).sum(axis=1).mean(), 16, rtol=1e-5)
    sizes = scaled.std(axis=0) / scaled.std(axis=0)[0]
    expected = columns.std(axis=0) / columns.std(axis=0)[0] if factor == 1 else np.ones(5)
    np.testing.assert_allclose(sizes, expected, rtol=1e-4)


def test_form_of_images() -> None:
    assert image_form(ImageArrayInput(squares(4, 28)[0])).shape == (3, 28, 28)
    assert image_form(ImageArrayInput(squares(2, 300)[0])).shape == (3, 128, 128)
    assert image_form(ImageArrayInput(squares(4)[0]), 40).shape == (3, 40, 40)
    with pytest.raises(InputError, match="image_size is 0"):
        image_form(ImageArrayInput(squares(4)[0]), 0)


def test_decoded_images_are_those_in_memory() -> None:
    images = ImageArrayInput(squares(40, 128)[0])
    form = image_form(images)
    resident = gather_images(images, form, CPU, None).examples
    decoded = gather_images(images, form, CPU, "1MiB").examples
    index = torch.tensor([3, 0, 39, 3])
    decoded.prefetch(index)
    assert torch.equal(resident.fetch(index), decoded.fetch(index))
    assert type(resident) is not type(decoded)


def folder_of_images(root: Path, n: int = 24) -> Path:
    pixels, labels = squares(n)
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = root / ("dark", "bright")[label] / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
    return root


OPTIONS = {
    "method": "cross_entropy",
    "backbone": "small_cnn",
    "epochs": 2,
    "audit": False,
    "memory_budget": None,
}
OPTIONS |= {"backbone_options": {"width": 8}, "params": {"batch_size": 8, "lr": 0.02}}

LARGE = OPTIONS | {"image_size": 128}


def test_a_folder_of_images_with_one_that_cannot_be_read(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "images")
    (folder / "dark" / "00.png").write_bytes(b"no image")
    model = train(folder, validation=0.25, test=folder, out=tmp_path / "run", **LARGE)
    assert model.spec.n_samples == 17
    broken = model.issues.to_pylist()[model.issues["id"].to_pylist().index("dark/00.png")]
    assert not broken["is_assessed"]
    assert np.isnan(model.clean_scores()).sum() == 1
    # Larger than the memory: decoded when needed, and the same numbers.
    small = train(folder, validation=0.25, **(LARGE | {"memory_budget": "1MiB"}))
    new = squares(6, seed=5)[0]
    assert np.array_equal(model.predict_proba(new), small.predict_proba(new))
    # Predictions of a folder without classes, and of the file as it is.
    loose = tmp_path / "loose"
    loose.mkdir()
    (folder / "bright" / "01.png").rename(loose / "a.png")
    (loose / "b.png").write_bytes(b"no image")
    loaded = TrainedModel.load(tmp_path / "run")
    table = predictions(loaded, read_unlabelled(loose), probabilities=True).to_pylist()
    assert [row["id"] for row in table] == ["a.png", "b.png"]
    assert table[1]["predicted_label"] is None
    assert table[1]["reason"]
    assert table[0]["p_bright"] + table[0]["p_dark"] == pytest.approx(1, abs=1e-6)
    written = write_embeddings(loaded, read_unlabelled(loose), tmp_path / "e.npz")
    assert (written.n_rows, written.n_unreadable) == (2, 1)
    assert np.load(tmp_path / "e.npz")["ids"].tolist() == ["a.png", "b.png"]
    with pytest.warns(TamisWarning, match="1 of 2 rows cannot be read"):
        assert loaded.predict(loose)[0] in {"bright", "dark"}


@pytest.fixture(scope="module")
def tiny_text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "good", "bad", "film", "a"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=6
    ).save_pretrained(folder)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(vocab_size=8, max_position_embeddings=8, pad_token_id=0, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_text_model_is_fine_tuned_and_kept(tiny_text_model: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "tiny"
    shutil.copytree(tiny_text_model, folder)
    table = tmp_path / "reviews.csv"
    lines = [f"{i},a {('good', 'bad')[i % 2]} film,{('pos', 'neg')[i % 2]}" for i in range(20)]
    table.write_text("id,text,label\n" + "\n".join(lines) + "\n20,,pos\n")
    options = {
        "method": "cross_entropy",
        "backbone": "transformers_text",
        "backbone_options": {"source": str(folder)},
    }
    params = {"batch_size": 5, "lr": 0.03, "weight_decay": 0.0, "optimizer": "adam"}
    options |= {"params": params, "epochs": 15, "audit": False}
    model = train(table, out=tmp_path / "run", **options)
    assert model.spec.n_samples == 20
    texts = ["a good film", "bad"]
    assert model.predict(texts).tolist() == ["pos", "neg"]
    before = model.predict_proba(texts)
    shutil.rmtree(folder)
    (tmp_path / "run").rename(tmp_path / "moved")
    # The pretrained model is gone and the run lies elsewhere.
    moved = TrainedModel.load(tmp_path / "moved")
    assert np.array_equal(moved.predict_proba(texts), before)
    assert moved.embed(texts).shape == (2, 8)


def test_a_vision_model_is_fine_tuned(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(
            tmp_path / "vit"
        )
    pixels, labels = squares(24)
    data = tamis.read((pixels, labels))
    options = {"source": str(tmp_path / "vit")}
    model = train(data, **(OPTIONS | {"backbone": "transformers_vision", "backbone_options": options}))
    assert model.predict(pixels).shape == (24,)


def test_reading_what_has_no_labels(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"text": ["one", "two"], "label": [None, None], "id": ["p", "q"]})
    assert read_unlabelled(frame).ids == ["p", "q"]
    frame.drop(columns="label").to_csv(tmp_path / "a.csv", index=False)
    assert list(read_unlabelled(tmp_path / "a.csv").inputs) == ["text"]
    pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).to_parquet(tmp_path / "f.parquet")
    assert read_unlabelled(str(tmp_path / "f.parquet")).features["features"].shape == (2, 2)
    np.savez(tmp_path / "f.npz", features=np.ones((3, 2)), y=np.array([9, 9, 9]))
    found = read_unlabelled(tmp_path / "f.npz")
    assert not found.is_labelled.any()
    np.save(tmp_path / "i.npy", squares(2)[0])
    assert list(read_unlabelled(tmp_path / "i.npy").inputs) == ["image"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.xyz").write_bytes(b"x")
    for wrong, message in [
        (tmp_path / "empty", "holds no images"),
        (tmp_path / "a.xyz", "has the suffix"),
        (tmp_path / "no.csv", "does not exist"),
        (np.ones(3), "data has shape"),
        (np.ones((0, 3)), "at least one row"),
    ]:
        with pytest.raises(InputError, match=message):
            read_unlabelled(wrong)
