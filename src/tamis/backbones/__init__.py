"""Networks behind one interface: a backbone under a linear head gives logits, features and maps."""

from tamis.backbones.building import (
    BACKBONES,
    BackboneChoice,
    BackboneFactory,
    InputKind,
    Option,
    build_backbone,
    choose_backbone,
)
from tamis.backbones.classifier import Classifier, Normalisation, Outputs, Pool
from tamis.backbones.efficientnet_lite import EfficientNetLite0
from tamis.backbones.initialisation import initialise, initialise_head, without_draws
from tamis.backbones.mlp import MLP
from tamis.backbones.preact_resnet import PreActResNet18
from tamis.backbones.simsiam_heads import SimSiamHeads, SimSiamOutputs
from tamis.backbones.small_cnn import SmallCNN
from tamis.backbones.text_tokens import tokenize
from tamis.backbones.transformers_classifier import TransformersText, TransformersVision
from tamis.backbones.weight_average import averaged_copy, update_average

__all__ = [
    "BACKBONES",
    "MLP",
    "BackboneChoice",
    "BackboneFactory",
    "Classifier",
    "EfficientNetLite0",
    "InputKind",
    "Normalisation",
    "Option",
    "Outputs",
    "Pool",
    "PreActResNet18",
    "SimSiamHeads",
    "SimSiamOutputs",
    "SmallCNN",
    "TransformersText",
    "TransformersVision",
    "averaged_copy",
    "build_backbone",
    "choose_backbone",
    "initialise",
    "initialise_head",
    "tokenize",
    "update_average",
    "without_draws",
]
