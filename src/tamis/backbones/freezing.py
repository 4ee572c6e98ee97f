"""Networks that may be frozen: no gradients, and evaluation mode whatever the rest of the model does."""

from __future__ import annotations

from typing import Self

from torch import nn


class Freezable(nn.Module):
    """Base of pretrained backbones; ``frozen`` says whether training leaves them alone."""

    frozen = False

    def freeze(self) -> None:
        """Ask for no gradients from now on, and keep batch norm and dropout in evaluation mode."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, unless frozen."""
        return super().train(mode and not self.frozen)
