import numpy as np
import pytest
import torch

from tamis.encoders import CallableEncoder, Encoder, encode
from tamis.errors import InputError


def lengths(samples):
    return torch.tensor([[len(sample)] for sample in samples])


def test_is_an_encoder_that_takes_tensors():
    encoder = CallableEncoder(lengths, name="length", kind="text", version="1")
    assert isinstance(encoder, Encoder)
    found = encoder.encode_batch(["one", "three"])
    assert found.dtype == np.float32
    assert found.tolist() == [[3], [5]]


def test_version_decides_whether_features_are_kept(as_dataset, noise_images, cache):
    keys = []
    for version in ("1", "1", "2"):
        calls = []

        def function(samples, calls=calls):
            calls.append(len(samples))
            return [[float(sample[0, 0, 0])] for sample in samples]

        encoder = CallableEncoder(function, name="corner", kind="image", version=version)
        keys.append((encode(as_dataset(noise_images(4)), encoder=encoder, cache=cache).key, sum(calls)))
    assert keys[0][0] == keys[1][0] != keys[2][0]
    assert [count for _, count in keys] == [5, 0, 5]


def test_what_is_no_array_is_refused():
    for result in ([[1.0], [1.0, 2.0]], ["a", "b"], torch.ones(2, 1, requires_grad=True)):
        encoder = CallableEncoder(lambda samples, result=result: result, name="odd", kind="text")
        with pytest.raises(InputError, match="encoder 'odd' returned"):
            encoder.encode_batch(["a", "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": 3}, "cannot be called"),
        ({"name": ""}, "name is empty"),
        ({"kind": "sound"}, "kind is 'sound'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InputError, match=message):
        CallableEncoder(**({"function": lengths, "name": "length", "kind": "text"} | options))
