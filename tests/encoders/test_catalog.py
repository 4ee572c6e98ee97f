import numpy as np
import pytest

from tamis.encoders import CallableEncoder, EfficientNetLite, available_encoders, catalog, get_encoder
from tamis.errors import InputError


def test_defaults():
    images = get_encoder(None, "image", device="cpu")
    assert isinstance(images, EfficientNetLite)
    assert get_encoder("efficientnet-lite0@224", "image", device="cpu").resolution == 224
    assert get_encoder(images, "image") is images


def test_functions_are_wrapped():
    encoder = get_encoder(np.sum, "text")
    assert isinstance(encoder, CallableEncoder)
    assert (encoder.name, encoder.kind, encoder.fingerprint()) == ("sum", "text", None)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(InputError, match="did you mean 'efficientnet-lite0'") as caught:
        get_encoder("efficientnet", "image")
    for info in available_encoders():
        assert info.name in str(caught.value)


@pytest.mark.parametrize("choice", ["efficientnet-lite0", CallableEncoder(len, name="len", kind="image")])
def test_other_kind_is_refused(choice):
    with pytest.raises(InputError, match=r"takes images but the input holds texts.*'all-minilm-l6-v2'"):
        get_encoder(choice, "text", device="cpu")


def test_something_else_is_refused():
    with pytest.raises(InputError, match="encoder is int"):
        get_encoder(3, "text")


def test_list_says_what_is_installed(monkeypatch):
    assert all(info.is_installed for info in available_encoders())
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: None)
    assert not any(info.is_installed for info in available_encoders())
