import numpy as np
import pytest

from tamis.encoders.image_transform import ImageTransform
from tamis.errors import InputError

CLIP = {
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
}
VIT = CLIP | {"size": {"height": 32, "width": 24}, "resample": 2, "do_center_crop": False}
SQUASH_AND_CROP = CLIP | {"size": {"height": 36, "width": 40}}


@pytest.mark.parametrize("shape", [(50, 50, 3), (37, 90, 3), (90, 31, 3), (9, 12, 3)])
@pytest.mark.parametrize("settings", [CLIP, VIT, SQUASH_AND_CROP])
def test_agrees_with_the_processor_of_transformers(settings, shape):
    processors = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    image = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    expected = processors.CLIPImageProcessorPil(**settings)(image, return_tensors="np")["pixel_values"][0]
    found = ImageTransform.from_settings(settings, image_size=None)(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scaling_by_hand():
    settings = {"size": 2, "image_mean": [0, 0, 0.5], "image_std": [1, 0.5, 1], "rescale_factor": 0.1}
    image = np.full((2, 2, 3), 10, dtype=np.uint8)
    found = ImageTransform.from_settings(settings, image_size=None)(image)
    np.testing.assert_allclose(found[:, 0, 0], [1.0, 2.0, 0.5], rtol=1e-6)
    bare = ImageTransform.from_settings(
        settings | {"do_rescale": False, "do_normalize": False}, image_size=None
    )
    assert bare(image)[:, 0, 0].tolist() == [10, 10, 10]


def test_a_strip_does_not_explode():
    transform = ImageTransform.from_settings(CLIP, image_size=None)
    strip = np.zeros((1, 200_000, 3), dtype=np.uint8)
    assert transform(strip).shape == (3, 28, 28)
    assert transform(strip.transpose(1, 0, 2)).shape == (3, 28, 28)


def test_size_of_the_model_stands_in():
    image = np.zeros((5, 5, 3), dtype=np.uint8)
    assert ImageTransform.from_settings({}, image_size=16)(image).shape == (3, 16, 16)
    with pytest.raises(InputError, match="name no size"):
        ImageTransform.from_settings({"size": {"longest_edge": 5}}, image_size=None)
