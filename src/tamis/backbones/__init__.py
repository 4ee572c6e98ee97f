"""Networks behind one interface: a backbone under a linear head gives logits, features and maps."""

from tamis.backbones.classifier import Classifier, Normalisation, Outputs, Pool

__all__ = ["Classifier", "Normalisation", "Outputs", "Pool"]
