"""Proxy confidence (ProcSim-style): metric learning in which a row counts as much as its label is trusted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.procsim import ProxyConfidenceLoss
from tamis.losses.proxy_confidence import Normalization
from tamis.methods.base import METHODS, BuildNetwork, Losses, make_optimizer
from tamis.methods.batches import Batch, Moment
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.registry import Facts


@METHODS.register(
    "procsim",
    Facts(
        "Proxy confidence (ProcSim-style), experimental",
        task="retrieval",
        inputs=("any",),
        year=2024,
        paper="Barbany, Lin, Bastan, Dhua. ProcSim: proxy-based confidence for robust similarity learning. "
        "WACV 2024.",
    ),
)
class ProcSim(EmbeddingMethod):
    """Weigh each anchor of a Multi-Similarity loss by how near it is to the proxy of its class.

    Experimental: a reconstruction of the published idea, not of its formulas. No row is left out and no
    noise rate needed. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class
        As for `EmbeddingMethod`.
    normalization, temperature, proxy_weight, normalize_weights
        As for `tamis.losses.ProxyConfidenceLoss`.
    warmup : float
        Epochs at the start in which all labels are trusted alike, while the proxies find their place.
    proxy_lr : float
        Learning rate of the proxies, as a multiple of the network's.

    Notes
    -----
    The verdict is that of `EmbeddingMethod`. Guidance by the names of the classes takes a table, which a
    parameter cannot hold: for that use the loss in a loop of your own.
    """

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 4,
        normalization: Normalization = "batch",
        temperature: float = 1.0 / 9.0,
        proxy_weight: float = 1.0,
        normalize_weights: bool = False,
        warmup: float = 1.0,
        proxy_lr: float = 100.0,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        if not 0 < proxy_lr < float("inf"):
            raise InputError(f"proxy_lr is {proxy_lr}; expected above 0")
        self.loss = ProxyConfidenceLoss(
            n_classes,
            embedding_size,
            normalization=normalization,
            temperature=temperature,
            proxy_weight=proxy_weight,
            normalize_weights=normalize_weights,
            warmup_epochs=warmup,
        )
        self.proxy_lr = proxy_lr

    def prepare(self, material: Material, scan: Scan) -> None:
        """Give the proxies the first values that the seed decides."""
        super().prepare(material, scan)
        first = ProxyConfidenceLoss(self.n_classes, self.embedding_size, seed=material.seed)
        with torch.no_grad():
            self.loss.proxies.copy_(first.proxies)

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser, in which the proxies have a learning rate of their own."""
        groups: list[dict[str, object]] = [
            {"params": list(self.network.parameters())},
            {"params": [self.loss.proxies], "lr": recipe.lr * self.proxy_lr, "weight_decay": 0.0},
        ]
        return {"main": make_optimizer(recipe, groups)}

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of the batch, each anchor weighed, and that of the proxies."""
        batch = batches["train"]
        embeddings = self.embed(batch.inputs)
        self.note(confidence=self.loss.confidence(embeddings, batch.labels).mean())
        self.loss.set_epoch(moment.progress)
        loss: Tensor = self.loss(embeddings, batch.labels)
        return loss
