import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.encoders import CallableEncoder, encode
from tamis.encoders.cache import FeatureCache
from tamis.errors import InputError, RunError, TamisWarning


def test_features_by_hand(as_dataset, counting, cache):
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[0, 0] = (1, 2, 3)
    encoded = encode(as_dataset([image, image + 1]), encoder=counting(), cache=cache)
    assert encoded.features.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert encoded.features.dtype == np.float32
    assert isinstance(encoded.features, np.memmap)
    assert encoded.unreadable == {}
    assert encoded.encoder_name == "counting"
    assert encoded.images_per_second > 0


def test_second_call_reads_the_cache(as_dataset, noise_images, counting, cache):
    images = noise_images(600)
    first = encode(as_dataset(images), encoder=counting(), cache=cache)
    again = counting()
    second = encode(as_dataset(images), encoder=again, cache=cache)
    assert again.n_encoded == 0
    assert second.images_per_second is None
    assert np.array_equal(first.features, second.features)
    other = counting(version="2")
    assert encode(as_dataset(images), encoder=other, cache=cache).key != first.key
    assert other.n_encoded == 600


def test_row_order_and_duplicates(as_dataset, noise_images, counting, cache):
    images = noise_images(150)
    order = np.random.default_rng(1).integers(0, 150, size=700)
    one_by_one = encode(as_dataset(images), encoder=counting(), cache=cache).features
    encoder = counting()
    repeated = encode(as_dataset([images[row] for row in order]), encoder=encoder, cache=cache).features
    assert np.array_equal(repeated, one_by_one[order])
    assert encoder.n_encoded == len(set(order.tolist()))


def test_unreadable_and_known_bad_rows_are_zeros(as_dataset, noise_images, counting, cache):
    images = noise_images(6)
    images[1] = images[4] = "truncated"
    dataset = as_dataset(images, problems={2: "outside the data folder"})
    for _ in range(2):
        encoded = encode(dataset, encoder=counting(), cache=cache)
        assert encoded.unreadable == {1: "truncated", 2: "outside the data folder", 4: "truncated"}
        assert np.flatnonzero(~encoded.features.any(axis=1)).tolist() == [1, 2, 4]


def test_a_number_that_is_not_finite_makes_the_row_unreadable(as_dataset, noise_images, cache):
    def broken(samples):
        rows = np.array([[sample.sum()] for sample in samples], dtype=np.float64)
        rows[0] = np.nan
        return rows

    encoder = CallableEncoder(broken, name="broken", kind="image")
    encoded = encode(as_dataset(noise_images(3)), encoder=encoder, cache=cache)
    assert list(encoded.unreadable) == [0]
    assert "not finite" in encoded.unreadable[0]
    assert encoded.features[0].tolist() == [0]


def test_unit_norm(as_dataset, noise_images, counting, cache):
    images = noise_images(20)
    images[3] = "truncated"
    raw = encode(as_dataset(images), encoder=counting(), cache=cache).features
    unit = encode(as_dataset(images), encoder=counting(), cache=cache, unit_norm=True).features
    length = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, raw / np.where(length > 0, length, 1), rtol=1e-6)
    assert not unit[3].any()


def test_budget_bounds_what_is_read_at_once(as_dataset, noise_images, counting, cache):
    sizes = []

    class Watching(counting):
        def encode_batch(self, samples):
            sizes.append(sum(sample.nbytes for sample in samples))
            return super().encode_batch(samples)

    images = noise_images(64, side=128)
    wide = encode(as_dataset(images), encoder=Watching(), cache=cache / "wide").features
    assert max(sizes) == 64 * 128 * 128 * 3
    sizes.clear()
    narrow = encode(
        as_dataset(images), encoder=Watching(), cache=cache / "narrow", memory_budget="2MiB"
    ).features
    # An eighth of the budget, passed by at most what one reading brought.
    assert max(sizes) <= 2 * 2**21 // 8
    assert np.array_equal(wide, narrow)


def test_interrupted_run_continues(as_dataset, noise_images, counting, cache):
    images = noise_images(1200)
    whole = encode(as_dataset(images), encoder=counting(), cache=cache / "whole").features
    with pytest.raises(KeyboardInterrupt):
        encode(as_dataset(images), encoder=counting(stop_after=700), cache=cache / "cut")
    rest = counting()
    encoded = encode(as_dataset(images), encoder=rest, cache=cache / "cut")
    assert rest.n_encoded == 1200 - 512
    assert np.array_equal(encoded.features, whole)


def test_damaged_shard_is_encoded_again(as_dataset, noise_images, counting, cache):
    images = noise_images(1200)
    with pytest.raises(KeyboardInterrupt):
        encode(as_dataset(images), encoder=counting(stop_after=1100), cache=cache)
    shards = sorted(cache.rglob("*.npy"))
    assert len(shards) == 2
    shards[0].write_bytes(shards[0].read_bytes()[:-9])
    rest = counting()
    encoded = encode(as_dataset(images), encoder=rest, cache=cache)
    assert rest.n_encoded == 1200 - 512
    assert np.array_equal(encoded.features, [image.sum(axis=(0, 1)) for image in images])


def test_two_runs_at_once_agree(as_dataset, noise_images, counting, cache):
    images = noise_images(1500)
    inner = []

    class Meddling(counting):
        def encode_batch(self, samples):
            # In the middle of this run another one starts and finishes, removing the shards of both.
            if self.n_encoded > 1000 and not inner:
                inner.append(encode(as_dataset(images), encoder=counting(), cache=cache))
            return super().encode_batch(samples)

    outer = encode(as_dataset(images), encoder=Meddling(), cache=cache)
    assert np.array_equal(outer.features, inner[0].features)
    assert np.array_equal(outer.features, [image.sum(axis=(0, 1)) for image in images])


def test_a_disk_that_loses_shards_is_reported(as_dataset, noise_images, counting, cache, monkeypatch):
    monkeypatch.setattr(FeatureCache, "assemble", lambda self: False)
    with pytest.raises(RunError, match="do not come back as written"):
        encode(as_dataset(noise_images(3)), encoder=counting(), cache=cache)


def test_without_version_nothing_is_kept(as_dataset, noise_images, cache):
    calls = []

    def function(samples):
        calls.append(len(samples))
        return [[1.0]] * len(samples)

    for _ in range(2):
        encoded = encode(as_dataset(noise_images(5)), encoder=function, cache=cache)
        assert encoded.features.tolist() == [[1.0]] * 5
    # One sample tells the width, then all are encoded; twice, as nothing was kept.
    assert calls == [1, 5, 1, 5]
    assert not cache.exists()


def test_folder_that_cannot_be_written(as_dataset, noise_images, counting, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="name another"):
        encode(as_dataset(noise_images(2)), encoder=counting(), cache=blocked / "cache")
    monkeypatch.setenv("TAMIS_CACHE", str(blocked))
    with pytest.warns(TamisWarning, match="TAMIS_CACHE"):
        encoded = encode(as_dataset(noise_images(2)), encoder=counting())
    assert encoded.features.shape == (2, 3)


def test_nothing_readable_is_an_error(as_dataset, counting, cache):
    with pytest.raises(InputError, match="none of the 2 samples could be read; row 0: truncated"):
        encode(as_dataset(["truncated", "empty"]), encoder=counting(), cache=cache)
    with pytest.raises(InputError, match="none of the 1 samples could be read; row 0: no file"):
        encode(as_dataset(["x"], problems={0: "no file"}), encoder=counting(), cache=cache)
    unknown_width = CallableEncoder(lambda samples: [[1]] * len(samples), name="f", kind="image")
    with pytest.raises(InputError, match="none of the 2 samples could be read"):
        encode(as_dataset(["truncated", "empty"]), encoder=unknown_width, cache=cache)


@pytest.mark.parametrize(
    "function",
    [
        lambda samples: [[1.0]] * (len(samples) + 1),
        lambda samples: [1.0] * len(samples),
        lambda samples: np.ones((len(samples), 1 + (len(samples) == 1))),
    ],
)
def test_wrong_shape_is_refused(as_dataset, noise_images, cache, function):
    with pytest.raises(InputError, match="returned shape"):
        encode(as_dataset(noise_images(3)), encoder=function, cache=cache)


def test_unknown_inputs_are_read_by_one_thread_at_a_time(as_dataset, noise_images, counting, cache):
    dataset = as_dataset(noise_images(600))
    source, readers, most = dataset.inputs["image"], [], []
    read = source.read

    def watched(rows):
        readers.append(1)
        time.sleep(0.002)
        most.append(len(readers))
        readers.pop()
        return read(rows)

    source.read = watched
    encoder = counting()
    encoder.is_thread_safe = True
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        encode(dataset, encoder=encoder, cache=cache)
    finally:
        torch.set_num_threads(before)
    assert max(most) == 1


def test_input_is_chosen_or_asked_for(as_dataset, noise_images, counting, cache):
    dataset = as_dataset(noise_images(2))
    with pytest.raises(InputError, match=r"input_name is 'txt' but the data set has the inputs \['image'\]"):
        encode(dataset, encoder=counting(), input_name="txt", cache=cache)
    encoded = encode(dataset, encoder=counting(), input_name="image", cache=cache)
    assert len(encoded.features) == 2


KILLED = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[2])
from conftest import CountingEncoder, FakeImages
import pyarrow as pa
from pathlib import Path
from tamis.data.dataset import Dataset
from tamis.encoders import encode

class Slow(CountingEncoder):
    is_thread_safe = True
    def encode_batch(self, samples):
        time.sleep(0.02)
        return super().encode_batch(samples)

images = list(np.random.default_rng(0).integers(0, 256, size=(4000, 8, 8, 3), dtype=np.uint8))
empty = [None] * 4000
table = pa.table({"id": [str(i) for i in range(4000)], "label": empty, "split": empty, "group": empty})
encode(Dataset(table, ("a",), inputs={"image": FakeImages(images)}), encoder=Slow(), cache=Path(sys.argv[1]))
"""


def test_killed_process_continues_bit_for_bit(as_dataset, noise_images, counting, cache):
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(cache), here], env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not list(cache.rglob("000001.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    n_kept = len(list(cache.rglob("0*.json")))
    assert 2 <= n_kept < 8
    images = noise_images(4000)
    rest = counting()
    encoded = encode(as_dataset(images), encoder=rest, cache=cache)
    assert rest.n_encoded == 4000 - 512 * n_kept
    whole = encode(as_dataset(images), encoder=counting(), cache=cache / "whole")
    assert encoded.key == whole.key
    assert encoded.features.tobytes() == whole.features.tobytes()
