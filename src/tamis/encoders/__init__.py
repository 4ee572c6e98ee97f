"""Frozen pretrained models that turn images and texts into features, and the cache of what they gave."""

from tamis.encoders.cache import default_cache_folder
from tamis.encoders.callable_encoder import CallableEncoder
from tamis.encoders.catalog import EncoderChoice, EncoderInfo, available_encoders, get_encoder
from tamis.encoders.efficientnet_lite import EfficientNetLite
from tamis.encoders.encoder import Encoder, Sample, SampleKind
from tamis.encoders.encoding import Encoded, encode
from tamis.encoders.sentence import SentenceEncoder
from tamis.encoders.transformers_model import TransformersEncoder

__all__ = [
    "CallableEncoder",
    "EfficientNetLite",
    "Encoded",
    "Encoder",
    "EncoderChoice",
    "EncoderInfo",
    "Sample",
    "SampleKind",
    "SentenceEncoder",
    "TransformersEncoder",
    "available_encoders",
    "default_cache_folder",
    "encode",
    "get_encoder",
]
