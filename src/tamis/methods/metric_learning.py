"""Metric learning put together from a loss, a memory of past embeddings and a filter of samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.metric import MetricLossName, make_metric_loss, takes_memory
from tamis.memory import EmbeddingMemory, MemoryRows
from tamis.methods.base import BuildNetwork, Losses, make_optimizer
from tamis.methods.batches import Batch, Moment
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Material, Scan
from tamis.methods.noise_rates import NoiseRate, refuse_noise_rate, resolved_noise_rate
from tamis.methods.recipe import Recipe
from tamis.selectors.prism import Prism
from tamis.selectors.random_drop import RandomDrop
from tamis.selectors.selection import Selection

SelectorName: TypeAlias = Literal["none", "prism_average", "prism_vmf", "random"]

_LARGEST_USUAL_MEMORY = 8192


class MetricLearning(EmbeddingMethod):
    """A loss, and with it a memory and a filter where they are asked for.

    Every step: the filter keeps part of the batch; the loss compares what is kept with itself and with the
    memory; after the optimiser's step what was kept is remembered.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class
        As for `EmbeddingMethod`.
    loss : {"contrastive", "multi_similarity", "soft_triple", "proxy_anchor", "proxy_nca"}
    margin : float, optional
        Of the loss, where it has one; its own where None.
    memory : int, optional
        Embeddings remembered: pair losses compare the batch with them, PRISM judges it by them. None: with
        PRISM as many as there are training samples, at most 8192, and otherwise none.
    memory_weight : float
        Of the loss against the memory, beside the loss within the batch.
    selector : {"none", "prism_average", "prism_vmf", "random"}
        "random" leaves the same share out at random: what a filter must beat.
    noise_rate : float or "estimate"
        Share that the filter leaves out.
    window : int
        Batches over which PRISM's threshold is smoothed; 1 = not at all.
    warmup : float
        Epochs at the start without filter and memory: embeddings of an untrained network are all alike, and
        what is compared with them or judged by them first is not made good later. The publications have none.
    proxy_lr : float
        Learning rate of a loss's proxies, as a multiple of the network's.
    """

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 4,
        loss: MetricLossName = "contrastive",
        margin: float | None = None,
        memory: int | None = None,
        memory_weight: float = 1.0,
        selector: SelectorName = "none",
        noise_rate: NoiseRate = "estimate",
        window: int = 30,
        warmup: float = 1.0,
        proxy_lr: float = 10.0,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        refuse_noise_rate(noise_rate)
        for name, value in (("memory_weight", memory_weight), ("warmup", warmup)):
            if value < 0:
                raise InputError(f"{name} is {value}; expected 0 or more")
        if memory is not None and memory < 0:
            raise InputError(f"memory is {memory}; expected a number of embeddings, or 0 for none")
        if proxy_lr <= 0:
            raise InputError(f"proxy_lr is {proxy_lr}; expected above 0")
        if selector not in get_args(SelectorName):
            names = ", ".join(map(repr, get_args(SelectorName)))
            raise InputError(f"selector is {selector!r}; expected one of {names}")
        make = partial(make_metric_loss, loss, n_classes=n_classes, embedding_size=embedding_size)
        if takes_memory(loss):
            # Embeddings and memory have unit length already.
            make = partial(make, normalize="none")
        self._make_loss = make if margin is None else partial(make, margin=margin)
        self.loss = self._make_loss()
        self.noise_rate: NoiseRate = noise_rate
        self.warmup = warmup
        self.proxy_lr = proxy_lr
        is_prism = selector in {"prism_average", "prism_vmf"}
        self.memory_weight = memory_weight if takes_memory(loss) else 0.0
        size = min(n_samples, _LARGEST_USUAL_MEMORY) if memory is None and is_prism else memory or 0
        if size and not takes_memory(loss) and not is_prism:
            raise InputError(
                f"memory is {memory}, and loss {loss!r} compares samples with proxies, not with each other; "
                "leave memory out, or take the loss 'contrastive' or 'multi_similarity'"
            )
        if is_prism and not size:
            raise InputError("memory is 0, and PRISM judges samples by one; give its size or leave it out")
        kept = EmbeddingMemory(size, embedding_size, n_classes if is_prism else None) if size else None
        self.selector = self._selector(selector, kept, window)
        # PRISM holds its memory, which is saved with it: once.
        self._own_memory = None if isinstance(self.selector, Prism) else kept
        self._step: tuple[Selection | None, Tensor, Batch] | None = None

    @staticmethod
    def _selector(
        name: SelectorName, memory: EmbeddingMemory | None, window: int
    ) -> Prism | RandomDrop | None:
        # The rate is settled in prepare: it may have to be estimated.
        if name == "random":
            return RandomDrop(0.0)
        if memory is None or name == "none":
            return None
        similarity: Literal["average", "vmf"] = "vmf" if name == "prism_vmf" else "average"
        return Prism(memory, rate=0.0, similarity=similarity, window=window)

    @property
    def memory(self) -> EmbeddingMemory | None:
        """What is remembered; PRISM's where it filters."""
        memory = self.selector.memory if isinstance(self.selector, Prism) else self._own_memory
        assert memory is None or isinstance(memory, EmbeddingMemory)
        return memory

    def prepare(self, material: Material, scan: Scan) -> None:
        """Settle what the seed and the noise rate decide: first proxies, the share that the filter drops."""
        super().prepare(material, scan)
        self.loss.load_state_dict(self._make_loss(seed=material.seed).state_dict())
        if self.selector is not None:
            self.selector.rate = resolved_noise_rate(self.noise_rate, material)
        if isinstance(self.selector, RandomDrop):
            self.selector.seed = material.seed

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser, in which proxies have a learning rate of their own."""
        proxies = list(self.loss.parameters())
        groups: list[dict[str, object]] = [{"params": list(self.network.parameters())}]
        if proxies:
            groups.append({"params": proxies, "lr": recipe.lr * self.proxy_lr, "weight_decay": 0.0})
        return {"main": make_optimizer(recipe, groups)}

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of what the filter keeps."""
        batch = batches["train"]
        embeddings = self.embed(batch.inputs)
        if moment.progress < self.warmup:
            self._step = None
            return self._loss(embeddings, batch.labels)
        selection = None
        kept, labels = embeddings, batch.labels
        if self.selector is not None:
            selection = self.selector.select(embeddings, batch.labels, batch.index)
            kept, labels = embeddings[selection.keep], batch.labels[selection.keep]
            self.note(kept=selection.keep.float().mean())
        self._step = selection, embeddings.detach(), batch
        total = self._loss(kept, labels)
        memory = self.memory
        if memory is not None and self.memory_weight and int(memory.n_rows):
            against = self._loss(kept, labels, memory.rows)
            # The mean over the whole batch, where the loss took that over what is kept.
            total = total + self.memory_weight * len(kept) / len(batch) * against
        return total

    def _loss(self, embeddings: Tensor, labels: Tensor, remembered: MemoryRows | None = None) -> Tensor:
        references = remembered or (None, None)
        loss: Tensor = self.loss(embeddings, labels, ref_emb=references[0], ref_labels=references[1])
        return loss

    def after_step(self, moment: Moment) -> None:
        """Remember what was kept."""
        if self._step is None:
            return
        selection, embeddings, batch = self._step
        if self.selector is not None and selection is not None:
            self.selector.commit(selection, embeddings, batch.labels, batch.index)
        if self._own_memory is not None:
            keep = slice(None) if selection is None else selection.keep
            self._own_memory.enqueue(embeddings[keep], batch.labels[keep], batch.index[keep])
        self._step = None
