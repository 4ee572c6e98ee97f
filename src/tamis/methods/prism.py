"""PRISM: metric learning on the samples that fit the memory of their class, compared with that memory too."""

from __future__ import annotations

from typing import Literal

from tamis.errors import InputError
from tamis.losses.metric import MetricLossName
from tamis.methods.base import METHODS, BuildNetwork
from tamis.methods.metric_learning import MetricLearning
from tamis.methods.noise_rates import NoiseRate
from tamis.registry import Facts


@METHODS.register(
    "prism",
    Facts(
        "PRISM: ranking-based selection against a memory",
        task="retrieval",
        inputs=("any",),
        year=2021,
        paper="Liu et al. Noise-resistant deep metric learning with ranking-based instance selection. "
        "CVPR 2021.",
    ),
)
class PRISM(MetricLearning):
    """Keep what fits the memory of its class best; a contrastive loss within the batch and with the memory.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class, loss, margin, memory, memory_weight, noise_rate, \
window, warmup, proxy_lr
        As for `tamis.methods.metric_learning.MetricLearning`.
    similarity : {"average", "vmf"}
        Mean cosine with the members of a class, as published first; or one von Mises-Fisher distribution a
        class, which knows that classes differ in spread.
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
        similarity: Literal["average", "vmf"] = "average",
        noise_rate: NoiseRate = "estimate",
        window: int = 30,
        warmup: float = 1.0,
        proxy_lr: float = 10.0,
    ) -> None:
        if similarity not in {"average", "vmf"}:
            raise InputError(f"similarity is {similarity!r}; expected 'average' or 'vmf'")
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
            loss=loss,
            margin=margin,
            memory=memory,
            memory_weight=memory_weight,
            selector="prism_vmf" if similarity == "vmf" else "prism_average",
            noise_rate=noise_rate,
            window=window,
            warmup=warmup,
            proxy_lr=proxy_lr,
        )
